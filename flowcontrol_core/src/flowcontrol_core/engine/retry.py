"""When a failed step is called again."""

from __future__ import annotations

import math

from flowcontrol_core import bounds
from flowcontrol_core.document.tree import RetryPolicy


def has_attempts_left(policy: RetryPolicy, tries: int) -> bool:
    """Return whether a step is called again after the given number of failed calls (from 1)."""
    return tries < policy.attempts


def backoff(policy: RetryPolicy, tries: int, random: float) -> float:
    """Return the seconds to wait after the given number of failed calls (from 1).

    ``random`` is from [0, 1); full jitter takes that part of the wait.
    """
    exponent = min(tries - 1, 1000)
    try:
        longest = min(policy.backoff * policy.factor**exponent, bounds.BACKOFF_SECONDS)
    except OverflowError:
        longest = bounds.BACKOFF_SECONDS
    return longest * random if policy.jitter == "full" else longest


def is_retried(policy: RetryPolicy, error: BaseException) -> bool:
    """Return whether an error is one of those after which the policy calls again."""
    kinds = type(error).__mro__
    return not policy.errors or any(
        name in policy.errors
        for kind in kinds
        for name in (kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}")
    )


def bounded_delay(after: float | None, otherwise: float) -> float:
    """Return the seconds to wait where an action asks for ``after``, which may be nonsense."""
    if after is None or math.isnan(after):
        return otherwise
    return min(max(after, 0.0), bounds.RETRY_AFTER_SECONDS)
