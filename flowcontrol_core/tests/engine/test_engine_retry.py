"""How long a run waits before a failed step is called again."""

from __future__ import annotations

import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core.document.tree import RetryPolicy
from flowcontrol_core.engine.retry import MAX_AFTER, MAX_BACKOFF, backoff, wait_for
from flowcontrol_core.errors import Retry
from tests.cases import each


def test_each_wait_is_longer_by_the_factor_and_the_last_failure_gives_up() -> None:
    policy = RetryPolicy(attempts=4, backoff=30, factor=2, jitter="none")
    assert [backoff(policy, tries, 0.5) for tries in (1, 2, 3, 4)] == [30, 60, 120, None]


def test_full_jitter_takes_a_part_of_the_wait() -> None:
    policy = RetryPolicy(attempts=3, backoff=30, factor=2)
    assert [backoff(policy, 2, part) for part in (0.0, 0.5)] == [0, 30]


def test_one_attempt_is_no_retry() -> None:
    assert backoff(RetryPolicy(attempts=1), 1, 0.5) is None


@given(st.integers(1, 1000), st.floats(0, 1e9), st.floats(0, 1000), st.integers(1, 2000))
def test_no_wait_is_negative_or_longer_than_a_day(
    attempts: int, first: float, factor: float, tries: int
) -> None:
    policy = RetryPolicy(attempts=attempts, backoff=first, factor=factor, jitter="none")
    seconds = backoff(policy, tries, 0.5)
    assert (seconds is None) == (tries >= attempts)
    assert seconds is None or 0 <= seconds <= MAX_BACKOFF


@each(
    ("after", "seconds"),
    [(None, 7), (60, 60), (0, 0), (-5, 0), (math.inf, MAX_AFTER), (math.nan, 7), (1e30, MAX_AFTER)],
)
def test_what_an_action_asks_for_counts_within_reason(after: float | None, seconds: float) -> None:
    assert wait_for(after, 7) == seconds


def test_retry_takes_seconds_or_a_duration() -> None:
    assert Retry(after=timedelta(minutes=2)).after == 120
    assert Retry(after=5).after == 5
    assert Retry("Busy.").after is None
    assert str(Retry()) == "The action asked to be called again."
