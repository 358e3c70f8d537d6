"""Promises 3 and 4: a worker may die at any instant, and nothing is lost or done twice.

A death is an exception that nothing catches, raised where the process would have been killed; the
database rolls back what was not committed, as it does for a lost connection.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from flowcontrol_core.models import FlowRun, Message, MessageKind, RunEvent, Status
from flowcontrol_core.runs.execution import batch, checkpoint, driver
from flowcontrol_core.runs.execution.start import create_flowrun
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    Lab,
    Once,
    WorkerDied,
    customers,
    deadlock,
    events,
    fresh,
    loop,
    make_due,
    publish,
    send,
    start,
    steps_of,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)

# Where a worker dies, and how often the external step before and after has been called by then.
POINTS = [
    (checkpoint, "write_guarded"),
    (checkpoint, "_write_history"),
    (driver, "after_checkpoint"),
    (checkpoint, "apply"),
]


def die(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, at: int = 1) -> None:
    monkeypatch.setattr(place, name, Once(getattr(place, name), WorkerDied(), at))


def continue_until_done(run: FlowRun, lab: Lab) -> FlowRun:
    for _ in range(20):
        row = fresh(run)
        if row.status == Status.DONE:
            return row
        make_due(run, lab)
        try:
            sweep()
        except WorkerDied:
            continue
    raise AssertionError(f"not done: {fresh(run).__dict__}")


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(("place", "name"), POINTS)
def test_worker_that_dies_loses_nothing_and_repeats_no_database_effect(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, at: int
) -> None:
    run = start(think("a"), write("b"), send("c"), write("d"), send("e"), think("f"))
    die(monkeypatch, place, name, at)
    row = continue_until_done(run, lab)
    assert row.outcome == "complete"
    assert row.state == {"n": 6}
    assert customers() == ["b", "d"]
    keys = dict(zip(lab.calls, lab.keys, strict=True))
    assert all(keys[word] == key for word, key in zip(lab.calls, lab.keys, strict=True))
    assert len(set(keys.values())) == 6


def test_worker_that_dies_inside_of_an_action_repeats_from_the_last_checkpoint(lab: Lab) -> None:
    died = Once(lambda run, obj: None, WorkerDied())
    run = start(send("a"), think("b"), think("c"))
    lab.on("c", died)
    with pytest.raises(WorkerDied):
        sweep()
    assert fresh(run).status == Status.RUNNING
    continue_until_done(run, lab)
    assert lab.calls == ["a", "b", "c", "b", "c"]


def test_worker_that_dies_during_an_external_call_repeats_it_with_the_same_key(lab: Lab) -> None:
    run = start(send("a"), send("b"))
    lab.on("b", Once(lambda run, obj: None, WorkerDied()))
    with pytest.raises(WorkerDied):
        sweep()
    assert fresh(run).cursor[-1]["calling"] is True
    continue_until_done(run, lab)
    assert lab.calls == ["a", "b", "b"]
    assert lab.keys[1] == lab.keys[2] != lab.keys[0]


def test_call_that_must_not_be_repeated_fails_and_can_be_retried_or_skipped(lab: Lab) -> None:
    lab.on("a", Once(lambda run, obj: None, WorkerDied()))
    flow = publish(send("a", if_unknown="fail"), think("b"))
    run = create_flowrun(flow)
    with pytest.raises(WorkerDied):
        sweep()
    make_due(run, lab)
    sweep()
    row = fresh(run)
    assert (row.outcome, lab.calls) == ("errored", ["a"])
    assert row.reason_code == "unknown_call"
    assert "it is unknown whether the call was made" in row.reason
    operate.skip(row)
    sweep()
    assert fresh(run).outcome == "complete"
    assert lab.calls == ["a", "b"]


def test_call_that_was_answered_is_not_unknown(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(send("a", if_unknown="fail"), think("b"))
    lab.on("b", Once(lambda run, obj: None, WorkerDied()))
    with pytest.raises(WorkerDied):
        sweep()
    assert continue_until_done(run, lab).outcome == "complete"
    assert lab.calls == ["a", "b", "b"]


def test_call_that_a_pause_has_prevented_is_not_unknown(lab: Lab) -> None:
    lab.on("pause", lambda run, obj: operate.pause(run.pk))
    run = start(write("pause"), send("a", if_unknown="fail"))
    for _ in range(2):
        sweep()
    assert (fresh(run).status, lab.calls) == (Status.PAUSED, ["pause"])
    operate.resume(run)
    sweep()
    row = fresh(run)
    assert (row.outcome, lab.calls) == ("complete", ["pause", "a"]), row.reason


def test_end_of_an_external_step_is_written_before_the_next_run_begins(lab: Lab) -> None:
    flow = publish(send("a"))
    first, second = create_flowrun(flow), create_flowrun(flow)
    lab.on("a", Once(lambda run, obj: None, WorkerDied(), at=2))
    with pytest.raises(WorkerDied):
        sweep()
    assert fresh(first).outcome == "complete"
    assert fresh(second).status == Status.RUNNING


def test_run_that_keeps_killing_its_worker_is_ended_and_can_be_taken_up_again(
    lab: Lab,
) -> None:
    def kill(run: Any, obj: Any) -> None:
        raise WorkerDied

    lab.on("poison", kill)
    run = start(think(), write("poison"))
    row = continue_until_done(run, lab)
    assert (row.outcome, len(lab.calls)) == ("errored", 2 * 5)
    assert "its worker died 5 times" in row.reason
    lab.on("poison", lambda run, obj: None)
    operate.retry(run, by="ada")
    sweep()
    assert fresh(run).outcome == "complete"


def test_poisonous_external_call_is_ended_too(lab: Lab) -> None:
    def kill(run: Any, obj: Any) -> None:
        raise WorkerDied

    lab.on("poison", kill)
    run = start(send("poison"))
    assert continue_until_done(run, lab).outcome == "errored"
    assert len(lab.calls) <= 6


def test_checkpoint_resets_the_attempts(lab: Lab) -> None:
    steps = [write(f"w{n}") for n in range(8)]
    for n in range(8):
        lab.on(f"w{n}", Once(lambda run, obj: None, WorkerDied()))
    run = start(*[part for one in steps for part in (one, send())])
    assert continue_until_done(run, lab).outcome == "complete"


# Deadlocks


@pytest.mark.parametrize("at", [1, 2])
def test_deadlock_in_a_database_step_is_done_again(lab: Lab, at: int) -> None:
    lab.on("b", Once(lambda run, obj: run.state.__setitem__("b", 1), deadlock()))
    run = start(write("a"), write("b"), think("c"), write("d"))
    sweep()
    assert fresh(run).outcome == "complete"
    assert customers() == ["a", "d"]
    assert fresh(run).state == {"n": 3, "b": 1}


@pytest.mark.parametrize("name", ["write_guarded", "_write_history"])
def test_deadlock_in_a_checkpoint_is_done_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = start(write("a"), write("b"), think("c"))
    monkeypatch.setattr(checkpoint, name, Once(getattr(checkpoint, name), deadlock()))
    sweep()
    row = fresh(run)
    assert (row.outcome, row.state) == ("complete", {"n": 3}), row.reason
    assert customers() == ["a", "b"]
    assert [entry["step"] for entry in steps_of(run)] == ["s1", "s2", "s3"]


def test_deadlock_at_the_commit_keeps_the_slot_of_a_limited_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(write("a"), write("b"), think("c"), max_concurrent=1)
    lab.on("b", lambda context, obj: slots.append(fresh(run).slot))
    slots: list[Any] = []
    monkeypatch.setattr(checkpoint, "_write_history", Once(checkpoint._write_history, deadlock()))
    sweep()
    assert fresh(run).outcome == "complete", fresh(run).reason
    assert None not in slots


def test_deadlock_in_a_batch_loses_no_history(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = publish(think())
    runs = [create_flowrun(flow) for _ in range(3)]
    monkeypatch.setattr(
        checkpoint, "_write_history", Once(checkpoint._write_history, deadlock(), after=True)
    )
    sweep()
    assert [len(steps_of(run)) for run in runs] == [1, 1, 1]
    assert RunEvent.objects.count() == 3


def test_message_is_taken_once_although_its_checkpoint_was_done_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=run.now.replace(year=2030)))
    run = start(think("a"), think("wait", id="w"), think("b", id="b"), think("wait"))
    sweep()
    operate.go_to_step(run, "b", by="ada")
    monkeypatch.setattr(
        checkpoint, "_write_history", Once(checkpoint._write_history, deadlock(), after=True)
    )
    sweep()
    assert not Message.objects.filter(kind=MessageKind.GO_TO).exists()
    assert [event.actor for event in events(run)].count("ada") == 1


def test_run_whose_database_keeps_failing_is_postponed(lab: Lab) -> None:
    def always(run: Any, obj: Any) -> None:
        raise deadlock()

    lab.on("a", always)
    run = start(think("a"))
    sweep()
    row = fresh(run)
    assert len(lab.calls) == 1
    assert (row.status, row.attempt) == (Status.RUNNING, 1)
    assert row.due_at == lab.clock.now() + batch.POSTPONED


# Transactions of database steps


def test_consecutive_database_steps_share_a_transaction(lab: Lab, settings: Any) -> None:
    # However slow the machine is.
    settings.FLOWCONTROL = {"COALESCE": 3600.0}
    run = start(write("a"), think("b"), write("c"))
    sweep()
    assert [len(event.steps) for event in events(run)] == [3]


def test_slow_database_steps_have_checkpoints_of_their_own(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"COALESCE": -1.0}
    run = start(write("a"), think("b"), write("c"))
    sweep()
    assert [len(event.steps) for event in events(run)] == [2, 1]


def test_step_that_misses_its_object_in_its_middle_has_written_nothing(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        Customer.objects.create(name="half")
        run.state["name"] = obj.name

    lab.on("work", work)
    ada = Customer.objects.create(name="Ada")
    run = create_flowrun(publish(write("a"), write("work")), ada)
    ada.delete()
    sweep()
    assert fresh(run).outcome == "obsolete"
    assert customers() == ["a"]


def test_failed_database_step_undoes_only_its_own_writes(lab: Lab) -> None:
    from tests.shop.models import Customer

    def fail(run: Any, obj: Any) -> None:
        Customer.objects.create(name="undone")
        run.state["undone"] = True
        raise ValueError("no")

    lab.on("b", fail)
    run = start(write("a"), write("b"), write("c"))
    sweep()
    row = fresh(run)
    assert (row.outcome, row.cursor[-1]["step"]) == ("errored", "s2")
    assert customers() == ["a"]
    assert row.state == {"n": 1}


def swallow(by: str) -> Any:
    from django.db import IntegrityError

    from tests.shop.models import Customer, Voucher

    def work(run: Any, obj: Any) -> None:
        Customer.objects.create(name="before")
        Voucher.objects.create(code="x")
        try:
            if by == "save":
                Voucher(code="x").save(force_insert=True)
            elif by == "raw":
                Voucher.objects.bulk_create([Voucher(code="x")])
            else:
                with transaction.atomic():
                    Voucher(code="x").save(force_insert=True)
        except IntegrityError:
            pass

    return work


def test_swallowed_error_of_the_database_fails_its_step_and_no_other(lab: Lab) -> None:
    lab.on("b", swallow("save"))
    run = start(write("a"), write("b"), write("c"))
    sweep()
    row = fresh(run)
    assert customers() == ["a"]
    assert (row.outcome, row.cursor[-1]["step"]) == ("errored", "s2")
    assert "savepoint" in row.reason


def test_error_that_is_caught_around_a_savepoint_is_the_actions_own_business(lab: Lab) -> None:
    lab.on("b", swallow("atomic"))
    run = start(write("a"), write("b"), write("c"))
    sweep()
    assert fresh(run).outcome == "complete"
    assert customers() == ["a", "before", "c"]


def test_loop_of_database_steps_happens_exactly_once_each(lab: Lab) -> None:
    run = start(loop(5, write("a"), send("b")))
    lab.on("b", Once(lambda run, obj: None, WorkerDied(), at=3))
    assert continue_until_done(run, lab).outcome == "complete"
    assert customers() == ["a"] * 5
    assert lab.calls.count("b") == 6
    assert len({key for word, key in zip(lab.calls, lab.keys, strict=True) if word == "b"}) == 5


def test_step_after_a_suspension_has_a_key_of_its_own(lab: Lab) -> None:
    lab.on("a", lambda run, obj: run.suspend(until=run.now.replace(year=2027)))
    run = start(send("a"), send("b"))
    sweep()
    lab.clock.advance(days=400)
    sweep()
    assert fresh(run).outcome == "complete"
    assert lab.calls == ["a", "b"]
    assert lab.keys[0] != lab.keys[1]
