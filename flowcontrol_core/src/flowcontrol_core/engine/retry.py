"""When a failed step is called again."""

from __future__ import annotations

from flowcontrol_core.definition import RetryPolicy

#: No backoff is longer than a day.
MAX_BACKOFF = 86_400.0


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
