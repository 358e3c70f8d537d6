"""An error of a step: what the history keeps of it, and when the step is tried again."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from flowcontrol_core.conf import get_settings
from flowcontrol_core.document.tree import RetryPolicy
from flowcontrol_core.engine.retry import backoff, bounded_delay, has_attempts_left, is_retried
from flowcontrol_core.errors import FlowcontrolError, Retry
from flowcontrol_core.redaction import redact

MAX_TRACEBACK = 20_000


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it was raised from, the outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def one_line(error: BaseException) -> str:
    """Give an error as one line for a reason."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, FlowcontrolError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def describe(
    error: BaseException, step: str, action: str, secrets: Iterable[str] = ()
) -> dict[str, Any]:
    """Give what the history keeps of an error."""
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


def retry_after(policy: RetryPolicy | None, error: Exception, tries: int) -> float | None:
    """Give the seconds until a step that failed is tried again; ``None``: it is not.

    ``policy`` is the step's own; without one, or for an error that it does not name, only an error
    that asks for it is tried again.
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
