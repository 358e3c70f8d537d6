"""Promise 10: whatever a run waits for wakes it, once, and nothing else does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from flowcontrol.errors import Retry
from flowcontrol.registry import registry
from flowcontrol_core.document.tree import RetryPolicy
from flowcontrol_core.models import FlowRun, Message, MessageKind, Status, TriggerEvent
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import outbox
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    Lab,
    Once,
    WorkerDied,
    event,
    events,
    fresh,
    publish,
    send,
    start,
    steps_of,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db


def wait(lab: Lab, **options: Any) -> None:
    """Let steps with the word ``wait`` suspend once, and note what woke them."""

    def work(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(repeat=True, **options)
        run.state["woken by"] = run.wakeup.kind
        run.state["payload"] = dict(run.wakeup.payload)
        return None

    lab.on("wait", work)


@contextmanager
def without_actions() -> Iterator[None]:
    """Have a worker that lacks the plugin."""
    before = registry.snapshot()
    registry.remove({"lab.think"})
    try:
        yield
    finally:
        registry.restore(before)


# Retries


def fail(run: Any, obj: Any) -> None:
    raise ValueError("no")


def test_failing_step_without_a_policy_ends_its_run(lab: Lab) -> None:
    lab.on("a", fail)
    run = start(think("a"))
    sweep()
    row = fresh(run)
    assert (row.outcome, row.reason_code) == ("errored", "step_failed")
    assert row.reason == "Step s1 (lab.think) failed: ValueError: no"


def test_failing_step_is_tried_as_often_and_as_late_as_its_policy_says(lab: Lab) -> None:
    lab.on("a", fail)
    policy = RetryPolicy(attempts=3, backoff=10, factor=2, jitter="none")
    run = start(think("a", retry=policy))
    sweep()
    assert (fresh(run).status, fresh(run).due_at) == (
        Status.WAITING, lab.clock.now() + timedelta(seconds=10),
    )  # fmt: skip
    assert fresh(run).reason == "Step s1 (lab.think) failed and will be retried: ValueError: no"
    lab.clock.advance(seconds=9)
    assert sweep() == 0
    lab.clock.advance(seconds=1)
    sweep()
    assert fresh(run).due_at == lab.clock.now() + timedelta(seconds=20)
    lab.clock.advance(seconds=20)
    sweep()
    assert (fresh(run).outcome, lab.calls, len(set(lab.keys))) == ("errored", ["a"] * 3, 1)


def test_action_says_when_it_is_to_be_called_again(lab: Lab) -> None:
    def busy(run: Any, obj: Any) -> None:
        if run.attempt < 3:
            raise Retry(after=timedelta(minutes=5))

    lab.on("a", busy)
    run = start(send("a"))
    for minutes in (0, 5, 5):
        lab.clock.advance(minutes=minutes)
        sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["a"] * 3)
    assert len(set(lab.keys)) == 1


def test_action_that_asks_for_ever_is_given_up(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"RETRY_ATTEMPTS": 4}

    def busy(run: Any, obj: Any) -> None:
        raise Retry(after=60)

    lab.on("a", busy)
    run = start(think("a"))
    for _ in range(10):
        sweep()
        lab.clock.advance(minutes=1)
    assert (fresh(run).outcome, len(lab.calls)) == ("errored", 4)


def test_tries_of_one_step_do_not_count_for_the_next(lab: Lab) -> None:
    attempts: list[int] = []

    def once(run: Any, obj: Any) -> None:
        attempts.append(run.attempt)
        if run.attempt == 1:
            raise Retry(after=1)

    lab.on("a", once)
    run = start(think("a"), think("a"))
    for _ in range(3):
        sweep()
        lab.clock.advance(seconds=1)
    assert (fresh(run).outcome, attempts) == ("complete", [1, 2, 1, 2])


# Times, events and children


def test_run_continues_when_its_time_has_come_and_not_before(lab: Lab) -> None:
    wait(lab, until=timedelta(days=2))
    run = start(think("wait"), write("after"))
    sweep()
    assert fresh(run).wait_until == lab.clock.now() + timedelta(days=2)
    lab.clock.advance(days=1, hours=23)
    assert sweep() == 0
    lab.clock.advance(hours=1)
    assert sweep() == 1
    row = fresh(run)
    assert (row.outcome, row.state["woken by"], row.wait_until) == ("complete", "time", None)


@pytest.mark.parametrize("make", [think, write, send])
@pytest.mark.parametrize(
    "options", [{"until": timedelta(days=1)}, {"trigger": "lab.paid"}, {"trigger": "lab.x"}]
)
def test_what_woke_a_step_is_not_seen_by_the_step_after_it(
    lab: Lab, make: Any, options: Any
) -> None:
    lab.on("before", lambda run, obj: run.suspend(timeout=86_400, **options))
    wait(lab, trigger="lab.paid")
    run = start(think("before"), make("wait"))
    sweep()
    if "lab.paid" in options.values():
        event(amount=1)
    lab.clock.advance(days=1)
    sweep()
    assert (fresh(run).status, fresh(run).state) == (Status.WAITING, {})
    event(amount=2)
    sweep()
    row = fresh(run)
    assert (row.outcome, row.state["payload"]) == ("complete", {"amount": 2})


@pytest.mark.parametrize("make", [think, write, send])
def test_timer_of_a_retry_is_no_wakeup(lab: Lab, make: Any) -> None:
    """Not where an operator ends it early either."""
    seen: list[Any] = []

    def work(run: Any, obj: Any) -> Any:
        seen.append(run.wakeup and run.wakeup.kind)
        if run.wakeup is None:
            if len(seen) < 3:
                raise Retry(after=60)
            return run.suspend(trigger="lab.paid", repeat=True)
        return None

    lab.on("wait", work)
    run = start(make("wait"))
    sweep()
    lab.clock.advance(minutes=1)
    sweep()
    operate.run_now(run)
    sweep()
    assert (fresh(run).status, seen) == (Status.WAITING, [None, None, None])
    event(amount=2)
    sweep()
    assert (fresh(run).outcome, seen[3:]) == ("complete", ["trigger"])


def test_what_woke_a_step_is_there_although_its_action_was_missing(lab: Lab) -> None:
    wait(lab, trigger="lab.paid")
    run = start(think("wait"))
    sweep()
    event(amount=3)
    with without_actions():
        sweep()
        assert fresh(run).status == Status.BLOCKED
    sweep()
    assert fresh(run).state["payload"] == {"amount": 3}


def test_run_gives_up_waiting_at_its_time_out(lab: Lab) -> None:
    wait(lab, trigger="lab.paid", timeout=60)
    run = start(think("wait"))
    sweep()
    assert fresh(run).due_at == lab.clock.now() + timedelta(seconds=60)
    lab.clock.advance(seconds=60)
    sweep()
    assert fresh(run).state["woken by"] == "timeout"


def test_event_that_came_before_the_wait_wakes_the_run(lab: Lab) -> None:
    wait(lab, trigger="lab.paid")
    run = start(think("wait"))
    event(amount=5)
    sweep()
    sweep()
    row = fresh(run)
    assert (row.outcome, row.state["payload"]) == ("complete", {"amount": 5})


def test_event_that_came_before_the_run_does_not_wake_it(lab: Lab) -> None:
    wait(lab, trigger="lab.paid")
    event()
    lab.clock.advance(seconds=1)
    run = start(think("wait"))
    for _ in range(3):
        sweep()
    assert (fresh(run).status, fresh(run).due_at) == (Status.WAITING, None)


def test_event_that_comes_later_wakes_the_run(lab: Lab) -> None:
    wait(lab, trigger="lab.paid")
    run = start(think("wait"))
    sweep()
    event(amount=7)
    sweep()
    assert fresh(run).state["payload"] == {"amount": 7}


def test_each_event_wakes_a_run_once(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    run = start(think("wait"), think("wait"), think("wait"))
    event()
    for _ in range(4):
        sweep()
    assert fresh(run).cursor[0]["step"] == "s2"
    event()
    for _ in range(4):
        sweep()
    assert fresh(run).cursor[0]["step"] == "s3"


def test_event_of_another_object_does_not_wake_the_run(lab: Lab) -> None:
    mine, other = Customer.objects.create(name="a"), Customer.objects.create(name="b")
    wait(lab, trigger="lab.paid")
    run = create_flowrun(publish(think("wait")), mine)
    sweep()
    event(other)
    event(None)
    for _ in range(2):
        sweep()
    assert fresh(run).status == Status.WAITING
    event(mine)
    sweep()
    assert fresh(run).outcome == "complete"


def test_run_may_wait_for_the_event_of_any_object(lab: Lab) -> None:
    mine, other = Customer.objects.create(name="a"), Customer.objects.create(name="b")
    wait(lab, trigger="lab.paid", match_object=False)
    run = create_flowrun(publish(think("wait")), mine)
    sweep()
    event(other)
    sweep()
    assert fresh(run).outcome == "complete"


def test_spurious_claim_puts_the_run_back_as_it_was(lab: Lab) -> None:
    wait(lab, until=timedelta(days=2), trigger="lab.paid")
    run = start(think("wait"))
    sweep()
    before = fresh(run)
    FlowRun.objects.filter(pk=run.pk).update(due_at=lab.clock.now())
    sweep()
    after = fresh(run)
    assert lab.calls == ["wait"]
    names = ("status", "due_at", "wait_until", "wait_trigger", "cursor", "since", "attempt")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
    assert len(events(run)) == 1


def test_worker_that_dies_while_a_run_begins_to_wait_loses_no_event(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(lab, trigger="lab.paid")
    run = start(think("wait"))

    def die(run: FlowRun) -> None:
        event()
        raise WorkerDied

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "recheck_wait", die)
        with pytest.raises(WorkerDied):
            sweep()
    TriggerEvent.objects.update(undelivered_since=None)
    sweep()
    assert fresh(run).outcome == "complete"


def test_parent_continues_with_the_outcome_and_state_of_its_child(lab: Lab) -> None:
    child_flow = publish(think("child"), key="child")
    lab.on("child", lambda run, obj: run.state.update(answer=42))

    def work(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(child=create_flowrun(child_flow), repeat=True)
        run.state["result"] = [run.wakeup.kind, run.wakeup.outcome, dict(run.wakeup.result)]
        return None

    lab.on("wait", work)
    parent = start(write("wait"))
    for _ in range(3):
        sweep()
    assert fresh(parent).state == {"result": ["child", "complete", {"answer": 42}]}
    child = FlowRun.objects.get(parent_id=parent.pk)
    assert (child.depth, child.undelivered_since) == (1, None)


def test_parent_of_a_child_that_does_not_exist_continues(lab: Lab) -> None:
    wait(lab, child=uuid.uuid4())
    run = start(think("wait"))
    for _ in range(2):
        sweep()
    assert (fresh(run).outcome, fresh(run).state["woken by"]) == ("complete", "child")


def test_parent_is_woken_although_the_childs_worker_died(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_flow = publish(think("child"), key="child")

    def work(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(child=create_flowrun(child_flow), repeat=True)
        return None

    lab.on("wait", work)
    parent = start(write("wait"))
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "deliver_ends", Once(outbox.deliver_ends, WorkerDied()))
        with pytest.raises(WorkerDied):
            sweep()
    assert fresh(parent).status == Status.WAITING
    for _ in range(2):
        sweep()
    assert fresh(parent).outcome == "complete"


def test_event_is_there_for_an_external_call_that_has_to_be_repeated(lab: Lab) -> None:
    seen: list[Any] = []

    def work(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(trigger="lab.paid", repeat=True)
        seen.append(run.wakeup.payload["amount"])
        if len(seen) == 1:
            raise WorkerDied
        return None

    lab.on("wait", work)
    run = start(send("wait"))
    sweep()
    event(amount=3)
    with pytest.raises(WorkerDied):
        sweep()
    lab.clock.advance(hours=1)
    sweep()
    assert (fresh(run).outcome, seen) == ("complete", [3, 3])


def test_loop_variable_of_a_suspended_step_vanishes_with_it(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> Any:
        run.set_variable("seen", 1)
        return run.suspend(until=timedelta(days=1))

    lab.on("wait", work)
    run = start(think("wait"), think("last"))
    sweep()
    assert fresh(run).state == {"seen": 1}
    lab.clock.advance(days=1)
    sweep()
    assert fresh(run).state == {"n": 1}


def test_undelivered_message_is_found_by_the_sweep(lab: Lab) -> None:
    wait(lab, until=timedelta(days=2))
    run = start(think("wait"))
    sweep()
    now = lab.clock.now()
    Message.objects.create(run=run, kind=MessageKind.WAKE, created_at=now, undelivered_since=now)
    sweep()
    assert fresh(run).state["woken by"] == "operator"


def send_back_and_wait(run: Any, obj: Any) -> Any:
    """Wait for an event, while an operator sends the run to its last step."""
    if run.wakeup is None:
        operate.go_to_step(run.pk, "last")
    return run.suspend(trigger="lab.paid")


def test_message_to_a_run_that_begins_to_wait_is_not_lost(lab: Lab) -> None:
    lab.on("wait", send_back_and_wait)
    run = start(write("wait"), think("last", id="last"))
    for _ in range(2):
        sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["wait", "last"])


def test_message_that_came_while_a_run_was_paused_is_read_when_it_is_resumed(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=300)))
    run = start(think("wait"), think("last", id="last"))
    sweep()
    operate.pause(run)
    operate.go_to_step(run, "last")
    sweep()
    operate.resume(run)
    sweep()
    assert fresh(run).outcome == "complete"


@pytest.mark.parametrize("act", [operate.skip, operate.run_now])
def test_operator_action_while_a_run_looks_for_its_event_is_not_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, act: Any
) -> None:
    wait(lab, trigger="lab.paid")
    run = start(think("wait"), think("last"))
    original = outbox.matching_events

    def meanwhile(waiting: FlowRun) -> Any:
        monkeypatch.undo()
        act(waiting.pk)
        return original(waiting)

    monkeypatch.setattr(outbox, "matching_events", meanwhile)
    for _ in range(2):
        sweep()
    assert fresh(run).outcome == "complete"


def test_every_unfinished_run_has_a_wake_up(lab: Lab) -> None:
    """A time, a trigger, a child, a missing action, or an operator's pause."""
    lab.on("time", lambda run, obj: run.suspend(until=timedelta(days=2)))
    lab.on("trigger", lambda run, obj: run.suspend(trigger="lab.paid"))
    lab.on("fail", fail)
    child = publish(think("time"), key="child")
    lab.on("child", lambda run, obj: run.suspend(child=create_flowrun(child)))
    policy = RetryPolicy(attempts=3)
    steps = [think("time"), think("trigger"), write("child"), think("fail", retry=policy)]
    for number, one in enumerate(steps):
        start(one, key=f"flow-{number}")
    paused = start(think("time"), key="paused")
    operate.pause(paused)
    for _ in range(3):
        sweep()
    live = FlowRun.objects.live()
    assert live.count() == 6
    for row in live:
        assert row.due_at or row.wait_trigger or row.wait_child or row.status == Status.PAUSED, (
            row.__dict__
        )
    assert len(steps_of(paused)) == 0
