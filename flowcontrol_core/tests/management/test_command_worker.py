from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError
from django.core.management.base import SystemCheckError
from django.db import InterfaceError, OperationalError, ProgrammingError, connections
from django.db.models.sql.compiler import SQLCompiler

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.management import worker
from flowcontrol_core.management.worker import stopping_on_signals, work
from flowcontrol_core.models import FlowRun, Status, Worker
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import SweepResult
from flowcontrol_core.runs.queue.claim import ANY
from flowcontrol_core.runs.queue.heartbeat import HeartbeatRefused
from flowcontrol_core.runs.queue.workers import clear_stop, request_stop, should_stop, wait_for_stop
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow, temporary_registry

Call = Callable[..., str]


@pytest.fixture(autouse=True)
def no_stop() -> Iterator[None]:
    clear_stop()
    yield
    clear_stop()


class Sweeps:
    """Stands in for the sweep: does what each of its entries says, then has the worker stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *entries: SweepResult | Exception) -> None:
        self.entries = list(entries)
        self.pauses: list[float] = []
        #: Of each process that deregistered, whether it was one that was started for one sweep.
        self.deregistered: list[bool] = []
        monkeypatch.setattr(worker, "continue_flowruns", self.sweep)
        monkeypatch.setattr(worker, "deregister", self.deregister)
        monkeypatch.setattr(worker, "wait_for_stop", self.pauses.append)

    def sweep(self, *, queues: Collection[str] = ()) -> SweepResult:
        entry = self.entries.pop(0)
        if not self.entries:
            request_stop()
        if isinstance(entry, Exception):
            raise entry
        return entry

    def deregister(self, *, once: bool) -> None:
        self.deregistered.append(once)


IDLE = SweepResult(0, more=False)


@pytest.mark.django_db
def test_run_executes_what_is_due(call: Call) -> None:
    publish_flow(flow(step("test.mark")))
    create_flowrun("flow")
    assert call("run") == "1 run executed.\n"
    assert FlowRun.objects.get().status == Status.DONE


@pytest.mark.django_db
def test_run_is_bounded_and_says_that_more_are_due(call: Call) -> None:
    publish_flow(flow(step("test.mark")))
    for _ in range(3):
        create_flowrun("flow")
    assert call("run", "--limit", "2") == "2 runs executed. More are due.\n"
    assert FlowRun.objects.live().count() == 1


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("run", "--limit", "0"), "runs; expected 1 or more"),
        (("run", "--limit", "many"), "runs; expected 1 or more"),
        (("worker", "--concurrency", "0"), "threads; expected 1 to 64"),
        (("worker", "--concurrency", "65"), "threads; expected 1 to 64"),
        (("prune", "--batches", "0"), "batches; expected 1 or more"),
        (("prune", "--batches", "9" * 5000), "batches; expected 1 or more"),
    ],
)
def test_what_is_not_a_number_of_something_is_a_clear_error(
    call: Call, arguments: tuple[str, ...], wanted: str
) -> None:
    with pytest.raises(CommandError, match=f"is not a valid number of {wanted}"):
        call(*arguments)


@pytest.mark.parametrize("interval", ["0", "-1", "soon", "nan", "inf"])
def test_an_interval_that_is_not_a_time_is_a_clear_error(call: Call, interval: str) -> None:
    with pytest.raises(CommandError, match="is not a valid time in seconds"):
        call("worker", f"--interval={interval}")


@pytest.mark.django_db  # from Django 6.1 on, the checks of the models ask the database
def test_no_flow_is_executed_while_a_check_fails(call: Call, settings: Any) -> None:
    settings.USE_TZ = False
    for arguments in (("run",), ("worker", "--once")):
        with pytest.raises(SystemCheckError, match="USE_TZ"):
            call(*arguments)


@pytest.mark.django_db
def test_worker_once_executes_what_is_due_and_stops(call: Call) -> None:
    publish_flow(flow(step("test.mark")))
    create_flowrun("flow")
    assert call("worker", "--once").splitlines() == [
        "The worker has started.",
        "1 run executed.",
        "The worker has stopped.",
    ]


def test_the_worker_pauses_only_when_nothing_more_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = Sweeps(monkeypatch, SweepResult(5, more=True), SweepResult(2, more=False), IDLE)
    reported: list[int] = []
    work(interval=7, report=reported.append)
    assert sweeps.pauses[:2] == [0, 7]
    assert reported == [5, 2]


def test_the_worker_survives_a_database_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = [OperationalError("server\nclosed"), InterfaceError("connection already closed")]
    sweeps = Sweeps(monkeypatch, IDLE, *away, *[OperationalError("refused")] * 8, IDLE, IDLE)
    work(interval=1, report=lambda count: None)
    first, *pauses, last, _ = sweeps.pauses
    assert (first, last) == (1, 1)
    assert all(low <= pause <= 2 * low for pause, low in zip(pauses, (0.5, 1, 2, 4), strict=False))
    assert all(15 <= pause <= 30 for pause in pauses[6:])
    assert "The database does not answer (server closed)" in caplog.text
    assert "The database answers again after 10 failed sweeps." in caplog.text


def test_worker_once_does_not_wait_for_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweeps = Sweeps(monkeypatch, OperationalError("refused"), IDLE)
    with pytest.raises(OperationalError, match="refused"):
        work(interval=1, once=True, concurrency=2, report=lambda count: None)
    assert sweeps.pauses == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments",
    [("run",), ("worker", "--once"), ("prune",), ("cancel", "1"), ("bulk", "cancel", "--flow=x")],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "error",
    [
        OperationalError("connection\nrefused"),
        ProgrammingError("no such table"),
        InterfaceError("closed"),
    ],
    ids=repr,
)
def test_a_database_that_is_away_or_has_no_tables_is_a_clear_error(
    call: Call, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], error: Exception
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(SQLCompiler, "execute_sql", fail)
    with pytest.raises(CommandError) as raised:
        call(*arguments)
    said = " ".join(str(error).split())
    assert f"The database does not work as it should: {said}." in str(raised.value)
    assert "`manage.py migrate`" in str(raised.value)
    assert raised.value.returncode == 1


def test_an_error_that_is_not_the_databases_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    Sweeps(monkeypatch, RuntimeError("a mistake"), IDLE)
    with pytest.raises(RuntimeError, match="a mistake"):
        work(interval=1, report=lambda count: None)


def test_a_worker_that_is_asked_to_stop_deregisters(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = Sweeps(monkeypatch, IDLE, IDLE)
    work(interval=1, report=lambda count: None)
    assert sweeps.deregistered == [False]


def test_worker_once_leaves_a_row_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = Sweeps(monkeypatch, IDLE, IDLE)
    work(interval=1, once=True, report=lambda count: None)
    assert sweeps.deregistered == [True]


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [("run",), ("worker", "--once")], ids=" ".join)
def test_cron_is_one_worker_however_often_it_runs(call: Call, arguments: tuple[str, ...]) -> None:
    for _ in range(3):
        call(*arguments)
    assert Worker.objects.get().name.endswith(":once")
    assert call("doctor").splitlines()[0] == "Healthy."


class Threads:
    """Stands in for the sweep: each thread waits for the others in its first one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.together = threading.Barrier(number, timeout=30)
        self.names: set[str] = set()
        self.fails_in = ""
        monkeypatch.setattr(worker, "continue_flowruns", self.sweep)
        monkeypatch.setattr(worker, "deregister", lambda once: None)

    def sweep(self, *, queues: Collection[str] = ()) -> SweepResult:
        name = threading.current_thread().name
        if name not in self.names:
            self.names.add(name)
            self.together.wait()
        if name == self.fails_in:
            raise RuntimeError("a mistake")
        if not self.fails_in:
            request_stop()
        return IDLE


