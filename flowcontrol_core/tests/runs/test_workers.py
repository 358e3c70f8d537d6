"""The workers, as they register and send their heartbeats."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flowcontrol_core.models import Worker
from flowcontrol_core.runs.execution import sweep as sweep_module
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.queue import workers
from flowcontrol_core.runs.queue.workers import deregister, loaded_plugins, send_heartbeat
from flowcontrol_core.runs.store.connection import TenantCache

from .conftest import Lab, counted, publish, sweep, write

pytestmark = pytest.mark.django_db(transaction=True)


class Process:
    """What a process knows of itself, in the place of this one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic = 1000.0
        self._patch = monkeypatch
        self.be("here", 1)
        monkeypatch.setattr(workers, "os", SimpleNamespace(getpid=lambda: self.pid))
        monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: self.monotonic))
        monkeypatch.setattr(workers, "_written_at", TenantCache(most=9))

    def be(self, host: str, pid: int) -> None:
        self._patch.setattr(workers, "_HOST", host)
        self.pid = pid


@pytest.fixture
def process(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


def names() -> list[str]:
    return list(Worker.objects.order_by("name").values_list("name", flat=True))


def test_each_process_that_sweeps_has_a_row(lab: Lab, process: Process) -> None:
    continue_flowruns(queues=["slow", "fast"])
    process.be("there", 1)
    continue_flowruns()
    process.be("there", 2)
    continue_flowruns()
    assert names() == ["here:1", "there:1", "there:2"]
    here = Worker.objects.get(name="here:1")
    assert (here.host, here.pid, here.queues) == ("here", 1, "slow,fast")
    assert here.last_sweep_at == here.started_at == lab.clock.now()


def test_a_worker_with_many_slow_runs_does_not_count_as_gone(
    lab: Lab, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "AGAIN", 0)
    ages: list[timedelta] = []

    def work(run: Any, obj: Any) -> None:
        ages.append(lab.clock.now() - Worker.objects.get().last_sweep_at)
        lab.clock.advance(seconds=100)
        process.monotonic += 100

    lab.on("slow", work)
    target = publish(write("slow"))
    for _ in range(4):
        create_flowrun(target)
    assert sweep() == 4
    assert ages == [timedelta()] * 4


def test_a_row_names_the_plugins_with_their_versions(process: Process) -> None:
    send_heartbeat()
    plugins = Worker.objects.get().plugins
    assert plugins == loaded_plugins()
    assert plugins["flowcontrol-core"]


def test_a_heartbeat_is_written_every_ten_seconds_at_the_most(lab: Lab, process: Process) -> None:
    send_heartbeat()
    began = lab.clock.now()
    lab.clock.advance(seconds=9)
    process.monotonic += 9
    with counted() as counts:
        send_heartbeat()
    assert counts.sql == []
    lab.clock.advance(seconds=1)
    process.monotonic += 1
    send_heartbeat()
    worker = Worker.objects.get()
    assert (worker.started_at, worker.last_sweep_at) == (began, began + timedelta(seconds=10))


def test_a_thread_does_not_take_its_own_process_for_an_earlier_one(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while another thread writes the first heartbeat of the process."""
    calls: list[str] = []
    other = threading.Thread(target=send_heartbeat)
    write = workers._write

    def meet(name: str, queues: str) -> None:
        calls.append(name)
        if len(calls) == 1:
            other.start()
            other.join(0.1)
        write(name, queues)

    monkeypatch.setattr(workers, "_write", meet)
    send_heartbeat()
    other.join(30)
    assert (calls, names()) == (["here:1"], ["here:1"])


def test_a_new_process_of_the_same_name_is_not_taken_for_the_old_one(
    lab: Lab, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As process 1 of a container that was started anew."""
    send_heartbeat()
    lab.clock.advance(minutes=5)
    monkeypatch.setattr(workers, "_written_at", TenantCache(most=9))
    monkeypatch.setattr(workers, "loaded_plugins", lambda: {"new": "2"})
    send_heartbeat()
    worker = Worker.objects.get()
    assert (worker.started_at, worker.plugins) == (lab.clock.now(), {"new": "2"})


def test_processes_that_cron_has_started_long_ago_are_forgotten(lab: Lab, process: Process) -> None:
    for pid in range(1, 6):
        process.be("here", pid)
        send_heartbeat()
        lab.clock.advance(minutes=30)
    assert names() == ["here:3", "here:4", "here:5"]


def test_a_process_of_another_host_is_not_forgotten(lab: Lab, process: Process) -> None:
    send_heartbeat()
    lab.clock.advance(hours=9)
    process.be("there", 1)
    send_heartbeat()
    assert names() == ["here:1", "there:1"]


def test_a_worker_that_deregisters_is_gone_and_may_come_back(process: Process) -> None:
    send_heartbeat()
    process.be("here", 2)
    send_heartbeat()
    deregister()
    assert names() == ["here:1"]
    send_heartbeat()
    assert names() == ["here:1", "here:2"]


def test_processes_that_cron_starts_leave_one_row_for_their_host(
    lab: Lab, process: Process
) -> None:
    for pid in (1, 2, 3):
        process.be("here", pid)
        send_heartbeat(("slow",))
        assert f"here:{pid}" in names()
        lab.clock.advance(seconds=30)
        deregister(once=True)
        lab.clock.advance(seconds=30)
    row = Worker.objects.get()
    assert (row.name, row.pid, row.queues) == ("here:once", 3, "slow")
    assert row.last_sweep_at == lab.clock.now() - timedelta(seconds=30)
    assert row.plugins == loaded_plugins()


def test_a_process_that_was_started_once_and_never_swept_leaves_no_row(process: Process) -> None:
    deregister(once=True)
    assert names() == []


def test_a_long_list_of_queues_is_cut(process: Process) -> None:
    send_heartbeat(tuple(f"queue-{n}" for n in range(200)))
    assert len(Worker.objects.get().queues) == 500
