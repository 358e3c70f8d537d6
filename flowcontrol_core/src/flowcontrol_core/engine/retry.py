"""When a failed step is called again."""

from __future__ import annotations

import math

from flowcontrol_core.document.tree import RetryPolicy

#: No backoff is longer than a day, and nothing that an action asks for longer than a year.
MAX_BACKOFF = 86_400.0
MAX_AFTER = 366 * MAX_BACKOFF


def backoff(policy: RetryPolicy, tries: int, random: float) -> float | None:
    """Give the seconds to wait after the given number of failed calls (from 1).

    ``random`` is from [0, 1); full jitter takes that part of the wait. ``None``: give up.
    """
    if tries >= policy.attempts:
        return None
    exponent = min(tries - 1, 1000)
    try:
        longest = min(policy.backoff * policy.factor**exponent, MAX_BACKOFF)
    except OverflowError:
        longest = MAX_BACKOFF
    return longest * random if policy.jitter == "full" else longest


def is_retried(policy: RetryPolicy, error: BaseException) -> bool:
    """Say whether an error is one of those that the policy attempts again."""
    kinds = type(error).__mro__
    return not policy.errors or any(
        name in policy.errors
        for kind in kinds
        for name in (kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}")
    )


def wait_for(after: float | None, otherwise: float) -> float:
    """Give the seconds to wait where an action asks for ``after``; it may say nonsense."""
    if after is None or math.isnan(after):
        return otherwise
    return min(max(after, 0.0), MAX_AFTER)
