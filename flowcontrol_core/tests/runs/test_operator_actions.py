"""Promise 9: what an operator does to a run is safe at any time, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from flowcontrol_admin.run_texts import what_next
from flowcontrol_core.errors import FlowcontrolError, IllegalChangeError, UnknownRunError
from flowcontrol_core.health import check_health
from flowcontrol_core.models import Flow, FlowRun, FlowVersion, Message, Outcome, Status
from flowcontrol_core.runs.execution.batch import Batch
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.operations.interventions import resume_flow
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS, perform
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.claim import claim
from tests import operate
from tests.cases import each

from .conftest import (
    Lab,
    Once,
    WorkerDied,
    customers,
    event,
    events,
    execute,
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

pytestmark = pytest.mark.django_db

DO: dict[str, Callable[..., FlowRun]] = {
    "cancel": operate.cancel,
    "pause": operate.pause,
    "resume": operate.resume,
    "run_now": operate.run_now,
    "retry": operate.retry,
    "skip": operate.skip,
    "go_to_step": lambda run, **who: operate.go_to_step(run, "s1", **who),
    "restart": lambda run, **who: operate.restart(run, "s1", **who),
    "edit_state": lambda run, **who: operate.edit_state(run, {"n": 7}, **who),
    "move": operate.move,
}
CURSOR = [{"step": "s1", "phase": "run"}]
SITUATIONS: dict[str, dict[str, Any]] = {
    "pending": {"cursor": []},
    "running": {},
    "waiting": {},
    "failing": {"status": "waiting", "cursor": [{"step": "s1", "phase": "run", "tries": 1}]},
    "paused": {"due_at": None},
    "blocked": {"blocked_on": "gone.strict", "due_at": None},
    "complete": {"status": "done", "outcome": "complete", "due_at": None},
    "aborted": {"status": "done", "outcome": "aborted", "due_at": None},
    "errored": {"status": "done", "outcome": "errored", "due_at": None},
    "obsolete": {"status": "done", "outcome": "obsolete", "due_at": None},
    "canceled": {"status": "done", "outcome": "canceled", "due_at": None},
}
LEGAL = {
    "cancel": {"pending", "running", "waiting", "failing", "paused", "blocked"},
    "pause": {"pending", "running", "waiting", "failing", "blocked"},
    "resume": {"paused"},
    "run_now": {"pending", "waiting", "failing", "blocked"},
    "retry": {"failing", "blocked", "errored"},
    "skip": {"waiting", "failing", "paused", "blocked", "errored"},
    "go_to_step": {"pending", "running", "waiting", "failing", "paused", "blocked", "errored"},
    "restart": {"complete", "aborted", "errored", "obsolete", "canceled"},
    "edit_state": set(SITUATIONS) - {"running"},
    "move": {"pending", "waiting", "failing", "paused", "blocked"},
}


def run_in(situation: str) -> FlowRun:
    flow = Flow.objects.first() or publish(think("a"), think("b"))
    run = create_flowrun(flow)
    values = {"status": situation, "cursor": CURSOR} | SITUATIONS[situation]
    FlowRun.objects.filter(pk=run.pk).update(**values)
    return fresh(run)


@pytest.fixture
def older(lab: Lab) -> FlowVersion:
    """The first version of a flow that has a second one by now."""
    flow = publish(think("a"), think("b"))
    version = flow.published
    assert version is not None
    republish(flow, think("a"), think("b"), think("c"))
    return version


def test_the_tests_know_every_operator_action() -> None:
    assert set(DO) == set(LEGAL) == set(OPERATOR_ACTIONS)


@each(["name", "situation"], product(DO, SITUATIONS))
def test_operator_action_is_possible_where_the_table_says_so(
    lab: Lab, older: FlowVersion, name: str, situation: str
) -> None:
    Message.objects.all().delete()
    run = run_in(situation)
    FlowRun.objects.filter(pk=run.pk).update(version=older)
    run = fresh(run)
    assert bool(OPERATOR_ACTIONS[name].refusal(run)) == (situation not in LEGAL[name])
    if situation not in LEGAL[name]:
        before = FlowRun.objects.filter(pk=run.pk).values().get()
        with pytest.raises(IllegalChangeError, match=rf"is not possible for run {run.pk}: "):
            DO[name](run, by="ada", reason="because")
        assert FlowRun.objects.filter(pk=run.pk).values().get() == before
        assert events(run) == []
        assert not Message.objects.exists()
        return
    DO[name](run, by="ada", reason="because")
    recorded = [(event.actor, event.values.get("note")) for event in events(run)]
    asked = [(message.actor, note_of(message)) for message in Message.objects.all()]
    assert ("ada", "because") in [*recorded, *asked]


def note_of(message: Message) -> str | None:
    """Return what an operator has said in a message."""
    found = message.data.get("note", message.data.get("values", {}).get("note"))
    return None if found is None else str(found)


def test_refusal_names_the_action_and_the_run_and_why_and_where_the_run_stands(lab: Lab) -> None:
    run = run_in("complete")
    with pytest.raises(IllegalChangeError) as refused:
        operate.pause(run)
    assert str(refused.value) == (
        f"“Pause” is not possible for run {run.pk}: it has ended or is paused already (complete)."
    )
    assert refused.value.code == "not_possible"
    assert refused.value.values == {"status": "done", "outcome": "complete"}
    with pytest.raises(IllegalChangeError, match=r"it is not paused \(waiting\)"):
        operate.resume(run_in("waiting"))


@each("name", DO)
def test_operator_action_on_a_run_that_does_not_exist_says_so(lab: Lab, name: str) -> None:
    with pytest.raises(IllegalChangeError, match="There is no run 77") as refused:
        DO[name](77)
    assert isinstance(refused.value, UnknownRunError)


def test_an_unknown_operator_action_is_answered_with_those_that_there_are(lab: Lab) -> None:
    run = run_in("waiting")
    known = "There is no operator action “delete”. Possible are run_now, retry, skip"
    with pytest.raises(FlowcontrolError, match=known):
        perform("delete", run)
    with pytest.raises(FlowcontrolError, match="Did you mean “resume”"):
        perform("resum", run)


@each(
    ("name", "arguments", "message"),
    [
        ("resume", {"until": 1}, "“resume” takes no argument “until”"),
        ("pause", {"until": 1}, "“until” has to be a date with a time"),
        ("pause", {"until": datetime(2030, 1, 1)}, "has no time zone; make it aware"),
        ("restart", {}, "“step” has to be the id of a step"),
        ("restart", {"step": ""}, "“step” has to be the id of a step"),
        ("restart", {"step": 7}, "“step” has to be the id of a step"),
        ("restart", {"step": "a", "current_version": "yes"}, "has to be true or false"),
        ("edit_state", {"state": [1]}, "“state” has to be keys of the state with their values"),
        ("edit_state", {}, "“state” has to be keys of the state with their values"),
        ("edit_state", {"changes": {"n": 1}}, "takes no argument “changes”"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_nothing_is_done(
    lab: Lab, name: str, arguments: dict[str, Any], message: str
) -> None:
    run = run_in("complete")
    with pytest.raises(FlowcontrolError, match=message):
        perform(name, run, **arguments)
    assert events(run) == []
    assert FlowRun.objects.filter(origin=run.pk).count() == 0


@each(
    ("name", "given", "expected"),
    [
        ("pause", {}, {}),
        ("restart", {"step": "a"}, {"step": "a"}),
        ("restart", {"step": "a", "current_version": None}, {"step": "a"}),
        (
            "restart",
            {"step": "a", "current_version": False},
            {"step": "a", "current_version": False},
        ),
        ("edit_state", {"state": {}}, {"state": {}}),
    ],
)
def test_arguments_that_fit_are_given_back(
    name: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert OPERATOR_ACTIONS[name].checked_arguments(given) == expected


def test_a_bulk_operation_takes_other_arguments_than_one_run() -> None:
    edit = OPERATOR_ACTIONS["edit_state"]
    assert edit.checked_arguments({"changes": {"n": 1}}, for_many=True) == {"changes": {"n": 1}}
    with pytest.raises(FlowcontrolError, match="“changes” has to be keys of the state"):
        edit.checked_arguments({"changes": {}}, for_many=True)
    with pytest.raises(FlowcontrolError, match="takes no argument “state”"):
        edit.checked_arguments({"state": {}}, for_many=True)


# Cancel


def test_canceled_run_waits_for_nothing_and_has_no_slot(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1), trigger="lab.paid"))
    run = start(think("wait"), max_concurrent=1)
    sweep()
    assert fresh(run).slot
    operate.cancel(run, by="ada", reason="enough")
    row = fresh(run)
    assert (row.status, row.outcome, row.reason) == (
        Status.DONE,
        Outcome.CANCELED,
        "Canceled. enough",
    )
    assert (row.due_at, row.wait_until, row.wait_trigger, row.slot) == (None,) * 4
    assert row.finished_at == lab.clock.now()
    assert [(event.message, event.actor) for event in events(run)[1:]] == [
        ("Canceled. enough", "ada")
    ]


def test_cancel_of_a_running_run_is_taken_at_its_next_checkpoint(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        operate.cancel(run.pk, by="ada", reason="stop it")
        run.state["touched"] = True

    lab.on("work", work)
    run = start(write("before"), send("work"), write("after"))
    sweep()
    row = fresh(run)
    assert (row.outcome, row.reason, row.state) == ("canceled", "Canceled. stop it", {"n": 1})
    assert lab.calls == ["before", "work"]
    assert customers() == ["before"]
    assert not Message.objects.exists()
    last = events(run)[-1]
    assert (last.message, last.actor) == ("Canceled. stop it", "ada")


@pytest.mark.parametrize(("method", "step"), [("_drive_on", write), ("_write_finished", think)])
def test_canceled_step_is_rolled_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, settings: Any, method: str, step: Any
) -> None:
    # Both steps in one transaction, however slow the machine is.
    settings.FLOWCONTROL = {"COALESCE": 3600.0}
    run = start(step("a"), step("b"))
    real = getattr(Batch, method)

    def canceled(*arguments: Any) -> None:
        operate.cancel(run, by="ada", reason="stop it")
        real(*arguments)

    monkeypatch.setattr(Batch, method, canceled)
    sweep()
    row = fresh(run)
    assert lab.calls == ["a", "b"]
    assert customers() == []
    assert (row.outcome, row.reason, row.state) == ("canceled", "Canceled. stop it", {})
    assert [event.actor for event in events(run)] == ["ada"]


def test_cancel_reaches_children_and_theirs(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    leaf = publish(think("wait"), key="leaf")
    lab.on("start leaf", lambda run, obj: create_flowrun(leaf))
    middle = publish(write("start leaf"), think("wait"), key="middle")
    lab.on("start middle", lambda run, obj: create_flowrun(middle))
    top = start(write("start middle"), think("wait"), key="top")
    for _ in range(3):
        sweep()
    assert FlowRun.objects.filter(status=Status.WAITING).count() == 3
    operate.cancel(top, by="ada")
    for _ in range(3):
        sweep()
    assert set(FlowRun.objects.values_list("outcome", flat=True)) == {"canceled"}
    assert {event.actor for run in FlowRun.objects.all() for event in events(run)[-1:]} == {"ada"}


def test_who_cancels_a_run_with_children_may_have_a_long_name(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    leaf = publish(think("wait"), key="leaf")
    lab.on("start leaf", lambda run, obj: create_flowrun(leaf))
    top = start(write("start leaf"), think("wait"))
    sweep()
    operate.cancel(top, by="x" * 300)
    sweep()
    assert {event.actor for run in FlowRun.objects.all() for event in events(run)[-1:]} == {
        "x" * 200
    }


@pytest.mark.parametrize("status", [Status.PAUSED, Status.BLOCKED, Status.WAITING])
def test_child_is_canceled_although_it_was_not_notified_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    leaf = publish(think("wait"), key="leaf")
    lab.on("start", lambda run, obj: create_flowrun(leaf))
    parent = start(write("start"), think("wait"))
    for _ in range(2):
        sweep()
    child = FlowRun.objects.filter(parent_id=parent.pk)
    child.update(status=status, due_at=None)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "notify_canceled", lambda pk: None)
        operate.cancel(parent)
    sweep()
    assert child.get().outcome == "canceled"


# Pause and resume


def test_pause_of_a_running_run_is_taken_at_its_next_checkpoint(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        operate.pause(run.pk, by="ada", reason="lunch")

    lab.on("work", work)
    run = start(send("work"), send("after"))
    sweep()
    row = fresh(run)
    assert (row.status, row.reason, row.due_at) == (Status.PAUSED, "Paused. lunch", None)
    assert lab.calls == ["work"]
    assert sweep() == 0
    operate.resume(run, by="ada")
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["work", "after"])


def test_paused_run_still_waits_when_it_is_resumed(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    run = start(think("wait"))
    sweep()
    due = fresh(run).due_at
    operate.pause(run)
    lab.clock.advance(hours=1)
    operate.resume(run)
    sweep()
    assert (fresh(run).status, fresh(run).due_at) == (Status.WAITING, due)
    assert (sweep(), lab.calls) == (0, ["wait"])


def test_run_that_was_paused_before_it_began_begins_when_it_is_resumed(lab: Lab) -> None:
    run = start(think())
    operate.pause(run)
    assert sweep() == 0
    operate.resume(run)
    assert fresh(run).status == Status.PENDING
    sweep()
    assert fresh(run).outcome == "complete"


@pytest.mark.parametrize("how", ["by hand", "with its flow"])
def test_run_that_was_paused_before_its_time_still_begins_at_that_time(lab: Lab, how: str) -> None:
    flow = publish(think(), max_concurrent=1)
    due = lab.clock.now() + timedelta(days=7)
    run = create_flowrun(flow, at=due)
    operate.pause(run)
    if how == "by hand":
        operate.resume(run)
    else:
        FlowRun.objects.filter(pk=run.pk).update(reason_code="flow_paused")
        resume_flow(flow)
    sweep()
    row = fresh(run)
    assert (row.status, row.due_at, row.slot) == (Status.PENDING, due, None)
    assert "no_wake_up" not in [issue.code for issue in check_health().issues]
    assert any("Due at" in sentence for sentence in what_next(row))
    lab.clock.advance(days=7)
    sweep()
    assert (fresh(run).outcome, fresh(run).wait_until) == ("complete", None)


def test_run_that_was_created_for_later_can_be_run_now(lab: Lab) -> None:
    woken: list[Any] = []
    lab.on("work", lambda run, obj: woken.append(run.wakeup))
    run = create_flowrun(publish(think("work")), at=lab.clock.now() + timedelta(days=7))
    operate.run_now(run)
    sweep()
    assert (fresh(run).outcome, woken) == ("complete", [None])


def test_event_that_comes_while_a_run_is_paused_is_not_lost(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    run = start(think("wait"))
    sweep()
    operate.pause(run)
    event()
    sweep()
    operate.resume(run)
    sweep()
    assert fresh(run).outcome == "complete"


# Run now, retry, skip, go to a step


def test_waiting_run_can_be_run_now(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(until=timedelta(days=1), repeat=True)
        run.state["woken by"] = run.wakeup.kind
        return None

    lab.on("wait", work)
    run = start(think("wait"))
    sweep()
    since = fresh(run).since
    lab.clock.advance(hours=1)
    operate.run_now(run, by="ada")
    assert fresh(run).since == since
    sweep()
    assert fresh(run).state == {"woken by": "operator"}


def test_failed_run_can_be_retried_until_it_succeeds(lab: Lab) -> None:
    healthy: list[bool] = []

    def work(run: Any, obj: Any) -> None:
        if not healthy:
            raise ValueError("no")

    lab.on("work", work)
    run = start(write("before"), write("work"), write("after"))
    for _ in range(3):
        sweep()
        assert fresh(run).outcome == "errored"
        operate.retry(run, by="ada", reason="again")
        assert (fresh(run).outcome, fresh(run).finished_at) == ("", None)
    healthy.append(True)
    sweep()
    assert fresh(run).outcome == "complete"
    assert customers() == ["before", "after"]


def leave(run: FlowRun, lab: Lab, kind: str, **data: Any) -> None:
    """Leave a message in a run's inbox, of which the run has not been notified yet."""
    now = lab.clock.now()
    Message.objects.create(
        run_id=run.pk, kind=kind, data=data, created_at=now, undelivered_since=now
    )


