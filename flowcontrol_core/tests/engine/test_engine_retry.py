"""How long a run waits before a failed step is called again."""

from __future__ import annotations

import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core.bounds import BACKOFF_SECONDS, RETRY_AFTER_SECONDS
from flowcontrol_core.document.tree import RetryPolicy
from flowcontrol_core.engine.retry import backoff, bounded_delay, has_attempts_left
from flowcontrol_core.errors import Retry
from tests.cases import each


def test_each_wait_is_longer_by_the_factor_and_the_last_failure_has_none() -> None:
    policy = RetryPolicy(attempts=4, backoff=30, factor=2, jitter="none")
    assert [backoff(policy, tries, 0.5) for tries in (1, 2, 3)] == [30, 60, 120]
    assert [has_attempts_left(policy, tries) for tries in (3, 4, 5)] == [True, False, False]


def test_full_jitter_takes_a_part_of_the_wait() -> None:
    policy = RetryPolicy(attempts=3, backoff=30, factor=2)
    assert [backoff(policy, 2, part) for part in (0.0, 0.5)] == [0, 30]


def test_one_attempt_is_never_repeated() -> None:
    assert not has_attempts_left(RetryPolicy(attempts=1), 1)


@given(st.integers(1, 1000), st.floats(0, 1e9), st.floats(0, 1000), st.integers(1, 2000))
def test_no_wait_is_negative_or_longer_than_a_day(
    attempts: int, first: float, factor: float, tries: int
) -> None:
    policy = RetryPolicy(attempts=attempts, backoff=first, factor=factor, jitter="none")
    assert has_attempts_left(policy, tries) == (tries < attempts)
    assert 0 <= backoff(policy, tries, 0.5) <= BACKOFF_SECONDS


@each(
    ("after", "seconds"),
    [
        (None, 7),
        (60, 60),
        (0, 0),
        (-5, 0),
        (math.inf, RETRY_AFTER_SECONDS),
        (math.nan, 7),
        (1e30, RETRY_AFTER_SECONDS),
    ],
)
def test_what_an_action_asks_for_counts_within_reason(after: float | None, seconds: float) -> None:
    assert bounded_delay(after, 7) == seconds


def test_retry_takes_seconds_or_a_duration() -> None:
    assert Retry(after=timedelta(minutes=2)).after == 120
    assert Retry(after=5).after == 5
    assert Retry("Busy.").after is None
    assert str(Retry()) == "The action asked to be called again."
