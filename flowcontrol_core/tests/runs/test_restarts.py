"""Restarts at a step, edits of the state, moves to the published version."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import JSONField, Value

from flowcontrol_core.errors import IllegalChangeError, NotStartedError, StateError
from flowcontrol_core.models import EventKind, FlowRun, Outcome, RunEvent, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations.interventions import check_move
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS, perform_checked
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.testing.builder import step
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    Lab,
    fresh,
    loop,
    publish,
    republish,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


def done_to(run: FlowRun) -> list[tuple[str, str]]:
    """Return what operators did to a run, and who."""
    mine = RunEvent.objects.filter(run_id=run.pk, kind=EventKind.OPERATOR)
    return [(event.message, event.actor) for event in mine.order_by("pk")]


@pytest.fixture
def ended(lab: Lab) -> FlowRun:
    """A run that has ended, of three steps."""
    run = start(think("one", id="one"), think("two", id="two"), write("three", id="three"))
    FlowRun.objects.filter(pk=run.pk).update(state={"list": [1]})
    sweep()
    lab.calls.clear()
    return fresh(run)


def test_a_restarted_run_is_a_new_one_that_is_linked_to_the_old(lab: Lab, ended: FlowRun) -> None:
    new = operate.restart(ended, "two", by="Ada", reason="Once more.")
    assert new.pk != ended.pk
    assert fresh(new).origin_id == ended.pk
    sweep()
    assert lab.calls == ["two", "three"]
    assert fresh(new).outcome == Outcome.COMPLETE
    assert fresh(ended).finished_at == ended.finished_at
    assert done_to(ended) == [(f"Restarted at the step two as run {new.pk}. Once more.", "Ada")]
    assert done_to(new) == [(f"Restarted from run {ended.pk} at the step two. Once more.", "Ada")]


def test_a_restarted_run_has_a_state_of_its_own(lab: Lab, ended: FlowRun) -> None:
    before = fresh(ended).state
    lab.on("three", lambda run, obj: run.state.update({"list": [*run.state["list"], 2]}))
    new = operate.restart(ended, "three")
    new.state["list"].append(3)
    sweep()
    assert fresh(new).state["list"] == [1, 2]
    assert fresh(ended).state == before


def test_a_restarted_run_is_about_the_same_object(lab: Lab) -> None:
    customer = Customer.objects.create(name="Ada")
    old = create_flowrun(publish(think(id="one"), object="shop.customer"), customer)
    sweep()
    new = operate.restart(old, "one")
    assert new.about == old.about
    assert new.object_text == old.object_text


def test_a_restarted_run_stays_on_its_version_or_takes_the_published_one(
    lab: Lab, ended: FlowRun
) -> None:
    flow = republish(ended.flow, think("two", id="two"), think("four", id="four"))
    operate.restart(ended, "two")
    sweep()
    assert lab.calls == ["two", "three"]
    new = operate.restart(ended, "two", current_version=True)
    sweep()
    assert lab.calls == ["two", "three", "two", "four"]
    assert new.version_id == flow.published_id
    with pytest.raises(IllegalChangeError, match="three"):
        operate.restart(ended, "three", current_version=True)


def test_a_step_inside_of_a_loop_is_no_place_to_begin(lab: Lab) -> None:
    run = start(loop(2, think(id="inner"), id="outer"))
    sweep()
    with pytest.raises(IllegalChangeError, match="loop"):
        operate.restart(run, "inner")
    assert FlowRun.objects.count() == 1


def test_a_live_run_is_not_restarted(lab: Lab) -> None:
    run = start(think(id="one"))
    with pytest.raises(
        IllegalChangeError,
        match=r"“Restart from a step” is not possible for run \d+: it has not ended",
    ):
        operate.restart(run, "one")


def test_a_limit_that_is_reached_refuses_the_restart(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    flow = publish(think(id="one"), think("wait", id="two"), max_concurrent=1)
    first = create_flowrun(flow)
    sweep()
    lab.clock.advance(days=1)
    sweep()
    create_flowrun(flow)
    sweep()
    with pytest.raises(IllegalChangeError, match="max_concurrent"):
        operate.restart(first, "two")


def test_a_restarted_run_stands_in_for_the_old_one_where_all_runs_ever_are_counted(
    lab: Lab,
) -> None:
    def fail(run: Any, obj: Any) -> None:
        if not run.state.get("well"):
            raise ValueError("broken")

    lab.on("fail", fail)
    customer = Customer.objects.create(name="Ada")
    flow = publish(
        think("fail", id="one"), max_per_object=1, object="shop.customer", retention_days=1
    )
    old = create_flowrun(flow, customer)
    sweep()
    operate.edit_state(old, {"well": True})
    new = operate.restart(old, "one")
    sweep()
    assert fresh(new).outcome == Outcome.COMPLETE, fresh(new).reason
    # The old one may still be taken up, and no further run may begin, pruned or not.
    operate.retry(old)
    sweep()
    assert fresh(old).outcome == Outcome.COMPLETE
    for _ in range(2):
        with pytest.raises(NotStartedError, match="max_per_object"):
            create_flowrun(flow, customer)
        lab.clock.advance(days=2)
        prune()
    assert not FlowRun.objects.exists()


def change_state(run: FlowRun, changes: dict[str, Any]) -> None:
    """Set keys of the state of one run as a bulk operation does."""
    edit = OPERATOR_ACTIONS["edit_state"]
    checked = edit.checked_arguments({"changes": changes}, for_many=True)
    perform_checked(edit, run, "", "", checked)


def wait_forever(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))


def test_the_state_of_a_waiting_run_is_replaced_and_the_history_names_the_keys(lab: Lab) -> None:
    wait_forever(lab)
    run = start(think("wait"), think())
    FlowRun.objects.filter(pk=run.pk).update(state={"kept": 1, "n": 4, "gone": 2})
    sweep()
    operate.edit_state(run, {"kept": 1, "n": 10, "new": "secret"}, by="Ada", reason="Wrong number.")
    assert done_to(run) == [("The state was edited (gone, n, new). Wrong number.", "Ada")]
    lab.clock.advance(days=1)
    sweep()
    assert fresh(run).state == {"kept": 1, "n": 11, "new": "secret"}


def test_the_state_may_be_edited_in_any_status_but_running(lab: Lab, ended: FlowRun) -> None:
    operate.edit_state(ended, {"list": []})
    assert fresh(ended).state == {"list": []}
    pending = start(think(), key="pending")
    operate.edit_state(pending, {"n": 7})
    FlowRun.objects.filter(pk=pending.pk).update(status=Status.RUNNING)
    with pytest.raises(IllegalChangeError, match="it is being executed"):
        operate.edit_state(pending, {"n": 8})
    assert fresh(pending).state == {"n": 7}


@pytest.mark.parametrize(
    ("state", "message"), [({"text": "x" * 2000}, "bytes"), ({"model": object()}, "model")]
)
def test_a_state_that_cannot_be_stored_is_refused_and_the_old_one_stands(
    lab: Lab, ended: FlowRun, settings: Any, state: dict[str, Any], message: str
) -> None:
    settings.FLOWCONTROL = {"STATE_MAX_BYTES": 1000}
    before = fresh(ended).state
    with pytest.raises(StateError, match=message):
        operate.edit_state(ended, state)
    assert fresh(ended).state == before
    assert done_to(ended) == []


@pytest.mark.parametrize("damaged", [[1, 2], "text", None, {"n": {"$decimal": "x"}}])
def test_a_damaged_state_can_be_replaced_but_not_be_changed_in_part(lab: Lab, damaged: Any) -> None:
    run = start(think())
    FlowRun.objects.filter(pk=run.pk).update(state=Value(damaged, JSONField()))
    sweep()
    assert fresh(run).outcome == Outcome.ERRORED
    with pytest.raises(StateError):
        change_state(run, {"m": 1})
    operate.edit_state(run, {"n": 4})
    assert done_to(run) == [("The state was edited (n).", "")]
    operate.retry(run)
    sweep()
    assert fresh(run).state == {"n": 5}


def test_a_moved_run_continues_with_the_new_steps(lab: Lab) -> None:
    wait_forever(lab)
    run = start(think("wait", id="wait"), think("old"))
    sweep()
    flow = republish(run.flow, think("wait", id="wait"), think("new"))
    assert check_move(fresh(run)) == ""
    operate.move(run, by="Ada", reason="A better one.")
    assert done_to(run) == [("Moved from version 1 to 2. A better one.", "Ada")]
    lab.clock.advance(days=1)
    sweep()
    assert lab.calls == ["wait", "new"]
    assert (fresh(run).version_id, fresh(run).outcome) == (flow.published_id, Outcome.COMPLETE)


def test_a_run_that_has_not_begun_is_moved_whatever_the_steps_are(lab: Lab) -> None:
    run = start(think("old", id="a"))
    republish(run.flow, write("new", id="b"))
    operate.move(run)
    sweep()
    assert lab.calls == ["new"]


MOVES: dict[str, tuple[list[Any], str]] = {
    "missing": ([think(id="other")], "has no enabled step wait"),
    "disabled": ([think("wait", id="wait", disabled=True)], "has no enabled step wait"),
    "other action": ([send("wait", id="wait")], "the step wait has another action there"),
    "moved": (
        [step("lab.box", id="box", body=[think("wait", id="wait")])],
        "the step wait is at another place there",
    ),
}


@pytest.mark.parametrize("case", MOVES)
def test_a_run_whose_step_is_not_there_any_more_is_not_moved(lab: Lab, case: str) -> None:
    wait_forever(lab)
    steps, problem = MOVES[case]
    run = start(think("wait", id="wait"), think("old"))
    sweep()
    republish(run.flow, *steps)
    assert problem in check_move(fresh(run))
    with pytest.raises(IllegalChangeError, match=r"The run cannot be moved: .*wait"):
        operate.move(run)
    assert fresh(run).version_id == run.version_id


def test_a_run_that_waits_for_a_trigger_is_not_moved_to_where_its_events_are_not_stored(
    lab: Lab,
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    run = start(think("wait", id="wait"))
    sweep()
    flow = republish(run.flow, think("wait", id="wait"), think())
    flow.versions.update(waits_for="lab.paid")
    assert check_move(fresh(run)) == ""
    flow.versions.exclude(pk=run.version_id).update(waits_for="lab.shipped")
    with pytest.raises(IllegalChangeError, match=r"no step waits for the trigger lab\.paid there"):
        operate.move(run)
    assert fresh(run).version_id == run.version_id


def test_a_run_that_is_executed_or_has_ended_is_not_moved(lab: Lab, ended: FlowRun) -> None:
    republish(ended.flow, think(id="one"))
    with pytest.raises(IllegalChangeError, match="or has ended"):
        operate.move(ended)


def test_a_moved_run_continues_in_the_middle_of_a_loop(lab: Lab) -> None:
    wait_forever(lab)
    run = start(loop(2, think("wait", id="wait"), id="loop"), think("old"))
    sweep()
    republish(run.flow, loop(3, think("wait", id="wait"), id="loop"), think("new"))
    operate.move(run)
    for _ in range(3):
        lab.clock.advance(days=1)
        sweep()
    assert lab.calls == ["wait", "wait", "wait", "new"]


def test_a_blocked_run_is_checked_again_once_it_is_moved(lab: Lab) -> None:
    run = start(step("lab.think", id="a", word="here"))
    FlowRun.objects.filter(pk=run.pk).update(
        status=Status.BLOCKED, due_at=lab.clock.now() + timedelta(minutes=15)
    )
    republish(run.flow, step("lab.think", id="a", word="there"))
    operate.move(run)
    sweep()
    assert lab.calls == ["there"]
