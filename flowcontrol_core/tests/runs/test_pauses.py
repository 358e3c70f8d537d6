"""Pausing and resuming: runs with their children, until a time, and by their flow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowcontrol import flows
from flowcontrol.engine import create_flowrun
from flowcontrol.health import check_health
from flowcontrol_core.models import Flow, FlowRun, Message, MessageKind, Request, Status
from flowcontrol_core.runs.execution import admission
from flowcontrol_core.runs.operations.operator_actions import perform
from flowcontrol_core.runs.queue.claim import claim
from tests import operate

from .conftest import Lab, events, execute, fresh, publish, send, start, sweep, think, write

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _waits(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))


def parent_and_child(lab: Lab, *, depth: int = 1) -> list[FlowRun]:
    """Return a run that waits for a child, which may wait for one too; the last waits for a day."""
    flow = publish(think("wait"), think("last"), key="child")

    def begin(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            inner = flow if run.depth == depth - 1 else parent
            return run.suspend(child=create_flowrun(inner), repeat=True)
        return None

    lab.on("begin", begin)
    parent = publish(write("begin"), key="parent")
    create_flowrun(parent)
    for _ in range(depth + 1):
        sweep()
    runs = list(FlowRun.objects.order_by("depth"))
    assert [run.status for run in runs] == [Status.WAITING] * (depth + 1)
    return runs


def statuses(*runs: FlowRun) -> list[str]:
    return [fresh(run).status for run in runs]


# Children


def test_pause_and_resume_concern_the_children_and_theirs(lab: Lab) -> None:
    runs = parent_and_child(lab, depth=2)
    operate.pause(runs[0], by="ann")
    for _ in range(3):
        sweep()
    assert statuses(*runs) == [Status.PAUSED] * 3
    assert [fresh(run).reason_code for run in runs] == ["paused", "parent_paused", "parent_paused"]
    assert events(runs[2])[-1].actor == "ann"
    lab.clock.advance(days=2)
    assert sweep() == 0
    operate.resume(runs[0])
    for _ in range(8):
        sweep()
    assert [fresh(run).outcome for run in runs] == ["complete"] * 3
    assert [event.code for event in events(runs[1]) if event.kind == "operator"] == [
        "parent_paused", "parent_resumed",
    ]  # fmt: skip
    assert Message.objects.count() == 0


def test_running_child_pauses_at_its_next_checkpoint(lab: Lab) -> None:
    parent, child = parent_and_child(lab)
    FlowRun.objects.filter(pk=child.pk).update(status=Status.RUNNING, fence=5, worker="other")
    operate.pause(parent)
    sweep()
    assert fresh(child).request == Request.INBOX
    assert Message.objects.get(run_id=child.pk).kind == MessageKind.PAUSE


def test_child_that_a_person_has_paused_stays_paused_when_its_parent_is_resumed(lab: Lab) -> None:
    parent, child = parent_and_child(lab)
    operate.pause(child)
    operate.pause(parent)
    sweep()
    operate.resume(parent)
    for _ in range(3):
        sweep()
    assert (statuses(parent, child), fresh(child).reason_code) == (
        [Status.WAITING, Status.PAUSED], "paused",
    )  # fmt: skip
    operate.resume(child)
    lab.clock.advance(days=1)
    for _ in range(4):
        sweep()
    assert [fresh(run).outcome for run in (parent, child)] == ["complete"] * 2


def test_child_that_is_resumed_under_a_paused_parent_is_paused_with_it(lab: Lab) -> None:
    parent, child = parent_and_child(lab)
    operate.pause(child)
    operate.pause(parent)
    operate.resume(child)
    sweep()
    assert (fresh(child).status, fresh(child).reason_code) == (Status.PAUSED, "parent_paused")
    operate.resume(parent)
    for _ in range(3):
        sweep()
    assert fresh(child).status == Status.WAITING


def test_last_of_pause_and_resume_wins(lab: Lab) -> None:
    def ask(run: Any, obj: Any) -> None:
        for name in names:
            perform(name, run.pk)

    lab.on("ask", ask)
    names = ["pause", "resume"]
    run = start(write("ask"), send("last"))
    for _ in range(2):
        sweep()
    assert fresh(run).outcome == "complete"
    names = ["pause", "resume", "pause"]
    run = start(write("ask"), send("last"), key="again")
    for _ in range(2):
        sweep()
    assert (fresh(run).status, fresh(run).reason_code) == (Status.PAUSED, "paused")


def test_worker_that_dies_while_it_ends_a_pause_loses_no_child(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = parent_and_child(lab)
    perform("pause", parent, until=lab.clock.now() + timedelta(hours=1))
    sweep()
    lab.clock.advance(hours=1)
    (claimed,) = claim(10)
    assert claimed.pk == parent.pk
    lab.clock.advance(minutes=5)
    for _ in range(3):
        sweep()
    assert statuses(parent, child) == [Status.WAITING, Status.WAITING]


# Until a time


@pytest.mark.parametrize("is_running", [False, True])
def test_pause_may_have_an_end(lab: Lab, is_running: bool) -> None:
    until = lab.clock.now() + timedelta(hours=3)
    if is_running:
        lab.on("ask", lambda run, obj: perform("pause", run.pk, until=until))
    run = start(write("ask"), send("last"))
    if not is_running:
        perform("pause", run, until=until)
    for _ in range(2):
        sweep()
    row = fresh(run)
    assert (row.status, row.due_at, row.reason_code) == (Status.PAUSED, until, "paused")
    assert codes() == []
    lab.clock.advance(hours=3)
    sweep()
    assert (fresh(run).outcome, fresh(run).reason_code) == ("complete", "")
    assert [event.code for event in events(run) if event.kind == "operator"] == [
        "paused", "pause_over",
    ]  # fmt: skip


def test_run_whose_pause_is_over_waits_on_without_a_reason(lab: Lab) -> None:
    run = start(think("wait"))
    sweep()
    perform("pause", run, until=lab.clock.now() + timedelta(hours=3))
    lab.clock.advance(hours=3)
    sweep()
    row = fresh(run)
    assert (row.status, row.reason_code, row.due_at) == (Status.WAITING, "", row.wait_until)


# By the flow


def test_resuming_a_flow_resumes_what_its_pause_has_paused_and_nothing_else(lab: Lab) -> None:
    """Whatever words a person has paused a run with."""
    flow = publish(think())
    by_flow, by_person = create_flowrun(flow), create_flowrun(flow)
    operate.pause(by_person, reason="The flow is paused.")
    flows.pause(flow)
    sweep()
    assert fresh(by_flow).reason == fresh(by_person).reason.removeprefix("Paused. ")
    assert flows.resume(flow) == 1
    sweep()
    assert (fresh(by_flow).outcome, fresh(by_person).status) == ("complete", Status.PAUSED)


@pytest.mark.parametrize("begun", [False, True])
def test_flow_that_is_resumed_while_a_worker_pauses_its_run_leaves_none_behind(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    run = start(think("wait"), think("last"))
    if begun:
        sweep()
        lab.clock.advance(days=1)
    flow = Flow.objects.get()
    flows.pause(flow)
    put_paused = admission._put_paused

    def resume_meanwhile(*arguments: Any) -> None:
        assert flows.resume(flow) == 0
        put_paused(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(admission, "_put_paused", resume_meanwhile)
        execute(claim(10))
    assert fresh(run).status == Status.PAUSED
    sweep()
    lab.clock.advance(days=1)
    sweep()
    assert fresh(run).outcome == "complete"
    assert "flow_resumed" in [event.code for event in events(run)]


# Paused for no reason that still holds


def codes() -> list[str]:
    return [issue.code for issue in check_health().issues if issue.code == "paused_by_nothing"]


def test_health_lists_what_is_paused_without_a_person_a_flow_or_a_parent(lab: Lab) -> None:
    run = start(think("wait"))
    sweep()
    operate.pause(run)
    assert codes() == []
    FlowRun.objects.update(reason_code="")
    assert codes() == ["paused_by_nothing"]
    FlowRun.objects.update(reason_code="flow_paused", since=lab.clock.now())
    assert codes() == []
    lab.clock.advance(hours=1)
    assert codes() == ["paused_by_nothing"]
    Flow.objects.update(paused=True)
    assert codes() == []
    FlowRun.objects.update(reason_code="parent_paused")
    assert codes() == ["paused_by_nothing"]
    operate.resume(run)
    assert codes() == []


def test_child_of_a_paused_run_is_no_issue(lab: Lab) -> None:
    parent, child = parent_and_child(lab)
    operate.pause(parent)
    sweep()
    lab.clock.advance(hours=1)
    assert (fresh(child).status, codes()) == (Status.PAUSED, [])
    FlowRun.objects.filter(pk=parent.pk).update(status=Status.WAITING)
    assert codes() == ["paused_by_nothing"]
