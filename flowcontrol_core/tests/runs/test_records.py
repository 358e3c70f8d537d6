"""Promise 9: whatever people do is recorded, with who did it and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowcontrol import flows
from flowcontrol_core.flows.lifecycle import delete_flow
from flowcontrol_core.models import EventKind, Flow, FlowEvent, FlowOperation, FlowRun, RunEvent
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.operations import interventions
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.testing.builder import flow
from tests import operate
from tests.cases import each

from .conftest import (
    Lab,
    fresh,
    publish,
    republish,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)
WHO: dict[str, Any] = {"by": "Ada", "reason": "because"}


def suspend(run: Any, obj: Any) -> Any:
    return run.suspend(until=timedelta(days=1))


def fail(run: Any, obj: Any) -> None:
    raise ValueError("broken")


def waiting(lab: Lab) -> FlowRun:
    lab.on("wait", suspend)
    run = start(think("wait", id="first"), think(id="last"))
    sweep()
    return run


def failed(lab: Lab) -> FlowRun:
    lab.on("fail", fail)
    run = start(think("fail", id="first"))
    sweep()
    return run


def paused(lab: Lab) -> FlowRun:
    return operate.pause(waiting(lab))


def older(lab: Lab) -> FlowRun:
    run = waiting(lab)
    republish(run.flow, think("wait", id="first"), think(id="new"))
    return run


def paused_with_its_flow(lab: Lab) -> FlowRun:
    run = waiting(lab)
    flows.pause(run.flow)
    lab.clock.advance(days=1)
    sweep()
    assert fresh(run).status == "paused"
    return run


#: Each operator action: what prepares a run, and what is done to it.
OF_RUNS: dict[str, tuple[Callable[[Lab], FlowRun], Callable[[FlowRun], Any]]] = {
    "cancel": (waiting, lambda run: operate.cancel(run, **WHO)),
    "pause": (waiting, lambda run: operate.pause(run, **WHO)),
    "resume": (paused, lambda run: operate.resume(run, **WHO)),
    "run_now": (waiting, lambda run: operate.run_now(run, **WHO)),
    "retry": (failed, lambda run: operate.retry(run, **WHO)),
    "skip": (waiting, lambda run: operate.skip(run, **WHO)),
    "go_to_step": (waiting, lambda run: operate.go_to_step(run, "last", **WHO)),
    "restart": (failed, lambda run: operate.restart(run, "first", **WHO)),
    "edit_state": (waiting, lambda run: operate.edit_state(run, {"a": 1}, **WHO)),
    "move": (older, lambda run: operate.move(run, **WHO)),
    "resume flow": (paused_with_its_flow, lambda run: flows.resume(run.flow, **WHO)),
}


def recorded(run: FlowRun) -> list[RunEvent]:
    return list(RunEvent.objects.filter(run_id=run.pk, actor="Ada", kind=EventKind.OPERATOR))


def test_the_table_here_names_every_operator_action() -> None:
    assert set(OF_RUNS) == {*OPERATOR_ACTIONS, "resume flow"}


@pytest.mark.parametrize("name", OF_RUNS)
def test_an_operator_action_is_in_the_history_of_the_run_with_who_and_why(
    lab: Lab, name: str
) -> None:
    prepare, do = OF_RUNS[name]
    run = prepare(lab)
    do(run)
    sweep()
    (event,) = recorded(run)
    assert event.values["note"] == "because"
    assert event.message.endswith(". because")


@pytest.mark.parametrize("name", ["cancel", "pause", "go_to_step"])
def test_what_a_running_run_is_asked_for_is_recorded_when_it_is_done(lab: Lab, name: str) -> None:
    asked: list[int] = []

    def ask(run: Any, obj: Any) -> None:
        if not asked:
            asked.append(run.pk)
            OF_RUNS[name][1](FlowRun.objects.get(pk=run.pk))

    lab.on("ask", ask)
    run = start(send("ask", id="first"), send(id="last"))
    for _ in range(3):
        sweep()
    (event,) = recorded(run)
    assert event.values["note"] == "because"


def test_a_child_that_is_canceled_with_its_parent_names_the_same_person(lab: Lab) -> None:
    lab.on("wait", suspend)
    publish(think("wait"), key="child")
    lab.on("begin", lambda run, obj: run.suspend(child=create_flowrun("child")))
    run = start(write("begin"))
    sweep()
    child = FlowRun.objects.get(parent=run)
    operate.cancel(run, **WHO)
    sweep()
    assert fresh(child).outcome == "canceled"
    assert [event.actor for event in recorded(child)] == ["Ada"]


@pytest.mark.parametrize("begin", [create_flowrun, start_flowrun])
@pytest.mark.parametrize("fields", [{}, {"max_concurrent": 5}], ids=str)
def test_a_start_by_hand_is_recorded(lab: Lab, begin: Any, fields: dict[str, Any]) -> None:
    target = publish(think(), **fields)
    run = begin(target, **WHO)
    sweep()
    assert [event.message for event in recorded(run)] == ["Started by hand. because"]
    quiet = begin(target)
    sweep()
    assert not RunEvent.objects.filter(run_id=quiet.pk, kind=EventKind.OPERATOR).exists()


def drafted() -> Flow:
    return flows.create_flow(key="flow", name="Flow", document=flow(think()))


def published() -> Flow:
    made = drafted()
    flows.publish(made)
    return made


#: Each operation on a flow.
OF_FLOWS: dict[str, Callable[[], Any]] = {
    "create": lambda: flows.create_flow(key="flow", name="Flow", **WHO),
    "change": lambda: flows.change_flow(drafted(), name="Other", **WHO),
    "publish": lambda: flows.publish(drafted(), **WHO),
    "activate": lambda: flows.activate(published(), **WHO),
    "deactivate": lambda: flows.deactivate(published(), **WHO),
    "pause": lambda: flows.pause(published(), **WHO),
    "resume": lambda: flows.resume(published(), **WHO),
    "delete": lambda: delete_flow(drafted(), **WHO),
}


def test_the_table_here_names_every_operation_on_a_flow() -> None:
    assert {*OF_FLOWS, "prune"} == set(FlowOperation)


@pytest.mark.parametrize("operation", OF_FLOWS)
def test_an_operation_on_a_flow_is_recorded_with_who_and_why(lab: Lab, operation: str) -> None:
    OF_FLOWS[operation]()
    event = FlowEvent.objects.get(actor="Ada")
    assert (event.key, event.operation, event.note) == ("flow", operation, "because")
    assert event.message.endswith("because")


@each(
    ("operation", "values", "note", "text"),
    [
        (FlowOperation.CREATE, {}, "", ""),
        (FlowOperation.CREATE, {}, "why", "why"),
        (FlowOperation.CHANGE, {"fields": "name, queue"}, "why", "Fields: name, queue. why"),
        (FlowOperation.PUBLISH, {"version": 3}, "", "Version 3."),
        (FlowOperation.DELETE, {"runs": 2}, "", "Runs deleted with it: 2."),
    ],
)
def test_an_operation_says_what_it_did_and_then_why(
    operation: FlowOperation, values: dict[str, Any], note: str, text: str
) -> None:
    assert FlowEvent(operation=operation, values=values, note=note).message == text


def test_what_did_not_happen_is_not_recorded(lab: Lab) -> None:
    made = drafted()
    FlowEvent.objects.all().delete()
    flows.change_flow(made, name=made.name, **WHO)
    with pytest.raises(Exception, match="publish its draft first"):
        flows.activate(made, **WHO)
    assert not FlowEvent.objects.exists()


def test_an_import_is_recorded_with_who(lab: Lab) -> None:
    text = flows.export_flows([drafted()])
    Flow.objects.all().delete()
    FlowEvent.objects.all().delete()
    flows.import_flows(text, by="Ada", publish=True, activate=True)
    found = FlowEvent.objects.order_by("pk").values_list("operation", "actor")
    assert list(found) == [("create", "Ada"), ("publish", "Ada"), ("activate", "Ada")]


def test_pruning_is_recorded_with_who_and_how_many_where_there_was_something(lab: Lab) -> None:
    FlowEvent.objects.all().delete()
    create_flowrun(publish(think(), retention_days=1))
    sweep()
    FlowEvent.objects.all().delete()
    prune(by="Ada")
    assert not FlowEvent.objects.exists()
    lab.clock.advance(days=2)
    prune(by="Ada")
    event = FlowEvent.objects.get()
    assert (event.key, event.operation, event.actor) == ("", "prune", "Ada")
    assert event.message == "Runs: 1; history rows: 0."


def test_old_records_of_pruning_are_pruned_and_those_of_flows_stay(lab: Lab) -> None:
    drafted()
    FlowEvent.objects.create(key="", operation="prune", at=lab.clock.now() - timedelta(days=400))
    FlowEvent.objects.update(at=lab.clock.now() - timedelta(days=400))
    assert prune().flow_events == 1
    assert list(FlowEvent.objects.values_list("operation", flat=True)) == ["create"]


def test_many_runs_of_a_flow_are_resumed_in_chunks_and_each_says_by_whom(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interventions, "_CHUNK", 2)
    run = paused_with_its_flow(lab)
    others = [create_flowrun(run.flow) for _ in range(4)]
    sweep()
    assert flows.resume(run.flow, **WHO) == 5
    assert [len(recorded(each)) for each in (run, *others)] == [1] * 5


@pytest.mark.parametrize("values", [{"x": 1}, ["x"], "x"])
def test_damaged_record_of_a_flow_is_shown_as_it_is(values: Any) -> None:
    event = FlowEvent(operation=FlowOperation.CHANGE, values=values, note="because")
    assert event.message == f"{values} because"