@pytest.mark.parametrize("kind", ["cancel", "pause", "go_to"])
@pytest.mark.parametrize("name", ["retry", "skip", "go_to_step"])
def test_message_that_came_too_late_does_nothing_to_a_run_that_is_taken_up_again(
    lab: Lab, kind: str, name: str
) -> None:
    lab.on("fail", lambda run, obj: 1 / 0)
    run = start(think("fail"), think("last"))
    sweep()
    leave(run, lab, kind, step="s2")
    lab.on("fail", lambda run, obj: None)
    lab.calls.clear()
    DO[name](run)
    sweep()
    assert fresh(run).outcome == "complete"
    assert lab.calls == (["last"] if name == "skip" else ["fail", "last"])


@pytest.mark.parametrize("name", ["retry", "skip"])
def test_live_run_that_is_taken_up_again_keeps_what_it_was_asked(lab: Lab, name: str) -> None:
    lab.on("fail", lambda run, obj: 1 / 0)
    run = start(think("fail", retry={"attempts": 2}), think("last"))
    sweep()
    leave(run, lab, "cancel")
    DO[name](run)
    sweep()
    assert fresh(run).outcome == "canceled"


def test_run_that_is_ended_because_it_is_damaged_leaves_no_messages(lab: Lab) -> None:
    run = start(think())
    leave(run, lab, "go_to", step="s1")
    FlowRun.objects.filter(pk=run.pk).update(state=[1])
    sweep()
    assert fresh(run).outcome == "errored"
    assert not Message.objects.exists()


