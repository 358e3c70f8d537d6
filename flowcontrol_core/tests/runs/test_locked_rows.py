"""A row that another session has locked delays its own run, and no other for longer than a second.

The other session is a second connection, which locks rows and does nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from flowcontrol_core.models import FlowRun, MessageKind, Reason, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.queue import claim as claim_module
from flowcontrol_core.runs.queue.claim import claim
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.inbox import put_messages
from flowcontrol_core.runs.queue.outbox import wake_paused
from flowcontrol_core.runs.store.connection import is_row_locked
from flowcontrol_core.runs.store.rows import LOCK_WAIT, rows, update, write_guarded

from .conftest import Lab, counted, event, execute, fresh, publish, start, sweep, think, write

pytestmark = [
    pytest.mark.real_connections,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time"),
]
#: Far less than the 60 seconds of a lease, and than the 50 that MariaDB waits by itself.
SOON = 4 * LOCK_WAIT


class Session:
    """A second connection that locks rows until it is told to let go."""

    def __init__(self) -> None:
        self._has_locked, self._lets_go = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def lock(self, run: FlowRun) -> None:
        self._thread = threading.Thread(target=self._hold, args=(run.pk,), daemon=True)
        self._thread.start()
        assert self._has_locked.wait(10)

    def let_go(self) -> None:
        self._lets_go.set()
        if self._thread is not None:
            self._thread.join(10)

    def _hold(self, pk: int) -> None:
        with transaction.atomic():
            FlowRun.objects.select_for_update().get(pk=pk)
            self._has_locked.set()
            self._lets_go.wait(30)
        connections.close_all()


@pytest.fixture
def session() -> Iterator[Session]:
    other = Session()
    yield other
    other.let_go()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


@pytest.mark.parametrize("step", [think, write])
def test_a_locked_run_is_postponed_and_the_others_are_executed(
    lab: Lab, session: Session, step: Callable[..., Any]
) -> None:
    target = publish(step("first"), step("last"))
    locked, *others = (create_flowrun(target) for _ in range(5))

    def work(run: Any, obj: Any) -> None:
        if run.pk == locked.pk and not session._has_locked.is_set():
            session.lock(locked)

    lab.on("first", work)
    with at_most(SOON):
        sweep()
    assert {fresh(run).status for run in others} == {Status.DONE}
    assert fresh(locked).status == Status.RUNNING
    with at_most(SOON):
        sweep()
    session.let_go()
    sweep()
    assert fresh(locked).due_at == lab.clock.now() + timedelta(seconds=5)
    lab.clock.advance(seconds=5)
    sweep()
    assert fresh(locked).status == Status.DONE


def test_a_locked_run_that_waits_delays_no_other_event(lab: Lab, session: Session) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    target = publish(think("wait"))
    locked, other = create_flowrun(target), create_flowrun(target)
    sweep()
    session.lock(locked)
    event()
    with at_most(SOON):
        continue_flowruns()
    assert fresh(other).status == Status.DONE
    session.let_go()
    sweep()
    assert fresh(locked).status == Status.DONE


def test_a_locked_run_that_is_canceled_delays_no_other_message(lab: Lab, session: Session) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    target = publish(think("wait"))
    locked, other, third = (create_flowrun(target) for _ in range(3))
    sweep()
    session.lock(locked)
    put_messages([locked.pk, other.pk, third.pk], MessageKind.CANCEL, Reason("canceled"))
    with at_most(SOON):
        sweep()
    assert fresh(other).status == fresh(third).status == Status.DONE
    session.let_go()
    sweep()
    assert fresh(locked).status == Status.DONE


def test_the_leases_of_other_runs_are_extended(lab: Lab, session: Session) -> None:
    target = publish(think())
    locked, other = create_flowrun(target), create_flowrun(target)
    runs = claim(9)
    session.lock(locked)
    lab.clock.advance(seconds=30)
    with Heartbeat() as heart, at_most(SOON):
        heart.hold(runs)
        heart.extend()
    assert fresh(other).due_at == lab.clock.now() + timedelta(seconds=60)
    assert fresh(locked).due_at == lab.clock.now() + timedelta(seconds=30)


def test_the_wait_is_bounded_without_a_statement_more(lab: Lab, session: Session) -> None:
    run = start(think())
    (claimed,) = claim(9)
    claimed.status = Status.RUNNING
    with counted() as counts:
        assert write_guarded([claimed]) == 1
        assert update(rows([run.pk], Status.RUNNING), worker="w") == 1
    assert len(counts.sql) == 2, counts.sql
    session.lock(run)
    with at_most(LOCK_WAIT + 1), pytest.raises(OperationalError) as raised:
        write_guarded([claimed])
    assert is_row_locked(raised.value)
    with at_most(LOCK_WAIT + 1), pytest.raises(OperationalError) as raised:
        update(rows([run.pk], Status.RUNNING), worker="w")
    assert is_row_locked(raised.value)


def test_what_a_step_waits_for_is_bounded_by_the_project(lab: Lab) -> None:
    """The bound is the statement's: neither the step's own ones nor the session keep it."""
    settings = {
        "postgresql": "SELECT current_setting('lock_timeout')",
        "mysql": "SELECT @@innodb_lock_wait_timeout",
    }

    def setting() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(settings[connection.vendor])
            return cursor.fetchone()

    seen = []
    before = setting()
    lab.on("look", lambda run, obj: seen.append(setting()))
    start(write(), write("look"), write())
    sweep()
    assert [*seen, setting()] == [before, before]


def test_a_locked_run_that_is_not_begun_keeps_none_from_being_given_back(
    lab: Lab, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn of the batch is over, so what it has not begun goes back into the queue."""
    monkeypatch.setattr(claim_module, "TURN", 0.0)
    target = publish(think())
    first, *others = (create_flowrun(target) for _ in range(5))
    locked = others[1]
    before = fresh(locked)
    lab.on("think", lambda run, obj: session.lock(locked) if run.pk == first.pk else None)
    with at_most(SOON):
        execute(claim(9))
    assert fresh(first).status == Status.DONE
    assert {fresh(run).status for run in others if run != locked} == {Status.PENDING}
    assert fresh(locked).status == Status.RUNNING
    sweep()
    assert {fresh(run).status for run in others if run != locked} == {Status.DONE}
    session.let_go()
    sweep()
    assert fresh(locked).status == Status.DONE
    assert (before.status, fresh(locked).attempt) == (Status.PENDING, 0)


