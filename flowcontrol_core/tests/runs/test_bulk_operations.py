"""Operator actions on many runs."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection

from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import BulkOperation, FlowRun, Outcome, RunEvent, Status
from flowcontrol_core.runs.execution import sweep as sweep_module
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.operations import bulk
from flowcontrol_core.runs.operations.bulk import (
    perform_on_each,
    refusal_text,
    start_bulk_operation,
    work_on_bulk_operations,
)
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS
from tests import operate
from tests.translation import words

from .conftest import (
    Lab,
    Once,
    WorkerDied,
    deadlock,
    events,
    fresh,
    publish,
    republish,
    send,
    sweep,
    think,
)

pytestmark = pytest.mark.django_db(transaction=True)


def fail(run: Any, obj: Any) -> None:
    if not run.state.get("well"):
        raise ValueError("broken")


@pytest.fixture
def runs(lab: Lab) -> list[FlowRun]:
    """Three runs that wait for a day in their first step."""
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    lab.on("fail", fail)
    target = publish(think("wait", id="first"), think(id="last"))
    made = [create_flowrun(target) for _ in range(3)]
    sweep()
    return made


def do(name: str, arguments: dict[str, Any] | None = None, **filters: Any) -> BulkOperation:
    """Start a bulk operation and work on it until it is finished."""
    chosen = filters or {"flow__key": "flow"}
    operation = start_bulk_operation(name, chosen, arguments=arguments, by="Ada", reason="because")
    for _ in range(10):
        work_on_bulk_operations()
        operation.refresh_from_db()
        if operation.finished_at:
            return operation
    raise AssertionError("it never ends")


def refusals(operation: BulkOperation) -> dict[str, int]:
    """Return why runs were refused, with their number."""
    return {refusal_text(operation, each): each["count"] for each in operation.refusals}


def put_in_place_of(name: str, function: Any, patch: pytest.MonkeyPatch) -> None:
    """Have something else done by an operator action."""
    patch.setitem(OPERATOR_ACTIONS, name, replace(OPERATOR_ACTIONS[name], function=function))


def statuses() -> set[str]:
    return set(FlowRun.objects.values_list("status", flat=True))


def test_every_operator_action_is_one_that_is_tested_here() -> None:
    assert set(OPERATOR_ACTIONS) == {
        "cancel", "pause", "resume", "run_now", "retry", "skip", "go_to_step", "restart",
        "edit_state", "move",
    }  # fmt: skip


def test_runs_are_canceled_in_bulk_and_each_says_by_whom_and_why(runs: list[FlowRun]) -> None:
    operation = do("cancel")
    assert (operation.done, operation.refused, operation.refusals) == (3, 0, [])
    stands = {(run.outcome, run.reason_code, run.reason) for run in FlowRun.objects.all()}
    assert stands == {("canceled", "canceled", "Canceled. because")}
    for run in runs:
        assert [(e.actor, e.message) for e in events(run)][-1] == ("Ada", "Canceled. because")


def test_runs_are_paused_and_resumed_in_bulk(runs: list[FlowRun]) -> None:
    assert do("pause").done == 3
    assert statuses() == {Status.PAUSED}
    assert do("resume", status="paused").done == 3
    assert statuses() == {Status.WAITING}


@pytest.mark.parametrize("name", ["run_now", "skip"])
def test_runs_continue_at_once_in_bulk(runs: list[FlowRun], name: str) -> None:
    assert do(name).done == 3
    sweep()
    assert set(FlowRun.objects.values_list("outcome", flat=True)) == {Outcome.COMPLETE}


def test_runs_are_retried_in_bulk(lab: Lab) -> None:
    lab.on("fail", fail)
    target = publish(think("fail"))
    for _ in range(2):
        create_flowrun(target)
    sweep()
    FlowRun.objects.update(state={"well": True})
    assert do("retry", outcome__in=["errored"]).done == 2
    sweep()
    assert set(FlowRun.objects.values_list("outcome", flat=True)) == {Outcome.COMPLETE}


def test_runs_are_moved_in_bulk_and_those_that_cannot_say_why(runs: list[FlowRun]) -> None:
    flow = republish(runs[0].flow, think("wait", id="first"), think(id="new"))
    operate.pause(runs[1].pk)
    operation = do("move")
    assert operation.done == 3
    again = do("move")
    assert (again.done, again.refused) == (0, 3)
    assert refusals(again) == {"it is on the published version already": 3}
    assert set(FlowRun.objects.values_list("version_id", flat=True)) == {flow.published_id}


def test_runs_are_sent_to_a_step_in_bulk(lab: Lab, runs: list[FlowRun]) -> None:
    lab.calls.clear()
    assert do("go_to_step", {"step": "last"}).done == 3
    sweep()
    assert lab.calls == ["think"] * 3
    assert set(FlowRun.objects.values_list("outcome", flat=True)) == {Outcome.COMPLETE}


def test_runs_are_restarted_in_bulk_and_each_has_one_successor(
    lab: Lab, runs: list[FlowRun]
) -> None:
    do("cancel")
    lab.calls.clear()
    operation = do("restart", {"step": "last"}, status="done")
    assert (operation.done, operation.refused) == (3, 0)
    assert {run.successors.count() for run in runs} == {1}
    for run in runs:
        new = run.successors.get()
        assert [(e.actor, e.message) for e in events(new)] == [
            ("Ada", f"Restarted from run {run.pk} at the step last. because")
        ]
    sweep()
    assert lab.calls == ["think"] * 3


def test_runs_are_restarted_on_the_current_version_in_bulk(runs: list[FlowRun]) -> None:
    do("cancel")
    flow = republish(runs[0].flow, think(id="new"))
    operation = do("restart", {"step": "new"}, status="done")
    assert (operation.done, operation.refused) == (0, 3)
    ((sentence, _),) = refusals(operation).items()
    assert "'new'" in sentence
    assert do("restart", {"step": "new", "current_version": True}, status="done").done == 3
    assert {run.successors.get().version_id for run in runs} == {flow.published_id}


def test_a_chunk_that_is_repeated_restarts_no_run_twice(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies, or the database takes all of it back, after the second new run."""
    do("cancel")
    died = Once(OPERATOR_ACTIONS["restart"].function, WorkerDied(), at=2, after=True)
    put_in_place_of("restart", Once(died, deadlock(), at=4, after=True), monkeypatch)
    operation = start_bulk_operation(
        "restart", {"status": "done"}, arguments={"step": "last"}, by="Ada"
    )
    with pytest.raises(WorkerDied):
        work_on_bulk_operations()
    assert FlowRun.objects.count() == 3
    work_on_bulk_operations()
    operation.refresh_from_db()
    assert (operation.done, operation.refused, bool(operation.finished_at)) == (3, 0, True)
    assert {run.successors.count() for run in runs} == {1}
    work_on_bulk_operations()
    assert FlowRun.objects.count() == 6