def test_failed_step_can_be_skipped(lab: Lab) -> None:
    lab.on("work", lambda run, obj: 1 / 0)
    run = start(loop(2, think("work"), think("next")))
    sweep()
    operate.skip(run, by="ada")
    sweep()
    assert lab.calls == ["work", "next", "work"]
    operate.skip(run, by="ada")
    sweep()
    assert fresh(run).outcome == "complete"


def test_run_that_has_not_begun_has_no_step_to_skip(lab: Lab) -> None:
    run = start(think())
    operate.pause(run)
    with pytest.raises(IllegalChangeError, match="no step that could be skipped"):
        operate.skip(run)


@pytest.mark.parametrize(
    "situation", sorted(LEGAL["go_to_step"] - {"running", "paused", "blocked"})
)
def test_run_can_be_sent_to_a_step(lab: Lab, situation: str) -> None:
    run = run_in(situation)
    operate.go_to_step(run, "s2", by="ada", reason="because")
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["b"])
    assert any(
        (event.actor, event.values.get("note")) == ("ada", "because") for event in events(run)
    )


def test_running_run_goes_to_the_step_at_its_next_checkpoint(lab: Lab) -> None:
    lab.on("work", lambda run, obj: operate.go_to_step(run.pk, "s4", by="ada"))
    run = start(think("a"), send("work"), send("left out"), think("b"))
    for _ in range(2):
        sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["a", "work", "b"])