def test_a_locked_run_delays_none_that_is_blocked_on_the_same(lab: Lab, session: Session) -> None:
    target = publish(think())
    locked, *others = (create_flowrun(target) for _ in range(4))
    FlowRun.objects.update(status=Status.BLOCKED, due_at=None, blocked_on="lab.think")
    session.lock(locked)
    with at_most(SOON):
        sweep()
        sweep()
    assert {fresh(run).status for run in others} == {Status.DONE}
    assert fresh(locked).status == Status.BLOCKED
    session.let_go()
    sweep()
    assert fresh(locked).status == Status.DONE


def test_a_locked_run_that_is_paused_delays_none_that_is_woken_with_it(
    lab: Lab, session: Session
) -> None:
    target = publish(think())
    locked, *others = (create_flowrun(target) for _ in range(4))
    FlowRun.objects.update(status=Status.PAUSED, due_at=None, reason_code="parent_paused")
    session.lock(locked)
    with at_most(SOON), pytest.raises(OperationalError):
        wake_paused([locked.pk, *(run.pk for run in others)], "parent_paused")
    assert all(fresh(run).due_at for run in others)
    assert fresh(locked).due_at is None


def test_a_locked_parent_keeps_none_of_the_batch_from_ending(lab: Lab, session: Session) -> None:
    """What follows the common write of several ends concerns the run whose end it is."""
    target = publish(think())
    child, *others = (create_flowrun(target) for _ in range(4))
    parent = create_flowrun(target)
    later = lab.clock.now() + timedelta(days=1)
    FlowRun.objects.filter(pk=parent.pk).update(
        status=Status.WAITING, due_at=later, wait_child=child.uuid
    )
    FlowRun.objects.filter(pk=child.pk).update(parent_id=parent.pk)
    session.lock(parent)
    with at_most(SOON):
        execute(claim(9))
    assert {fresh(run).status for run in (child, *others)} == {Status.DONE}
    assert fresh(parent).due_at == later
    session.let_go()
    sweep()
    assert fresh(parent).due_at != later