def test_as_many_threads_as_asked_for_sweep_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(monkeypatch, 3)
    work(interval=60, concurrency=3, report=lambda count: None)
    assert len(threads.names) == 3
    assert not [each for each in threading.enumerate() if each.name.startswith("worker_")]


@pytest.mark.parametrize("name", ["worker_0", "MainThread"])
def test_a_mistake_in_one_thread_stops_them_all(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    threads = Threads(monkeypatch, 3)
    threads.fails_in = name
    with pytest.raises(RuntimeError, match="a mistake"):
        work(interval=60, concurrency=3, report=lambda count: None)
    assert not [each for each in threading.enumerate() if each.name.startswith("worker_")]


@pytest.mark.django_db
def test_a_worker_executes_only_the_queues_that_it_is_given(call: Call) -> None:
    publish_flow(flow(step("test.mark")))
    publish_flow(flow(step("test.mark")), key="slow", queue="slow")
    runs = [create_flowrun("flow"), create_flowrun("slow")]
    said = StringIO()
    out = call("worker", "--once", "--queue", "slow", "--queue", "other", stderr=said)
    assert "1 run executed." in out
    assert said.getvalue() == "No flow has the queue 'other': is that its name?\n"
    assert [FlowRun.objects.get(pk=run.pk).status for run in runs] == [Status.PENDING, Status.DONE]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopping_on_signals():
        os.kill(os.getpid(), number)
        assert wait_for_stop(10)
        assert signal.getsignal(number) == before, "a second one ends the process at once"
    assert not should_stop()


def test_waiting_ends_without_a_request_too() -> None:
    assert not wait_for_stop(0.001)


class StopHere(BaseAction):
    """Asks the process to stop while it is executed, as a signal would."""

    name = "stop_here"
    effects = Effects.DATABASE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        request_stop()


@pytest.mark.django_db
def test_runs_that_have_not_begun_are_given_back_as_they_were(call: Call) -> None:
    with temporary_registry(StopHere):
        publish_flow(flow(step("test.stop_here"), step("test.mark")))
        for _ in range(3):
            create_flowrun("flow")
        assert "1 run executed." in call("worker")
    done, *others = FlowRun.objects.order_by("pk")
    assert done.status == Status.DONE, "what was in hand is finished"
    due = ANY.due(clock().expression())
    assert list(due) == others
    assert {(run.attempt, run.worker) for run in others} == {(0, "")}


@pytest.mark.django_db
@pytest.mark.parametrize(("threads", "missing"), [(1, ""), (3, "lacks 2 connections: each thread")])
def test_a_worker_says_what_its_pool_lacks(
    call: Call, monkeypatch: pytest.MonkeyPatch, threads: int, missing: str
) -> None:
    monkeypatch.setattr(worker, "pool_size", lambda: 2)
    monkeypatch.setattr(worker, "continue_flowruns", lambda queues: IDLE)
    said = StringIO()
    call("worker", "--once", f"--concurrency={threads}", stderr=said)
    assert missing in said.getvalue()
    assert bool(said.getvalue()) == bool(missing)


def test_a_worker_without_a_heartbeat_waits_for_it_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(connections, "close_all", lambda: closed.append(True))
    sweeps = Sweeps(monkeypatch, HeartbeatRefused("No connection."), HeartbeatRefused("No."), IDLE)
    work(interval=1, report=lambda count: None)
    assert all(0.5 <= pause <= 2 for pause in sweeps.pauses[:2])
    assert "No runs are claimed; the worker will retry. No connection." in caplog.text
    assert len(closed) == 2, "the heartbeat may have its own connection meanwhile"
