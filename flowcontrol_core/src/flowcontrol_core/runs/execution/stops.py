"""Why an activation stopped, as a value: what has to be done about it is the driver's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flowcontrol_core.actions.base import Effects
from flowcontrol_core.engine.directives import Wait


class StopKind(Enum):
    """Why an activation cannot go on in memory."""

    NEEDS = "needs"
    SUSPENDED = "suspended"
    ENDED = "ended"
    FAILED = "failed"
    BLOCKED = "blocked"
    YIELDED = "yielded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where an activation stopped, and why.

    ``outcome`` is one of DESIGN section 7 (``complete`` ...); ``blocked_on`` the key of a missing
    action; ``error`` has type, message, traceback, step and action.
    """

    kind: StopKind
    effects: Effects | None = None
    wait: Wait | None = None
    outcome: str = ""
    reason: str = ""
    blocked_on: str | None = None
    error: Mapping[str, Any] | None = None
    #: The time-out in seconds of the call that is about to be made, where it has one of its own.
    timeout: float | None = None


NEEDS_DATABASE = Stop(kind=StopKind.NEEDS, effects=Effects.DATABASE)
NEEDS_EXTERNAL = Stop(kind=StopKind.NEEDS, effects=Effects.EXTERNAL)


class ObjectGone(Exception):
    """The model object of a run does not exist any more."""
