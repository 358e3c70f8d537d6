"""A trigger wakes runs, sends them back to a step, and keeps events for those who wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from flowcontrol.engine import create_flowrun, trigger_flows
from flowcontrol.errors import Retry
from flowcontrol.testing import flow, publish_flow, step
from flowcontrol_core.models import (
    Flow,
    FlowRun,
    Message,
    Status,
    TriggerEvent,
)
from flowcontrol_core.runs.queue.outbox import matching_events
from tests import operate
from tests.shop.models import Customer

from .conftest import Lab, events, fresh, publish, republish, sweep, think
from .listeners import KEY, listener, refusals

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lab")]


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


def waiting(lab: Lab, target: Flow, obj: Any) -> FlowRun:
    lab.on("wait", lambda run, _: run.suspend(until=run.now.replace(year=2030)))
    run = create_flowrun(target, obj)
    sweep()
    assert fresh(run).status == Status.WAITING
    return run


def test_trigger_wakes_the_waiting_runs_of_its_object_only(ada: Customer, lab: Lab) -> None:
    target = publish(think("wait"), think())
    listener(flow=target, mode="wake")
    mine, other = (waiting(lab, target, obj) for obj in (ada, Customer.objects.create(name="Bob")))
    trigger_flows(KEY, ada)
    assert list(Message.objects.values_list("run_id", "kind")) == [(mine.pk, "wake")]
    sweep()
    assert (fresh(mine).outcome, fresh(other).status) == ("complete", Status.WAITING)


def test_trigger_sends_the_runs_of_its_object_back_to_a_step(ada: Customer, lab: Lab) -> None:
    target = publish(think("first", id="first"), think("wait"))
    listener(flow=target, mode="go_to", step="first")
    run = waiting(lab, target, ada)
    trigger_flows(KEY, ada)
    sweep()
    assert lab.calls == ["first", "wait", "first", "wait"]
    assert fresh(run).status == Status.WAITING


def test_trigger_sends_a_blocked_run_past_what_it_misses(ada: Customer, lab: Lab) -> None:
    target = publish(think(id="first"), think("wait"))
    listener(flow=target, mode="go_to", step="first")
    run = waiting(lab, target, ada)
    FlowRun.objects.update(status=Status.BLOCKED, blocked_on="gone.action", due_at=None)
    trigger_flows(KEY, ada)
    sweep()
    assert lab.calls == ["think", "wait", "think", "wait"]
    assert fresh(run).status == Status.WAITING


def note_payload(lab: Lab, *words: str) -> list[Any]:
    """Let steps with these words note what they and their expressions see of the payload."""
    seen: list[Any] = []
    for word in words:
        lab.on(word, lambda run, obj: seen.append((run.step, dict(run.payload))))
    return seen


@pytest.mark.parametrize("mode", ["go_to", "wake"])
def test_run_that_is_scheduled_is_sent_or_woken_with_the_payload(
    ada: Customer, lab: Lab, mode: str
) -> None:
    seen = note_payload(lab, "a", "b")
    target = publish(think("a", id="a"), think("b", id="b"))
    listener(flow=target, mode=mode, step="b" if mode == "go_to" else "")
    later = lab.clock.now() + timedelta(days=30)
    run = create_flowrun(target, ada, at=later, payload={"amount": 1})
    assert trigger_flows(KEY, ada, {"amount": 2}).notified == 1
    sweep()
    assert fresh(run).outcome == "complete"
    steps = [("b", {"amount": 2})] if mode == "go_to" else [(name, {"amount": 2}) for name in "ab"]
    assert seen == steps
    assert fresh(run).payload == {"amount": 2}


def test_run_that_queues_is_sent_to_the_step_once_it_has_its_slot(ada: Customer, lab: Lab) -> None:
    seen = note_payload(lab, "a", "b")
    limits: dict[str, Any] = {"max_concurrent": 1, "max_concurrent_policy": "queue"}
    target = publish(think("wait", id="w"), think("a", id="a"), think("b", id="b"), **limits)
    first = waiting(lab, target, Customer.objects.create(name="Bob"))
    listener(flow=target, mode="go_to", step="b")
    second = create_flowrun(target, ada)
    sweep()
    assert fresh(second).queued_at is not None
    trigger_flows(KEY, ada, {"amount": 2})
    sweep()
    assert fresh(second).status == Status.PENDING
    operate.cancel(first)
    lab.clock.advance(minutes=1)
    sweep()
    assert (fresh(second).outcome, seen) == ("complete", [("b", {"amount": 2})])


def test_payload_is_there_for_all_steps_to_come_and_after_a_retry(ada: Customer, lab: Lab) -> None:
    seen = note_payload(lab, "b", "c")
    note = lab.behaviours["b"]

    def retried(run: Any, obj: Any) -> None:
        note(run, obj)
        if run.attempt == 1:
            raise Retry(after=60)

    lab.on("b", retried)
    target = publish(think("wait"), think("b", id="b"), think("wait"), think("c", id="c"))
    run = waiting(lab, target, ada)
    listener(flow=target, mode="go_to", step="b")
    trigger_flows(KEY, ada, {"amount": 2})
    sweep()
    lab.clock.advance(minutes=1)
    sweep()
    operate.run_now(run)
    sweep()
    assert seen == [(name, {"amount": 2}) for name in ("b", "b", "c")]


def test_payload_of_the_event_that_wakes_a_wait_is_what_its_next_step_sees(
    ada: Customer, lab: Lab
) -> None:
    seen = note_payload(lab, "next")
    target = publish(think("wait"), think("next", id="next"))
    listener(flow=target, mode="wake")
    waiting(lab, target, ada)
    trigger_flows(KEY, ada, {"amount": 2})
    sweep()
    assert seen == [("next", {"amount": 2})]


def test_paused_run_is_woken_when_it_is_resumed(ada: Customer, lab: Lab) -> None:
    target = publish(think("wait"), think())
    listener(flow=target, mode="wake")
    run = waiting(lab, target, ada)
    operate.pause(run)
    trigger_flows(KEY, ada)
    sweep()
    assert fresh(run).status == Status.PAUSED
    operate.resume(run)
    sweep()
    assert fresh(run).outcome == "complete"


def test_step_that_the_version_lacks_is_refused_visibly_and_the_run_waits_on(
    ada: Customer, lab: Lab
) -> None:
    target = publish(think("wait"), think())
    run = waiting(lab, target, ada)
    republish(target, think("wait"), think(), think(id="new"))
    listener(flow=target, mode="go_to", step="new")
    trigger_flows(KEY, ada, {"amount": 2})
    sweep()
    row = fresh(run)
    assert (row.status, row.wait_until is not None, row.payload) == (Status.WAITING, True, {})
    assert [(event.kind, event.code) for event in events(run)][-1] == ("refused", "step_refused")


def test_runs_that_were_not_notified_are_not_passed_over_in_silence(
    ada: Customer, lab: Lab, settings: Any
) -> None:
    target = publish(think("wait"))
    listener(flow=target, mode="wake")
    runs = [waiting(lab, target, ada) for _ in range(3)]
    settings.FLOWCONTROL = {"MAX_FAN_OUT": 2}
    trigger_flows(KEY, ada)
    notified = set(Message.objects.values_list("run_id", flat=True))
    assert notified == {runs[0].pk, runs[1].pk}
    assert refusals() == ["fan_out"]


def test_event_is_stored_only_for_a_key_that_a_run_waits_for(ada: Customer) -> None:
    listener()
    trigger_flows(KEY, ada)
    assert TriggerEvent.objects.count() == 0
    publish_waiting()
    trigger_flows(KEY, ada, {"n": 1})
    event = TriggerEvent.objects.get()
    assert (event.object_key, event.payload) == (str(ada.pk), {"n": 1})


def publish_waiting() -> Flow:
    """Publish a flow that waits for the trigger."""
    return publish_flow(flow(step("builtin.wait_for_trigger", trigger=KEY)), key="waits")


def test_event_wakes_who_waits_for_it(ada: Customer) -> None:
    run = create_flowrun(publish_waiting(), ada)
    sweep()
    assert fresh(run).status == Status.WAITING
    trigger_flows(KEY, ada)
    assert matching_events(fresh(run)).count() == 1
    sweep()
    assert fresh(run).outcome == "complete"


def test_second_event_with_the_same_unique_key_is_ignored_and_recorded(ada: Customer) -> None:
    listener()
    assert len(trigger_flows(KEY, ada, unique_key="order-7")) == 1
    assert not trigger_flows(KEY, ada, unique_key="order-7")
    assert len(trigger_flows(KEY, ada, unique_key="order-8")) == 1
    assert refusals() == ["duplicate"]


def test_long_unique_keys_that_begin_alike_are_two(ada: Customer) -> None:
    listener()
    assert len(trigger_flows(KEY, ada, unique_key="x" * 300 + "1")) == 1
    assert len(trigger_flows(KEY, ada, unique_key="x" * 300 + "2")) == 1
    assert not trigger_flows(KEY, ada, unique_key="x" * 300 + "1")


def test_unique_keys_are_told_apart_byte_by_byte(ada: Customer) -> None:
    listener()
    started = [trigger_flows(KEY, ada, unique_key=key) for key in ("abc", "ABC", "abc ")]
    assert [len(runs) for runs in started] == [1, 1, 1]


def test_unique_key_of_a_rolled_back_event_is_free_again(ada: Customer) -> None:
    listener()
    with transaction.atomic():
        trigger_flows(KEY, ada, unique_key="once")
        transaction.set_rollback(True)
    assert len(trigger_flows(KEY, ada, unique_key="once")) == 1