def test_keys_of_the_state_are_set_in_bulk_and_the_others_stay(runs: list[FlowRun]) -> None:
    FlowRun.objects.filter(pk=runs[0].pk).update(state={"mine": 1, "price": 1})
    operation = do("edit_state", {"changes": {"price": Decimal("1.50"), "day": date(2026, 1, 2)}})
    assert (operation.done, operation.refused) == (3, 0)
    changed = {"price": {"$decimal": "1.50"}, "day": {"$date": "2026-01-02"}}
    assert fresh(runs[0]).state == {"mine": 1, **changed}
    assert fresh(runs[1]).state == changed
    last = events(runs[0])[-1]
    assert (last.actor, last.message) == ("Ada", "The state was edited (day, price). because")


def test_a_key_that_looks_like_a_type_is_a_key(runs: list[FlowRun]) -> None:
    do("edit_state", {"changes": {"$decimal": "no number"}})
    assert fresh(runs[0]).state == {"$decimal": "no number"}


def test_a_state_that_becomes_too_large_is_refused_and_the_others_are_set(
    runs: list[FlowRun], settings: Any
) -> None:
    FlowRun.objects.filter(pk=runs[0].pk).update(state={"mine": "x" * 900})
    settings.FLOWCONTROL = {**settings.FLOWCONTROL, "STATE_MAX_BYTES": 1000}
    operation = do("edit_state", {"changes": {"more": "y" * 200}})
    assert (operation.done, operation.refused) == (2, 1)
    assert fresh(runs[0]).state == {"mine": "x" * 900}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cancel", {"step": "last"}, "“cancel” takes no argument “step”"),
        ("restart", {}, "“step” has to be the id of a step"),
        ("restart", {"step": 7}, "“step” has to be the id of a step"),
        ("restart", {"step": "a", "current_version": 1}, "“current_version” has to be true or"),
        ("restart", {"step": "a", "by": "Eve"}, "“restart” takes no argument “by”"),
        ("go_to_step", {}, "“step” has to be the id of a step"),
        ("go_to_step", {"step": "a", "current_version": True}, "no argument “current_version”"),
        ("edit_state", {}, "“changes” has to be keys of the state"),
        ("edit_state", {"changes": []}, "“changes” has to be keys of the state"),
        ("edit_state", {"changes": {}}, "“changes” has to be keys of the state"),
        ("edit_state", {"state": {"a": 1}}, "“edit_state” takes no argument “state”"),
        ("edit_state", {"changes": {"x": object()}}, "x"),
        ("edit_state", {"changes": {1: 2}}, "1"),
        ("edit_state", {"changes": {"x": "y" * 300_000}}, "more than"),
    ],
)
def test_arguments_that_no_run_could_take_are_refused_at_once(
    lab: Lab, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(FlowcontrolError, match=re.escape(message)):
        start_bulk_operation(name, {"status": "done"}, arguments=arguments)
    assert not BulkOperation.objects.exists()


@pytest.mark.parametrize(
    "filters",
    [{}, {"flow__created_by__password": "x"}, {"state__secret": 1}, {"pk__gt": 1}],
    ids=str,
)
def test_filters_that_are_not_allowed_are_refused(lab: Lab, filters: dict[str, Any]) -> None:
    with pytest.raises(FlowcontrolError, match="A bulk operation needs filters from"):
        start_bulk_operation("cancel", filters)
    assert not BulkOperation.objects.exists()


@pytest.mark.parametrize(
    "filters",
    [
        {"pk__in": "many"},
        {"flow_id": "one"},
        {"since__lt": "soon"},
        {"status__in": 1},
        {"queue": 1.5},
    ],
    ids=str,
)
def test_filters_that_the_database_would_refuse_are_found_at_once(
    lab: Lab, filters: dict[str, Any]
) -> None:
    with pytest.raises(FlowcontrolError, match="cannot be used"):
        start_bulk_operation("cancel", filters)


def test_an_unknown_action_is_answered_with_those_that_there_are(lab: Lab) -> None:
    known = "no operator action “delete”. Possible are run_now, retry"
    with pytest.raises(FlowcontrolError, match=re.escape(known)):
        start_bulk_operation("delete", {"status": "waiting"})


def test_times_are_stored_as_text(lab: Lab, runs: list[FlowRun]) -> None:
    assert do("cancel", since__lt=lab.clock.now() - timedelta(days=1)).done == 0
    assert do("cancel", since__gte=lab.clock.now() - timedelta(days=1)).done == 3


def test_a_refused_run_does_not_stop_the_others_and_is_counted(runs: list[FlowRun]) -> None:
    do("cancel", pk__in=[runs[0].pk])
    operation = do("cancel")
    assert (operation.done, operation.refused) == (2, 1)
    assert refusals(operation) == {"it has ended": 1}


@pytest.mark.parametrize("error", [KeyError("damaged"), DataError("damaged")], ids=repr)
def test_a_damaged_run_does_not_stop_the_others(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    cancel = OPERATOR_ACTIONS["cancel"].function

    def stumble(row: FlowRun, done: Any) -> FlowRun:
        if row.pk == runs[1].pk:
            raise error
        return cancel(row, done)

    put_in_place_of("cancel", stumble, monkeypatch)
    operation = do("cancel")
    assert (operation.done, operation.refused, operation.failed) == (2, 0, 1)
    assert refusals(operation) == {f"Failed, see the log: {type(error).__name__}: {error}": 1}


def test_a_bug_in_an_operator_action_is_no_refusal(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For a page of runs it is raised; in the sweeps, which go on, it is logged and named."""

    def broken(*_: Any, **__: Any) -> FlowRun:
        raise TypeError("a bug")

    put_in_place_of("pause", broken, monkeypatch)
    with pytest.raises(TypeError, match="a bug"):
        perform_on_each("pause", [run.pk for run in runs])
    assert "failed for run" in caplog.text
    operation = start_bulk_operation("pause", {"pk__in": [runs[0].pk]})
    work_on_bulk_operations()
    operation.refresh_from_db()
    assert (operation.done, operation.refused, operation.failed) == (0, 0, 1)
    wanted = "Failed, see the log: TypeError: a bug"
    assert refusal_text(operation, operation.refusals[0]) == wanted
    assert caplog.text.count("TypeError: a bug") == 2, "with the traceback, each time"


@pytest.mark.parametrize(
    "damage",
    [
        {"filters": {"flow__gone": 1}},
        {"filters": {"flow_id": "one"}},
        {"filters": ["status"]},
        {"refusals": ["none"], "operator_action": "delete"},
    ],
    ids=str,
)
def test_a_damaged_operation_is_finished_and_stops_neither_the_others_nor_the_sweep(
    lab: Lab, runs: list[FlowRun], damage: dict[str, Any]
) -> None:
    damaged = start_bulk_operation("cancel", {"flow__key": "flow"})
    BulkOperation.objects.filter(pk=damaged.pk).update(**damage)
    sound = start_bulk_operation("pause", {"flow__key": "flow"})
    late = create_flowrun(runs[0].flow)
    sweep()
    assert fresh(late).status == Status.WAITING
    damaged.refresh_from_db()
    sound.refresh_from_db()
    assert (sound.done, sound.refused) == (3, 0)
    assert (damaged.done, damaged.refused, damaged.finished_at) == (0, 1, lab.clock.now())
    ((sentence, number),) = refusals(damaged).items()
    assert (number, sentence[:36]) == (1, "The bulk operation cannot continue: ")


def test_an_operation_whose_action_is_gone_is_finished_and_says_so(runs: list[FlowRun]) -> None:
    operation = start_bulk_operation("cancel", {"flow__key": "flow"})
    BulkOperation.objects.update(operator_action="delete")
    work_on_bulk_operations()
    operation.refresh_from_db()
    assert (operation.done, operation.refused, bool(operation.finished_at)) == (0, 3, True)
    ((sentence, number),) = refusals(operation).items()
    assert (number, sentence[:37]) == (3, "There is no operator action “delete”.")


def test_why_runs_were_refused_is_read_in_the_language_of_the_reader(runs: list[FlowRun]) -> None:
    operation = do("resume")
    with words({"it is not paused": "er ist nicht pausiert"}):
        assert refusals(operation) == {"er ist nicht pausiert": 3}
    assert refusals(operation) == {"it is not paused": 3}


def test_an_operator_action_is_done_to_each_of_some_runs_at_once(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    operate.pause(runs[1].pk)
    pause = Once(OPERATOR_ACTIONS["pause"].function, deadlock(), at=2, after=True)
    put_in_place_of("pause", pause, monkeypatch)
    keys = [run.pk for run in runs]
    operation = perform_on_each("pause", keys, by="Ada", reason="because")
    assert (operation.done, operation.refused, operation._state.adding) == (2, 1, True)
    assert refusals(operation) == {"it has ended or is paused already": 1}
    assert statuses() == {Status.PAUSED}
    assert RunEvent.objects.filter(actor="Ada").count() == 2
    with pytest.raises(FlowcontrolError, match="takes no argument"):
        perform_on_each("pause", keys, arguments={"step": "last"})


def test_an_operation_is_done_in_chunks_over_several_sweeps(
    lab: Lab, runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    operation = start_bulk_operation("cancel", {"flow__key": "flow"})
    seen = []
    for _ in range(3):
        seen.append(work_on_bulk_operations())
        operation.refresh_from_db()
        seen.append(operation.done)
    assert seen == [2, 2, 1, 3, 0, 3]
    assert operation.finished_at == lab.clock.now()


def test_a_sweep_works_on_operations_and_says_that_there_is_more(runs: list[FlowRun]) -> None:
    start_bulk_operation("cancel", {"flow__key": "flow"})
    assert continue_flowruns().more
    assert not continue_flowruns().more
    assert statuses() == {Status.DONE}


def test_runs_that_are_due_are_canceled_before_a_worker_gets_to_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although all of them are in one claim, and there are more than an operation does at once."""

    def give_up(run: Any, obj: Any) -> None:
        if not BulkOperation.objects.exists():
            start_bulk_operation("cancel", {"flow__key": "flow"}, by="Ada")

    monkeypatch.setattr(sweep_module, "AGAIN", 0)
    monkeypatch.setattr(bulk, "CHUNK", 4)
    lab.on("call", give_up)
    target = publish(send("call"))
    for _ in range(8):
        create_flowrun(target)
    sweep()
    assert len(lab.calls) <= 3
    assert BulkOperation.objects.get().done >= 6
    sweep()
    assert FlowRun.objects.filter(outcome=Outcome.CANCELED).count() >= 6
    assert not FlowRun.objects.live().exists()


def test_a_database_that_fails_between_two_runs_harms_none_of_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin = Once(sweep_module.begin_sweep, OperationalError("disk full"), at=2)
    monkeypatch.setattr(sweep_module, "begin_sweep", begin)
    monkeypatch.setattr(sweep_module, "AGAIN", 0)
    target = publish(think())
    for _ in range(3):
        create_flowrun(target)
    assert sweep() == 3
    assert begin.calls == 4
    assert "has to wait" in caplog.text


def test_runs_that_were_created_later_are_left_alone(runs: list[FlowRun]) -> None:
    operation = start_bulk_operation("cancel", {"flow__key": "flow"})
    late = create_flowrun(runs[0].flow)
    work_on_bulk_operations()
    operation.refresh_from_db()
    assert operation.done == 3
    assert fresh(late).is_live


def test_a_deadlock_in_between_repeats_the_chunk_and_counts_nothing_twice(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = Once(OPERATOR_ACTIONS["cancel"].function, deadlock(), at=2, after=True)
    put_in_place_of("cancel", cancel, monkeypatch)
    operation = do("cancel")
    assert (operation.done, operation.refused) == (3, 0)
    assert RunEvent.objects.filter(actor="Ada").count() == 3


def test_a_database_that_goes_away_leaves_the_operation_for_the_next_sweep(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OperationalError("server closed the connection")
    gone = Once(OPERATOR_ACTIONS["cancel"].function, error, at=3)
    put_in_place_of("cancel", gone, monkeypatch)
    operation = start_bulk_operation("cancel", {"flow__key": "flow"}, by="Ada")
    with pytest.raises(OperationalError):
        work_on_bulk_operations()
    assert statuses() == {Status.WAITING}
    work_on_bulk_operations()
    operation.refresh_from_db()
    assert (operation.done, operation.refused) == (3, 0)


@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="There, one writer at a time is all there is"
)
def test_two_workers_at_once_do_each_run_once(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes while the first one is in the middle of a chunk."""
    cancel = OPERATOR_ACTIONS["cancel"].function
    calls: list[int] = []
    done: list[int] = []

    def second() -> None:
        done.append(work_on_bulk_operations())
        connection.close()

    def cancel_slowly(row: FlowRun, who: Any) -> FlowRun:
        calls.append(row.pk)
        if len(calls) == 1:
            other = threading.Thread(target=second)
            other.start()
            other.join(30)
        return cancel(row, who)

    put_in_place_of("cancel", cancel_slowly, monkeypatch)
    operation = do("cancel")
    assert done == [0], "it does not wait either"
    assert calls == [run.pk for run in runs]
    assert operation.done == 3


@pytest.mark.parametrize("refusal", [{}, {"code": "stopped", "values": {}}, {"code": "x"}])
def test_damaged_refusal_still_has_a_text(refusal: dict[str, Any]) -> None:
    assert isinstance(refusal_text(BulkOperation(operator_action="retry"), refusal), str)
