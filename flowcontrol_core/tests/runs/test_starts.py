"""Promise 7 and "Starting from Python": what is created, executed and returned, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from flowcontrol_core.errors import NotStartedError, StateError, UnknownFlowError
from flowcontrol_core.models import Flow, FlowRun, Status
from flowcontrol_core.runs.execution import checkpoint
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from tests.shop.models import Customer, Order

from .conftest import (
    Lab,
    Once,
    WorkerDied,
    customers,
    deadlock,
    fresh,
    publish,
    send,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_started_run_is_executed_at_once_and_given_as_it_stands(lab: Lab) -> None:
    run = start_flowrun(publish(think(), write(), send(), think()), state={"n": 10})
    assert (run.status, run.outcome, run.state) == (Status.DONE, "complete", {"n": 14})
    assert FlowRun.objects.values().get(pk=run.pk) == FlowRun.objects.values().get()
    assert fresh(run).state == run.state
    assert (run.attempt, run.worker, run.due_at) == (0, "", None)


def test_started_run_that_waits_is_given_waiting(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    run = start_flowrun(publish(think("wait")))
    assert (run.status, fresh(run).status) == (Status.WAITING, Status.WAITING)
    assert run.due_at == lab.clock.now() + timedelta(days=1)


def test_started_run_that_fails_raises_nothing(lab: Lab) -> None:
    lab.on("fail", lambda run, obj: 1 / 0)
    run = start_flowrun(publish(write("a"), write("fail")))
    assert (run.outcome, customers()) == ("errored", ["a"])


def test_action_of_a_run_that_is_executed_before_it_is_inserted_can_refer_to_it(lab: Lab) -> None:
    seen: list[Any] = []
    lab.on("look", lambda run, obj: seen.append(FlowRun.objects.get(pk=run.pk).pk))
    run = start_flowrun(publish(think(), write("look"), send("look")))
    assert seen == [run.pk, run.pk]


def test_death_of_the_process_before_the_first_checkpoint_leaves_nothing(
    lab: Lab, settings: Any
) -> None:
    # Both steps in one transaction, however slow the machine is.
    settings.FLOWCONTROL = {"COALESCE": 3600.0}

    def die(run: Any, obj: Any) -> None:
        raise WorkerDied

    lab.on("die", die)
    with pytest.raises(WorkerDied):
        start_flowrun(publish(write("a"), write("die")))
    assert (FlowRun.objects.count(), customers()) == (0, [])


def test_death_of_the_process_during_an_external_call_leaves_a_run_that_continues(lab: Lab) -> None:
    lab.on("die", Once(lambda run, obj: None, WorkerDied()))
    with pytest.raises(WorkerDied):
        start_flowrun(publish(write("a"), send("die")))
    run = FlowRun.objects.get()
    lab.clock.advance(hours=1)
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["a", "die", "die"])
    assert lab.keys[1] == lab.keys[2]


@pytest.mark.parametrize("place", [think, send])
def test_deadlock_while_a_started_run_is_inserted_is_done_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    monkeypatch.setattr(checkpoint, "_write_history", Once(checkpoint._write_history, deadlock()))
    run = start_flowrun(publish(place("a")))
    assert (run.status, run.outcome, lab.calls) == (Status.DONE, "complete", ["a"])
    assert FlowRun.objects.get() == run


def test_run_started_in_a_transaction_is_pending_and_executed_later(lab: Lab) -> None:
    flow = publish(write())
    with transaction.atomic():
        run = start_flowrun(flow)
        assert run.status == Status.PENDING
    assert lab.calls == []
    sweep()
    assert fresh(run).outcome == "complete"


def test_run_started_in_a_transaction_vanishes_with_it(lab: Lab) -> None:
    flow = publish(send())
    with transaction.atomic():
        start_flowrun(flow)
        transaction.set_rollback(True)
    sweep()
    assert (FlowRun.objects.count(), lab.calls) == (0, [])


def test_inline_dispatch_executes_after_the_commit(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "inline"}
    flow = publish(send())
    with transaction.atomic():
        run = create_flowrun(flow)
        assert lab.calls == []
    assert (lab.calls, fresh(run).outcome) == (["send"], "complete")


def test_inline_dispatch_of_a_broken_run_raises_nothing_into_the_callers_commit(
    lab: Lab, settings: Any
) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "inline"}
    flow = publish(think())
    with transaction.atomic():
        run = create_flowrun(flow)
        FlowRun.objects.filter(pk=run.pk).update(state=[])
    assert fresh(run).outcome == "errored"


def test_run_started_by_a_step_is_executed_after_it(lab: Lab) -> None:
    publish(send("child"), key="child")
    lab.on("spawn", lambda run, obj: start_flowrun("child"))
    parent = start_flowrun(publish(write("spawn"), think("after"), key="parent"))
    assert lab.calls == ["spawn", "after"]
    sweep()
    child = FlowRun.objects.get(parent_id=parent.pk)
    assert (child.outcome, lab.calls[-1]) == ("complete", "child")


def test_run_created_for_later_is_not_executed_before(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "inline"}
    run = create_flowrun(publish(think()), at=lab.clock.now() + timedelta(hours=1))
    assert sweep() == 0
    lab.clock.advance(hours=1)
    sweep()
    assert fresh(run).outcome == "complete"


def test_flow_is_found_by_its_key(lab: Lab) -> None:
    publish(think(), key="welcome")
    assert start_flowrun("welcome").outcome == "complete"
    with pytest.raises(UnknownFlowError, match="No flow has the key 'goodbye'"):
        start_flowrun("goodbye")


@pytest.mark.parametrize("start", [create_flowrun, start_flowrun])
@pytest.mark.parametrize(
    ("change", "reason"), [({"active": False}, "inactive"), ({"published": None}, "unpublished")]
)
def test_flow_that_starts_no_runs_says_why(
    lab: Lab, start: Any, change: dict[str, Any], reason: str
) -> None:
    publish(think())
    Flow.objects.update(**change)
    with pytest.raises(NotStartedError) as caught:
        start("flow")
    assert caught.value.reason == reason
    assert FlowRun.objects.count() == 0


@pytest.mark.parametrize("start", [create_flowrun, start_flowrun])
def test_object_of_another_kind_or_unsaved_is_refused(lab: Lab, start: Any) -> None:
    flow = publish(think(), object="shop.customer")
    order = Order.objects.create(customer=Customer.objects.create(name="Ada"))
    for obj, message in ((order, "is for objects of shop.customer"), (Customer(), "save it first")):
        with pytest.raises(NotStartedError, match=message) as caught:
            start(flow, obj)
        assert caught.value.reason == "object"


@pytest.mark.parametrize("start", [create_flowrun, start_flowrun])
@pytest.mark.parametrize("state", [{"a": object()}, {1: 2}, {"a": "x" * 300_000}])
def test_state_that_cannot_be_stored_is_refused(lab: Lab, start: Any, state: Any) -> None:
    flow = publish(think())
    with pytest.raises(StateError):
        start(flow, state=state)
    assert FlowRun.objects.count() == 0


def test_state_is_private_to_the_run(lab: Lab) -> None:
    state = {"items": [1]}
    lab.on("add", lambda run, obj: run.state["items"].append(2))
    run = start_flowrun(publish(think("add")), state=state)
    assert (state, run.state) == ({"items": [1]}, {"items": [1, 2]})


def test_values_keep_their_types_over_a_suspension(lab: Lab) -> None:
    seen: list[Any] = []
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    lab.on("look", lambda run, obj: seen.append(dict(run.state)))
    state = {"day": lab.clock.now().date(), "at": lab.clock.now(), "for": timedelta(hours=2)}
    start_flowrun(publish(think("wait"), think("look")), state=state)
    lab.clock.advance(days=1)
    sweep()
    assert seen == [state]
