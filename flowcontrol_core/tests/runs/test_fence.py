"""Promise 2: a worker whose lease went to another one writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol_core.models import FlowRun, RunEvent, Status
from flowcontrol_core.runs.execution import batch
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import claim

from .conftest import (
    Lab,
    customers,
    events,
    execute,
    fresh,
    publish,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


def take_away(run: FlowRun) -> None:
    """Let another worker have claimed the run in the meantime."""
    FlowRun.objects.filter(pk=run.pk).update(fence=99, worker="another", status=Status.RUNNING)


def stands_as_the_other_worker_left_it(run: FlowRun) -> bool:
    row = fresh(run)
    return (row.fence, row.worker, row.status, row.cursor, row.state, events(run)) == (
        99, "another", Status.RUNNING, [], {}, [],
    )  # fmt: skip


def test_late_checkpoint_of_a_database_step_writes_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(write())
    real = batch.Batch._drive_on

    def late(self: Any, driver: Any, stop: Any) -> None:
        take_away(run)
        real(self, driver, stop)

    monkeypatch.setattr(batch.Batch, "_drive_on", late)
    sweep()
    assert lab.calls == ["write"]
    assert customers() == []
    assert stands_as_the_other_worker_left_it(run)


def test_late_end_of_a_run_writes_nothing(lab: Lab) -> None:
    run = start(think("slow"))
    lab.on("slow", lambda run, obj: None)
    row = run
    claimed = claim.claim(1)
    take_away(row)
    execute(claimed)
    assert lab.calls == ["slow"]
    assert stands_as_the_other_worker_left_it(row)


@pytest.mark.parametrize("step", [think, write, send])
def test_late_checkpoint_does_not_take_up_a_run_that_was_ended(lab: Lab, step: Any) -> None:
    """Its fence is still that of the claim."""
    run = start(step(), write("after"))
    claimed = claim.claim(1)
    FlowRun.objects.update(status=Status.DONE, outcome="canceled", due_at=None)
    execute(claimed)
    row = fresh(run)
    assert (row.status, row.outcome, row.cursor, events(run)) == ("done", "canceled", [], [])
    assert customers() == []


def test_late_run_in_a_batch_leaves_the_others_alone(lab: Lab) -> None:
    flow = publish(think())
    mine, lost, also_mine = (create_flowrun(flow) for _ in range(3))
    claimed = claim.claim(10)
    take_away(lost)
    execute(claimed)
    assert stands_as_the_other_worker_left_it(lost)
    assert fresh(mine).outcome == fresh(also_mine).outcome == "complete"
    assert RunEvent.objects.count() == 2


def test_late_worker_does_not_begin_an_external_call(lab: Lab) -> None:
    run = start(send())
    claimed = claim.claim(1)
    take_away(run)
    execute(claimed)
    assert lab.calls == []
    assert stands_as_the_other_worker_left_it(run)


def test_result_of_a_late_external_call_is_not_written(lab: Lab) -> None:
    run = start(send(), write())
    lab.on("send", lambda context, obj: take_away(run))
    sweep()
    assert lab.calls == ["send"]
    row = fresh(run)
    assert (row.fence, row.worker, row.cursor[-1]["calling"]) == (99, "another", True)
    assert customers() == []


def test_late_worker_does_not_end_a_broken_run(lab: Lab) -> None:
    run = start(think())
    FlowRun.objects.filter(pk=run.pk).update(state=[1])
    claimed = claim.claim(1)
    FlowRun.objects.filter(pk=run.pk).update(fence=99)
    execute(claimed)
    row = fresh(run)
    assert (row.status, row.fence) == (Status.RUNNING, 99)
    assert events(run) == []
