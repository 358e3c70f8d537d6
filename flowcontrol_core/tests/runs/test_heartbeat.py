"""Leases: how long they last, how the heartbeat extends them, and when it does not any more."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
from django.db import OperationalError, connection

from flowcontrol_core.models import FlowRun, Outcome
from flowcontrol_core.runs.execution import batch
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.queue import heartbeat as heartbeat_module
from flowcontrol_core.runs.queue.claim import claim
from flowcontrol_core.runs.queue.heartbeat import Heartbeat, HeartbeatRefused, Pulse, is_refused
from flowcontrol_core.runs.store.guard import CallGuard

from .conftest import (
    Lab,
    Once,
    WorkerDied,
    customers,
    fresh,
    make_due,
    publish,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)
LEASE, STEP_TIMEOUT = 60, 300
without_heartbeat = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="There, a thread extends the leases"
)
with_heartbeat = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="There, one writer locks out all others"
)


@dataclass
class Machine:
    """Stands for the module ``time``: a monotonic clock that is moved by the test."""

    seconds: float = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.FLOWCONTROL = {"LEASE": LEASE, "STEP_TIMEOUT": STEP_TIMEOUT}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(heartbeat_module, "time", found)
    return found


@pytest.fixture
def run(lab: Lab) -> FlowRun:
    """A claimed run."""
    start(think())
    (claimed,) = claim(1)
    return claimed


@pytest.fixture
def heart(run: FlowRun) -> Heartbeat:
    """A heartbeat that holds the run, without the thread."""
    made = Heartbeat()
    made.hold([run])
    return made


def left(lab: Lab, run: FlowRun) -> float:
    """Return the seconds until the lease of a run expires."""
    expiry: datetime | None = fresh(run).due_at
    assert expiry is not None
    return (expiry - lab.clock.now()).total_seconds()


def is_extended(lab: Lab, heart: Heartbeat, run: FlowRun) -> bool:
    """Let some time pass and the heart beat once; say whether the lease began anew."""
    lab.clock.advance(seconds=LEASE / 4)
    heart.extend()
    return left(lab, run) == LEASE


def test_a_claim_is_a_lease_of_the_configured_length(lab: Lab, run: FlowRun) -> None:
    assert left(lab, run) == LEASE


def test_each_beat_begins_the_lease_anew(
    lab: Lab, machine: Machine, heart: Heartbeat, run: FlowRun
) -> None:
    for _ in range(8):
        machine.seconds += LEASE / 4
        assert is_extended(lab, heart, run)


@pytest.mark.parametrize("timeout", [None, 40.0])
def test_a_lease_is_extended_until_the_time_of_the_step_is_up_and_not_beyond(
    lab: Lab, machine: Machine, heart: Heartbeat, run: FlowRun, timeout: float | None
) -> None:
    seconds = STEP_TIMEOUT if timeout is None else timeout
    with heart.watch(timeout):
        machine.seconds += seconds - 1
        assert is_extended(lab, heart, run)
        machine.seconds += 1
        assert not is_extended(lab, heart, run)
        assert not is_extended(lab, heart, run)
    # The call has come back after all; no other has claimed the run in the meantime.
    assert is_extended(lab, heart, run)


def test_a_call_that_hangs_keeps_the_lease_of_no_run_after_it(
    lab: Lab, machine: Machine, heart: Heartbeat, run: FlowRun
) -> None:
    start(think(), key="other")
    (other,) = claim(1)
    heart.hold([other])
    with heart.watch(40):
        assert is_extended(lab, heart, other)
        machine.seconds += 40
        assert not is_extended(lab, heart, run)
        assert not is_extended(lab, heart, other)


@pytest.mark.parametrize("place", [think, write, send])
def test_the_time_of_a_step_of_any_effects_is_bounded(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    hearts: list[Heartbeat] = []
    bounds: list[float | None] = []
    original = Heartbeat.hold

    def hold(self: Heartbeat, runs: Iterable[FlowRun]) -> None:
        hearts.append(self)
        original(self, runs)

    monkeypatch.setattr(Heartbeat, "hold", hold)
    lab.on("look", lambda run, obj: bounds.append(hearts[-1]._timeout))
    start(place("look"), write(), place("look"))
    sweep()
    assert len(bounds) == 2
    assert None not in bounds


def test_a_heartbeat_begins_the_time_of_the_step_anew(
    lab: Lab, machine: Machine, heart: Heartbeat, run: FlowRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "has_heartbeat", lambda: True)
    with heart.watch(40):
        for _ in range(3):
            machine.seconds += 39
            heart.touch(run, CallGuard())
            assert is_extended(lab, heart, run)
        machine.seconds += 40
        assert not is_extended(lab, heart, run)


def test_a_heartbeat_outside_of_a_call_changes_nothing(
    lab: Lab, machine: Machine, heart: Heartbeat, run: FlowRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "has_heartbeat", lambda: True)
    with heart.watch(40):
        pass
    heart.touch(run, CallGuard())
    machine.seconds += 1000
    assert is_extended(lab, heart, run)


def test_a_run_that_was_dropped_is_left_alone(lab: Lab, heart: Heartbeat, run: FlowRun) -> None:
    heart.drop(run)
    assert not is_extended(lab, heart, run)


@pytest.mark.parametrize("change", [{"fence": 99}, {"status": "waiting"}], ids=str)
def test_the_lease_of_another_worker_is_not_extended(
    lab: Lab, heart: Heartbeat, run: FlowRun, change: dict[str, Any]
) -> None:
    FlowRun.objects.filter(pk=run.pk).update(**change)
    assert not is_extended(lab, heart, run)


@dataclass
class Bell:
    """Stands for the event that ends the pauses of the thread: the test rings for each beat."""

    waited: SimpleQueue[float] = field(default_factory=SimpleQueue)
    rings: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def wait(self, seconds: float) -> None:
        self.waited.put(seconds)
        self.rings.get(timeout=30)

    def set(self) -> None:
        self.rings.put("end")

    def clear(self) -> None:
        """Do nothing: each ring is heard once."""

    def beat(self) -> float:
        """Let the heart beat once; return how long it pauses then."""
        self.rings.put("beat")
        return self.waited.get(timeout=30)


@pytest.fixture
def pulse(monkeypatch: pytest.MonkeyPatch) -> Pulse:
    """The pulse of this process, which has not begun."""
    found = Pulse()
    monkeypatch.setattr(heartbeat_module, "_pulse", found)
    return found


@pytest.fixture
def bell(run: FlowRun, pulse: Pulse) -> Iterator[Bell]:
    """A heartbeat with the thread, which pauses after its first beat."""
    rung = Bell()
    pulse._bell = rung  # type: ignore[assignment]
    with Heartbeat() as heart:
        heart.hold([run])
        heart.reserve()
        assert rung.waited.get(timeout=30) == LEASE / 4
        thread = pulse._thread
        assert thread is not None
        yield rung
    assert not thread.is_alive()


@with_heartbeat
def test_the_thread_beats_every_quarter_of_a_lease(lab: Lab, run: FlowRun, bell: Bell) -> None:
    for _ in range(5):
        lab.clock.advance(seconds=LEASE / 4)
        assert bell.beat() == LEASE / 4
        assert left(lab, run) == LEASE


@with_heartbeat
def test_the_thread_survives_a_database_that_does_not_answer(
    lab: Lab, run: FlowRun, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(pk: int, fence: int) -> Any:
        raise OperationalError("server closed the connection")

    lab.clock.advance(seconds=LEASE / 4)
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat_module, "owned", gone)
        assert bell.beat() == heartbeat_module.AGAIN, "it tries again soon"
        assert is_refused()
        with Heartbeat() as other, pytest.raises(HeartbeatRefused, match="server closed"):
            other.reserve()
    assert left(lab, run) == LEASE * 3 / 4
    assert bell.beat() == LEASE / 4
    assert left(lab, run) == LEASE
    assert not is_refused()


@with_heartbeat
def test_there_is_one_thread_for_all_sweeps_of_a_process(
    lab: Lab, run: FlowRun, pulse: Pulse
) -> None:
    before = threading.active_count()
    with Heartbeat() as first, Heartbeat() as second:
        for heart in (first, second, first):
            heart.reserve()
        assert threading.active_count() == before + 1
        first.hold([run])
        lab.clock.advance(seconds=LEASE / 4)
        pulse._beat()
        assert left(lab, run) == LEASE
    assert threading.active_count() == before


def test_a_heartbeat_waits_for_the_connection_to_its_own_database(pulse: Pulse) -> None:
    beaten: list[str] = []
    hearts = [Heartbeat(database=name, beat=partial(beaten.append, name)) for name in "ab"]
    try:
        for heart in hearts:
            pulse.beat_for(heart)
            assert heart.database in beaten
    finally:
        for heart in hearts:
            pulse.stop_for(heart)


def test_a_database_that_fails_keeps_no_lease_of_another_from_being_extended(pulse: Pulse) -> None:
    def fail() -> None:
        raise OperationalError("connection refused")

    beaten: list[str] = []
    good = [Heartbeat(database="other", beat=partial(beaten.append, name)) for name in "ab"]
    bad = Heartbeat(database="default", beat=fail)
    hearts = [good[0], bad, good[1]]
    try:
        pulse._hearts.update(hearts)
        with pytest.raises(HeartbeatRefused, match=r"'default' \(connection refused\)"):
            pulse.beat_for(bad)
        assert is_refused()
        assert {*beaten} == {"a", "b"}
        pulse.beat_for(good[0])
    finally:
        for heart in hearts:
            pulse.stop_for(heart)


@with_heartbeat
def test_the_thread_stays_for_the_length_of_a_lease(
    pulse: Pulse, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that executes a run now and then does not connect anew for each."""
    monkeypatch.setattr(heartbeat_module, "_is_test", lambda: False)
    heart = Heartbeat()
    pulse._hearts.add(heart)
    assert not pulse._has_ended()
    pulse.stop_for(heart)
    machine.seconds += LEASE - 1
    assert not pulse._has_ended()
    machine.seconds += 1
    assert pulse._has_ended()


