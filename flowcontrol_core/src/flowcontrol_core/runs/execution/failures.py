"""Why an activation stops, as a value; and what becomes of an error of a step."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from flowcontrol_core.actions.base import Effects
from flowcontrol_core.conf import get_settings
from flowcontrol_core.document.tree import RetryPolicy
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.retry import backoff, bounded_delay, has_attempts_left, is_retried
from flowcontrol_core.errors import FlowcontrolError, Retry
from flowcontrol_core.models import NO_REASON, Outcome, Reason
from flowcontrol_core.redaction import redact

MAX_TRACEBACK = 20_000


class StopKind(Enum):
    """Why an activation cannot continue in memory.

    NEEDS: the next step needs a transaction (``effects`` DATABASE) or a call outside of one
    (EXTERNAL); the driver makes it and the activation continues. All others end the activation:
    SUSPENDED waits (``wait``), also for the next attempt of a failed step; ENDED has an
    ``outcome``; FAILED is ENDED by an error; BLOCKED lacks an action or a valid configuration;
    YIELDED has used up its budget and continues with the next claim.
    """

    NEEDS = "needs"
    SUSPENDED = "suspended"
    ENDED = "ended"
    FAILED = "failed"
    BLOCKED = "blocked"
    YIELDED = "yielded"


class Signal(Enum):
    """What is answered instead of a stop."""

    #: There is more to do in memory.
    CONTINUE = "continue"
    #: The run is written, and this worker is done with it for now.
    WRITTEN = "written"


CONTINUE: Final = Signal.CONTINUE
WRITTEN: Final = Signal.WRITTEN
Continue = Literal[Signal.CONTINUE]
Written = Literal[Signal.WRITTEN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where an activation stopped, and why.

    ``outcome`` is one of ``Outcome`` where it ended; ``blocked_on`` the key of a missing action;
    ``error`` has type, message, traceback, step and action, and ``cause`` is what was raised;
    ``timeout`` is the time-out in seconds of the call that is about to be made, where it has one of
    its own.
    """

    kind: StopKind
    effects: Effects | None = None
    wait: Wait | None = None
    outcome: str = ""
    reason: Reason = NO_REASON
    blocked_on: str | None = None
    error: Mapping[str, Any] | None = None
    timeout: float | None = None
    #: Its text may have secrets, so it is not shown with the rest.
    cause: BaseException | None = field(default=None, repr=False)


NEEDS_DATABASE = Stop(kind=StopKind.NEEDS, effects=Effects.DATABASE)
NEEDS_EXTERNAL = Stop(kind=StopKind.NEEDS, effects=Effects.EXTERNAL)


def errored(
    error: BaseException, step: str, secrets: Iterable[str], reason: Reason | None = None
) -> Stop:
    """Return the stop of a run that an error ends, for another reason than a failed step."""
    return Stop(
        kind=StopKind.FAILED,
        outcome=Outcome.ERRORED,
        reason=reason or Reason.of("error", error=one_line(error, secrets)),
        error=describe(error, step, "", secrets),
        cause=error,
    )


def one_line(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return an error as one line for a reason, without secrets."""
    # Before it is cut: a secret that is cut in two would not be found.
    text = " ".join(redact(str(error), secrets).split())[:500]
    if isinstance(error, FlowcontrolError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def describe(
    error: BaseException, step: str, action: str, secrets: Iterable[str] = ()
) -> dict[str, Any]:
    """Return what the history keeps of an error."""
    text = redact("".join(traceback.format_exception(error)), secrets)
    if len(text) > MAX_TRACEBACK:
        text = f"{text[: MAX_TRACEBACK // 2]}\n...\n{text[-MAX_TRACEBACK // 2 :]}"
    return {
        "type": type(error).__qualname__,
        "message": redact(str(error), secrets)[:2000],
        "traceback": text,
        "step": step,
        "action": action,
    }


def retry_after(policy: RetryPolicy | None, error: BaseException, tries: int) -> float | None:
    """Return the seconds until a failed step is called again; ``None``: it is not retried.

    ``policy`` is the step's own; without one, or for an error that it does not name, only an error
    that asks for it is retried.
    """
    if policy is None:
        if not isinstance(error, Retry):
            return None
        settings = get_settings()
        policy = RetryPolicy(attempts=settings.RETRY_ATTEMPTS, backoff=settings.RETRY_BACKOFF)
    elif not isinstance(error, Retry) and not is_retried(policy, error):
        return None
    if not has_attempts_left(policy, tries):
        return None
    seconds = backoff(policy, tries, random.random())
    return bounded_delay(error.after if isinstance(error, Retry) else None, seconds)
