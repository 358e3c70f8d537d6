"""What an action may answer: where its run goes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

Target = Literal["parent", "loop"]


class Kind(StrEnum):
    """The directives of the vocabulary."""

    CONTINUE = "continue"
    ENTER = "enter"
    LEAVE = "leave"
    BREAK = "break"
    ABORT = "abort"
    SUSPEND = "suspend"
    SUSPEND_AND_REPEAT = "suspend_and_repeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a suspended run waits for; the first of them wakes it.

    ``until`` is a planned time, ``timeout`` the time at which the wait times out (both aware),
    ``trigger`` the key of a trigger, ``child`` the uuid of another run.
    """

    until: datetime | None = None
    timeout: datetime | None = None
    trigger: str | None = None
    match_object: bool = True
    child: str | None = None

    @property
    def due_at(self) -> datetime | None:
        """Return the time at which a worker must check the run again, or ``None``."""
        times = [time for time in (self.until, self.timeout) if time is not None]
        return min(times) if times else None


@dataclass(frozen=True, slots=True)
class FlowDirective:
    """The answer of an action; ``None`` stands for ``FlowDirective.CONTINUE``."""

    kind: Kind
    branch: str | None = None
    to: Target = "parent"
    wait: Wait | None = None
    #: Why the flow is stopped.
    reason: str = ""

    CONTINUE: ClassVar[FlowDirective]
    ENTER: ClassVar[FlowDirective]
    LEAVE: ClassVar[FlowDirective]
    BREAK: ClassVar[FlowDirective]
    ABORT: ClassVar[FlowDirective]


FlowDirective.CONTINUE = FlowDirective(Kind.CONTINUE)
FlowDirective.ENTER = FlowDirective(Kind.ENTER)
FlowDirective.LEAVE = FlowDirective(Kind.LEAVE)
FlowDirective.BREAK = FlowDirective(Kind.BREAK)
FlowDirective.ABORT = FlowDirective(Kind.ABORT)