def test_paused_run_goes_to_the_step_when_it_is_resumed(lab: Lab) -> None:
    run = run_in("paused")
    operate.go_to_step(run, "s2")
    assert sweep() == 0
    operate.resume(run)
    sweep()
    assert lab.calls == ["b"]


def test_blocked_run_can_be_sent_past_what_it_misses(lab: Lab) -> None:
    run = run_in("blocked")
    operate.go_to_step(run, "s2")
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["b"])


@pytest.mark.parametrize(
    ("step", "message"), [("zz", "no enabled step 'zz'"), ("inner", "inside of the loop")]
)
def test_run_cannot_be_sent_to_a_step_that_is_not_possible(
    lab: Lab, step: str, message: str
) -> None:
    run = start(loop(2, think(id="inner"), id="outer"))
    with pytest.raises(IllegalChangeError, match=message):
        operate.go_to_step(run, step)


# Pausing a flow


def pause_flow(flow: Flow) -> None:
    Flow.objects.filter(pk=flow.pk).update(paused=True)
    flow.refresh_from_db()


def test_runs_of_a_paused_flow_are_paused_and_continue_when_it_is_resumed(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    flow = publish(think("wait"))
    waiting, new = create_flowrun(flow), create_flowrun(flow)
    FlowRun.objects.filter(pk=new.pk).update(due_at=lab.clock.now() + timedelta(hours=1))
    sweep()
    pause_flow(flow)
    lab.clock.advance(days=1)
    sweep()
    assert {fresh(run).status for run in (waiting, new)} == {Status.PAUSED}
    assert (fresh(new).reason_code, fresh(new).reason) == ("flow_paused", "The flow is paused.")
    assert resume_flow(flow) == 2
    sweep()
    assert fresh(waiting).outcome == "complete"
    assert fresh(new).status == Status.WAITING


@pytest.mark.django_db(transaction=True)
def test_run_that_is_started_on_a_paused_flow_is_paused(lab: Lab) -> None:
    flow = publish(think())
    pause_flow(flow)
    run = start_flowrun(flow)
    assert (run.status, lab.calls) == (Status.PAUSED, [])


def test_run_that_an_operator_paused_is_not_resumed_with_its_flow(lab: Lab) -> None:
    flow = publish(think())
    run = create_flowrun(flow)
    operate.pause(run, by="ada")
    resume_flow(flow)
    assert fresh(run).status == Status.PAUSED


# What arrives between the claim and the first step


@pytest.mark.parametrize("name", ["cancel", "pause"])
def test_request_that_arrives_while_a_run_is_put_back_is_taken_at_once(lab: Lab, name: str) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    run = start(think("wait"))
    sweep()
    FlowRun.objects.filter(pk=run.pk).update(due_at=lab.clock.now())
    claimed = claim(1)
    real = outbox.find_wakeup
    asked: list[FlowRun] = []

    def find(row: FlowRun, now: Any) -> Any:
        if not asked:
            asked.append(DO[name](run, by="ada"))
        return real(row, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "find_wakeup", find)
        execute(claimed)
    assert fresh(run).due_at == lab.clock.now()
    sweep()
    expected = {"cancel": "canceled", "pause": Status.PAUSED}[name]
    assert expected in (fresh(run).status, fresh(run).outcome)


def test_recovered_run_says_so_in_its_history(lab: Lab) -> None:
    lab.on("a", Once(lambda run, obj: None, WorkerDied()))
    run = start(think("a"))
    with pytest.raises(WorkerDied):
        sweep()
    lab.clock.advance(hours=1)
    sweep()
    assert [event.kind for event in events(run)] == ["recovered", "ended"]
