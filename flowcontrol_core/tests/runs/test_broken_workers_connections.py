"""A connection that breaks in the middle of a batch: what was claimed is given back at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, connections

from flowcontrol_core.management import worker
from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import claim as claim_module
from flowcontrol_core.runs.queue import release as module
from flowcontrol_core.runs.queue.claim import claim
from flowcontrol_core.runs.store.connection import durable, tenant

from .conftest import Lab, customers, fresh, publish, sweep, write

pytestmark = pytest.mark.django_db(transaction=True)
KILL = {
    "postgresql": "SELECT pg_terminate_backend({})",
    "mysql": "KILL {}",
}
with_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="It has no session that could be lost"
)
ID = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}


@pytest.fixture(autouse=True)
def _nothingunreleased(monkeypatch: pytest.MonkeyPatch) -> None:
    module.unreleased.clear()


def break_connection(patch: pytest.MonkeyPatch) -> None:
    """Have the server end this thread's session, and refuse others while ``patch`` lasts."""
    with connection.cursor() as cursor:
        cursor.execute(ID[connection.vendor])
        (number,) = cursor.fetchone()
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute(KILL[connection.vendor].format(number))
    other.close()
    patch.setattr(connection, "get_new_connection", _away)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def runs_of_a_batch(lab: Lab, patch: pytest.MonkeyPatch, number: int = 5) -> list[FlowRun]:
    """Make runs of which the third, when it is executed first, finds its connection broken."""
    target = publish(write("break"), write("after"))
    runs = [create_flowrun(target) for _ in range(number)]
    broken: list[int] = []

    def work(run: Any, obj: Any) -> None:
        if run.pk == runs[2].pk and not broken:
            broken.append(run.pk)
            break_connection(patch)

    lab.on("break", work)
    return runs


@with_a_server
def test_runs_that_were_not_begun_are_due_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        runs = runs_of_a_batch(lab, patch)
        with pytest.raises((OperationalError, InterfaceError)):
            sweep()
    module.release_now()
    assert [fresh(run).status == Status.DONE for run in runs] == [True, True, False, False, False]
    begun, *others = (fresh(run) for run in runs[2:])
    assert {(run.due_at, run.attempt, run.worker) for run in others} == {(lab.clock.now(), 0, "")}
    assert (begun.due_at, begun.attempt) == (lab.clock.now() + timedelta(seconds=5), 1)
    assert sweep() == 2
    lab.clock.advance(seconds=5)
    assert sweep() == 1
    assert {fresh(run).status for run in runs} == {Status.DONE}
    assert customers() == ["after"] * 5


@with_a_server
def test_runs_are_given_back_when_the_database_is_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which there is nothing to be seen until the next sweep: the lease has not expired."""
    with monkeypatch.context() as patch:
        runs = runs_of_a_batch(lab, patch)
        patch.setattr(module, "durable", _away)
        assert worker._sweep(0, ()) is None
    assert {fresh(run).status for run in runs[3:]} == {Status.RUNNING}
    result = worker._sweep(1, ())
    assert result is not None
    assert result.executed == 2
    assert module.unreleased.get((tenant(),)) == {}


def _away(*_: Any) -> Any:
    raise OperationalError("could not connect to server")


def test_a_claim_whose_answer_was_lost_is_given_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_flowrun(publish(write()))

    @contextmanager
    def lost() -> Iterator[None]:
        with durable():
            yield
        raise InterfaceError("connection already closed")

    with monkeypatch.context() as patch:
        patch.setattr(claim_module, "durable", lost)
        with pytest.raises(InterfaceError):
            claim(9)
    assert fresh(run).status == Status.RUNNING
    assert sweep() == 1
    assert fresh(run).status == Status.DONE


def test_what_another_worker_has_taken_is_left_to_it(lab: Lab) -> None:
    run = create_flowrun(publish(write()))
    (mine,) = claim(9)
    module.release_later([mine])
    FlowRun.objects.update(fence=mine.fence + 1, worker="other")
    module.release_now()
    assert (fresh(run).status, fresh(run).worker) == (Status.RUNNING, "other")
    assert fresh(run).due_at == lab.clock.now() + timedelta(seconds=60)
    assert module.unreleased.get((tenant(),)) == {}
