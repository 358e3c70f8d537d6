"""Promise 1: a run is executed by one worker at a time, the longest overdue first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from flowcontrol_core.models import FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.queue import claim as claim_module
from flowcontrol_core.runs.queue.claim import ANY, Choice, claim
from flowcontrol_core.runs.queue.release import release
from flowcontrol_core.runs.store.clock import DatabaseClock

from .conftest import (
    Lab,
    counted,
    execute,
    fresh,
    publish,
    start,
    sweep,
    think,
)

pytestmark = pytest.mark.django_db


def make_runs(number: int) -> list[FlowRun]:
    flow = publish(think())
    return [create_flowrun(flow) for _ in range(number)]


def test_longest_overdue_run_is_claimed_first(lab: Lab) -> None:
    runs = make_runs(3)
    for minutes, run in zip((5, 20, 10), runs, strict=True):
        due = lab.clock.now() - timedelta(minutes=minutes)
        FlowRun.objects.filter(pk=run.pk).update(due_at=due)
    assert [run.pk for run in claim(2)] == [runs[1].pk, runs[2].pk]
    assert [run.pk for run in claim(2)] == [runs[0].pk]


def test_claim_takes_no_more_than_its_batch(lab: Lab) -> None:
    make_runs(5)
    assert [len(claim(2)) for _ in range(4)] == [2, 2, 1, 0]


def test_claimed_run_has_a_lease_a_fence_and_an_attempt(lab: Lab) -> None:
    (run,) = make_runs(1)
    (claimed,) = claim(10)
    stored = fresh(run)
    assert (stored.status, stored.fence, stored.attempt) == (Status.RUNNING, 1, 1)
    assert (claimed.fence, claimed.attempt) == (1, 1)
    assert stored.due_at == lab.clock.now() + timedelta(seconds=60)
    assert stored.worker


def test_claimed_run_is_not_claimed_again(lab: Lab) -> None:
    make_runs(1)
    assert len(claim(10)) == 1
    lab.clock.advance(seconds=59)
    assert claim(10) == []


def test_expired_lease_goes_to_another_worker(lab: Lab) -> None:
    make_runs(1)
    claim(10)
    lab.clock.advance(seconds=60)
    (again,) = claim(10)
    assert (again.fence, again.attempt) == (2, 2)


def test_run_that_was_started_without_a_checkpoint_is_claimed_alone(lab: Lab) -> None:
    poison, *others = make_runs(4)
    FlowRun.objects.filter(pk=poison.pk).update(attempt=1)
    assert [run.pk for run in claim(10)] == [poison.pk]
    assert [run.pk for run in claim(10)] == [run.pk for run in others]


def test_started_run_after_others_is_left_out_of_their_batch(lab: Lab) -> None:
    first, poison, last = make_runs(3)
    FlowRun.objects.filter(pk=poison.pk).update(attempt=1)
    assert [run.pk for run in claim(10)] == [first.pk, last.pk]
    assert [run.pk for run in claim(10)] == [poison.pk]


def test_run_that_is_not_due_is_left_alone(lab: Lab) -> None:
    flow = publish(think())
    later = create_flowrun(flow, at=lab.clock.now() + timedelta(seconds=1))
    done = create_flowrun(flow)
    FlowRun.objects.filter(pk=done.pk).update(
        status=Status.DONE, outcome=Outcome.COMPLETE, due_at=None
    )
    assert claim(10) == []
    assert fresh(later).fence == fresh(done).fence == 0
    lab.clock.advance(seconds=1)
    assert [run.pk for run in claim(10)] == [later.pk]


def test_only_the_named_runs_are_claimed(lab: Lab) -> None:
    runs = make_runs(3)
    assert [run.pk for run in claim(10, Choice(only=[runs[1].pk]))] == [runs[1].pk]


def test_released_run_is_due_at_once_and_has_lost_no_attempt(lab: Lab) -> None:
    (run,) = make_runs(1)
    (claimed,) = claim(10)
    release(claimed)
    stored = fresh(run)
    assert (stored.attempt, stored.due_at, stored.fence) == (0, lab.clock.now(), 1)


def test_late_release_does_not_touch_the_run_of_another_worker(lab: Lab) -> None:
    (run,) = make_runs(1)
    (late,) = claim(10)
    lab.clock.advance(seconds=60)
    claim(10)
    release(late)
    assert fresh(run).due_at == lab.clock.now() + timedelta(seconds=60)


def test_sweep_is_bounded(lab: Lab) -> None:
    make_runs(3)
    result = continue_flowruns(limit=2)
    assert (result.executed, result.more) == (2, True)
    assert continue_flowruns().executed == 1


@pytest.mark.skipif("connection.vendor == 'sqlite'")
def test_claim_locks_no_flow(lab: Lab) -> None:
    make_runs(1)
    with counted() as counts:
        claim(10)
    (locking,) = [sql for sql in counts.queries if "FOR UPDATE" in sql]
    assert "SKIP LOCKED" in locking
    assert "JOIN" not in locking


def test_sweep_without_due_runs_executes_nothing(lab: Lab) -> None:
    run = start(think())
    assert sweep() == 1
    assert sweep() == 0
    assert fresh(run).outcome == Outcome.COMPLETE
    assert connection.in_atomic_block


@pytest.fixture
def others_first(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let others do something when a claim has read what is due, and cannot skip locked rows."""

    def come_first(work: Callable[[], Any]) -> None:
        def do() -> None:
            without_skip_locked(monkeypatch)
            work()
            connection.close()

        def take(runs: list[FlowRun], now: datetime, *, are_locked: bool) -> list[FlowRun]:
            monkeypatch.setattr(claim_module, "_take", real)
            other = threading.Thread(target=do)
            other.start()
            other.join(30)
            return real(runs, now, are_locked=are_locked)

        real = claim_module._take
        without_skip_locked(monkeypatch)
        monkeypatch.setattr(claim_module, "_take", take)

    return come_first