@pytest.fixture
def refused(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the heartbeat get no connection."""

    def refuse(heart: Heartbeat) -> None:
        raise OperationalError("sorry, too many clients already")

    monkeypatch.setattr(heartbeat_module, "has_heartbeat", lambda: True)
    monkeypatch.setattr(Heartbeat, "extend", refuse)


@pytest.mark.usefixtures("refused")
def test_nothing_is_claimed_while_the_heartbeat_gets_no_connection(lab: Lab) -> None:
    run = start(send())
    with pytest.raises(HeartbeatRefused, match="too many clients already"):
        continue_flowruns()
    row = fresh(run)
    assert (row.status, row.fence, row.attempt) == ("pending", 0, 0)


@pytest.mark.usefixtures("refused")
def test_what_is_started_then_is_left_to_a_worker_as_it_was(lab: Lab) -> None:
    run = start_flowrun(publish(think(), send()), state={"n": 5}, by="Ada")
    row = fresh(run)
    assert (row.status, row.fence, row.attempt, row.worker) == ("pending", 0, 0, "")
    assert (row.state, row.cursor) == ({"n": 5}, [])
    assert [event.actor for event in row.events.all()] == ["Ada"]
    assert "send" not in lab.calls


@pytest.mark.usefixtures("refused")
def test_what_needs_no_heartbeat_is_executed_nevertheless(lab: Lab) -> None:
    assert start_flowrun(publish(think())).outcome == Outcome.COMPLETE


@pytest.mark.usefixtures("refused")
def test_inline_dispatch_then_leaves_its_runs_to_the_sweep(
    lab: Lab, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "inline"}
    run = start(send())
    assert fresh(run).status == "pending"
    assert "wait for the next sweep" in caplog.text
    assert "too many clients already" in caplog.text


@without_heartbeat
def test_there_is_no_thread_where_one_writer_locks_out_all(run: FlowRun) -> None:
    before = threading.active_count()
    with Heartbeat() as heart:
        heart.reserve()
        heart.hold([run])
        assert threading.active_count() == before


def leases(lab: Lab, *, beats: int = 0) -> list[float]:
    """Have a step note the length of its lease, and again after each heartbeat."""
    seen: list[float] = []

    def look(run: Any, obj: Any) -> None:
        row = FlowRun.objects.get()
        seen.append(left(lab, row))
        for _ in range(beats):
            lab.clock.advance(seconds=10)
            run.heartbeat()
            seen.append(left(lab, row))

    lab.on("look", look)
    return seen


@without_heartbeat
def test_without_a_heartbeat_the_lease_lasts_for_the_whole_call(lab: Lab) -> None:
    seen = leases(lab)
    start(send("look"))
    sweep()
    assert seen == [LEASE + STEP_TIMEOUT]


@without_heartbeat
def test_without_a_heartbeat_it_lasts_for_the_time_out_of_the_step(lab: Lab) -> None:
    seen = leases(lab)
    start(send("look", timeout=1000))
    sweep()
    assert seen == [LEASE + 1000]


@without_heartbeat
@pytest.mark.parametrize("timeout", [None, 20.0])
def test_without_a_thread_a_heartbeat_begins_the_lease_of_the_call_anew(
    lab: Lab, timeout: float | None
) -> None:
    seen = leases(lab, beats=3)
    start(send("look", timeout=timeout))
    sweep()
    assert seen == [LEASE + (timeout or STEP_TIMEOUT)] * 4


@without_heartbeat
def test_without_a_heartbeat_a_call_that_is_made_again_has_as_long_a_lease(lab: Lab) -> None:
    lab.on("look", Once(lambda run, obj: None, WorkerDied()))
    run = start(send("look"))
    with pytest.raises(WorkerDied):
        sweep()
    make_due(run, lab)
    seen = leases(lab)
    sweep()
    assert seen == [LEASE + STEP_TIMEOUT]


@without_heartbeat
def test_without_a_heartbeat_a_run_does_not_pay_for_those_before_it(
    lab: Lab, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(run: Any, obj: Any) -> None:
        seen.append(left(lab, FlowRun.objects.get(pk=run.pk)))
        machine.seconds += LEASE - 1
        lab.clock.advance(seconds=LEASE - 1)

    seen: list[float] = []
    lab.on("look", look)
    monkeypatch.setattr(batch, "time", machine)
    flow = publish(write("look"))
    for _ in range(3):
        create_flowrun(flow)
    sweep()
    assert seen == [LEASE] * 3


@with_heartbeat
def test_with_a_heartbeat_the_lease_of_a_call_is_as_short_as_any(lab: Lab) -> None:
    seen = leases(lab)
    start(send("look", timeout=1000))
    sweep()
    assert seen == [LEASE]


@pytest.mark.parametrize("place", [think, write, send])
def test_a_step_of_any_effects_may_send_a_heartbeat(lab: Lab, place: Any) -> None:
    lab.on("alive", lambda run, obj: run.heartbeat())
    run = start(place("alive"), think())
    sweep()
    row = fresh(run)
    assert (row.outcome, row.reason) == (Outcome.COMPLETE, "")


@without_heartbeat
def test_a_heartbeat_ends_a_step_whose_run_another_worker_has(lab: Lab) -> None:
    def lose(run: Any, obj: Any) -> None:
        FlowRun.objects.update(fence=99)
        run.heartbeat()
        raise AssertionError("it has to end here")

    lab.on("lose", lose)
    run = start(send("lose"), write("after"))
    sweep()
    row = fresh(run)
    assert (row.status, row.fence, row.reason) == ("running", 99, "")
    assert customers() == []


@pytest.mark.parametrize("place", [write, send])
def test_the_action_sees_when_its_call_times_out(lab: Lab, place: Any) -> None:
    seen: list[timedelta | None] = []
    lab.on("look", lambda run, obj: seen.append(run.deadline and run.deadline - run.now))
    start(place("look"), place("look", timeout=40))
    sweep()
    assert seen == [None, timedelta(seconds=40)]


def test_a_run_that_is_started_and_ends_in_memory_needs_no_heartbeat(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Heartbeat, "hold")
    assert start_flowrun(publish(think())).outcome == Outcome.COMPLETE