def without_skip_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this thread's connection be to such a database as MariaDB 10.5."""
    monkeypatch.setattr(connection.features, "has_select_for_update_skip_locked", False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'")
def test_run_is_claimed_once_where_locked_rows_cannot_be_skipped(
    lab: Lab, others_first: Callable[[Callable[[], Any]], None]
) -> None:
    runs = make_runs(4)
    theirs: list[FlowRun] = []
    others_first(lambda: theirs.extend(claim(2)))
    mine = claim(3)
    assert [run.pk for run in theirs] == [run.pk for run in runs[:2]]
    assert [run.pk for run in mine] == [runs[2].pk]
    assert [fresh(run).fence for run in runs] == [1, 1, 1, 0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'")
def test_claim_that_comes_too_late_for_all_it_has_read_reads_again(
    lab: Lab, others_first: Callable[[Callable[[], Any]], None]
) -> None:
    runs = make_runs(4)
    others_first(lambda: claim(2))
    assert [run.pk for run in claim(2)] == [run.pk for run in runs[2:]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'")
def test_run_whose_worker_ends_it_after_all_is_not_claimed(
    lab: Lab, others_first: Callable[[Callable[[], Any]], None]
) -> None:
    """Its fence is still that which was read."""
    (run,) = make_runs(1)
    (late,) = claim(1)
    lab.clock.advance(seconds=60)
    others_first(lambda: execute([late]))
    assert claim(1) == []
    assert fresh(run).outcome == Outcome.COMPLETE


def test_what_is_due_now_is_due_by_the_clock_of_the_database_too(lab: Lab) -> None:
    run, clock = start(think()), DatabaseClock("default")
    for _ in range(50):
        FlowRun.objects.filter(pk=run.pk).update(due_at=clock.now())
        assert ANY.due(clock.expression()).exists()
