"""Promise 8: limits are kept, and a run that is refused says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.flows.lifecycle import POLICIES
from flowcontrol_core.models import Flow, FlowRun, LimitPolicy, Status
from flowcontrol_core.runs.execution import admission
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.queue import limits, outbox
from flowcontrol_core.runs.queue.claim import claim
from flowcontrol_core.runs.store.rows import LostLease
from tests import operate
from tests.shop.models import Customer, Voucher

from .conftest import Lab, events, execute, fresh, publish, sweep, think

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _waiting(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))


def limited(policy: LimitPolicy = LimitPolicy.SKIP, **most: Any) -> Flow:
    policies = dict.fromkeys(POLICIES, policy)
    return publish(think("wait"), **policies, **most)


def create(flow: Flow, obj: Any = None) -> FlowRun:
    """Create a run past the check that spares most refused rows, as two at once would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "reached", lambda limits: "")
        return create_flowrun(flow, obj)


def statuses(*runs: FlowRun) -> list[str]:
    return [fresh(run).outcome or fresh(run).status for run in runs]


def test_run_too_many_ends_at_once_with_the_reason(lab: Lab) -> None:
    flow = limited(max_concurrent=2)
    runs = [create(flow) for _ in range(3)]
    sweep()
    assert sorted(statuses(*runs)) == ["canceled", "waiting", "waiting"]
    (refused,) = FlowRun.objects.filter(outcome="canceled")
    assert refused.reason == "The limit max_concurrent of the flow is reached (2)."
    assert (refused.slot, refused.started_at) == (None, None)
    assert [event.kind for event in events(refused)] == ["refused"]


@pytest.mark.django_db(transaction=True)
def test_most_runs_too_many_are_refused_before_there_is_a_row(lab: Lab) -> None:
    flow = limited(max_concurrent=1)
    start_flowrun(flow)
    with pytest.raises(NotStartedError, match="The limit max_concurrent") as caught:
        create_flowrun(flow)
    assert caught.value.reason == "limit"
    assert FlowRun.objects.count() == 1


def test_limit_per_object_counts_each_object_apart(lab: Lab) -> None:
    flow = limited(max_concurrent_per_object=1)
    ada, eve = Customer.objects.create(name="Ada"), Customer.objects.create(name="Eve")
    runs = [create(flow, ada), create(flow, eve), create(flow, ada), create(flow), create(flow)]
    sweep()
    assert statuses(*runs) == ["waiting", "waiting", "canceled", "waiting", "waiting"]


def test_keys_that_differ_in_case_or_spaces_are_different_objects(lab: Lab) -> None:
    flow = limited(max_concurrent_per_object=1)
    voucher = Voucher.objects.create(code="abc")
    runs = [create(flow, voucher) for _ in range(4)]
    for run, key in zip(runs, ("abc", "ABC", "abc ", "abc"), strict=True):
        FlowRun.objects.filter(pk=run.pk).update(object_key=key)
    sweep()
    assert statuses(*runs) == ["waiting", "waiting", "waiting", "canceled"]


def test_limit_ever_counts_finished_runs_too(lab: Lab) -> None:
    flow = limited(LimitPolicy.QUEUE, max_per_object=2)
    ada = Customer.objects.create(name="Ada")
    for _ in range(2):
        create(flow, ada)
        sweep()
        lab.clock.advance(days=1)
        sweep()
    refused = create(flow, ada)
    sweep()
    assert statuses(*FlowRun.objects.order_by("pk")) == ["complete", "complete", "canceled"]
    assert "max_per_object" in fresh(refused).reason


@pytest.mark.parametrize("end", ["complete", "canceled", "errored"])
@pytest.mark.django_db(transaction=True)
def test_queued_run_continues_as_soon_as_a_slot_is_free(lab: Lab, end: str) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent=1)
    first, second, third = (create(flow) for _ in range(3))
    sweep()
    assert statuses(first, second, third) == ["waiting", "pending", "pending"]
    assert fresh(second).reason == "Queued: the limit max_concurrent of the flow is reached (1)."
    if end == "canceled":
        operate.cancel(first)
    else:
        FlowRun.objects.filter(pk=first.pk).update(
            due_at=lab.clock.now(), **({"state": []} if end == "errored" else {})
        )
        FlowRun.objects.filter(pk=first.pk).update(wait_until=lab.clock.now())
        sweep()
    sweep()
    assert statuses(first, second, third) == [end, "waiting", "pending"]
    assert fresh(second).reason == ""


@pytest.mark.django_db(transaction=True)
def test_two_slots_that_become_free_wake_two(lab: Lab) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent=2)
    runs = [create(flow) for _ in range(4)]
    sweep()
    for run in runs[:2]:
        operate.cancel(run)
    sweep()
    assert statuses(*runs) == ["canceled", "canceled", "waiting", "waiting"]


@pytest.mark.django_db(transaction=True)
def test_free_slot_of_an_object_wakes_the_run_that_queues_for_that_object(lab: Lab) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent_per_object=1)
    ada, eve = Customer.objects.create(name="Ada"), Customer.objects.create(name="Eve")
    runs = [create(flow, obj) for obj in (ada, eve, ada, eve)]
    sweep()
    assert statuses(*runs) == ["waiting", "waiting", "pending", "pending"]
    operate.cancel(runs[1])
    sweep()
    assert statuses(*runs) == ["waiting", "canceled", "pending", "waiting"]


@pytest.mark.django_db(transaction=True)
def test_free_slot_passes_those_by_that_the_limit_of_their_object_keeps(lab: Lab) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent=2, max_concurrent_per_object=1)
    objects = [Customer.objects.create(name=name) for name in ("Ada", "Bob", "Eve")]
    ada, bob = (create(flow, obj) for obj in objects[:2])
    sweep()
    queued = [create(flow, obj) for obj in (*objects[:1] * 3, objects[2], objects[2])]
    sweep()
    lab.clock.advance(seconds=1)
    operate.cancel(bob)
    assert sweep() == 2, "the first in the queue, and the first that can use the slot"
    assert statuses(ada, *queued) == ["waiting", *["pending"] * 3, "waiting", "pending"]


def test_queue_of_which_none_can_use_a_free_slot_is_checked_once_a_minute(lab: Lab) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent=3, max_concurrent_per_object=1)
    objects = [Customer.objects.create(name=name) for name in ("Ada", "Eve")]
    for obj in objects * 5:
        create(flow, obj)
        lab.clock.advance(seconds=7)
        sweep()
    checks = 0
    for _ in range(50):
        lab.clock.advance(seconds=6)
        checks += sweep()
    assert 8 * 5 <= checks <= 8 * 6


def test_slot_that_becomes_free_while_a_run_is_refused_is_not_left_free(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent=1)
    first = create(flow)
    sweep()
    refuse = admission._refuse

    def end_and_refuse(run: FlowRun, *args: Any) -> None:
        monkeypatch.setattr(admission, "_refuse", refuse)
        operate.cancel(first)
        outbox.wake_queued(fresh(first))
        refuse(run, *args)

    monkeypatch.setattr(admission, "_refuse", end_and_refuse)
    second = create(flow)
    sweep()
    assert statuses(first, second) == ["canceled", "waiting"]


def test_queued_run_is_checked_again_although_it_was_not_notified(lab: Lab) -> None:
    flow = limited(LimitPolicy.QUEUE, max_concurrent=1)
    first, second = create(flow), create(flow)
    sweep()
    FlowRun.objects.filter(pk=first.pk).delete()
    lab.clock.advance(seconds=60)
    sweep()
    assert statuses(second) == ["waiting"]


def test_new_run_replaces_the_oldest(lab: Lab) -> None:
    flow = limited(LimitPolicy.REPLACE, max_concurrent=1)
    first = create(flow)
    sweep()
    second = create(flow)
    for _ in range(3):
        sweep()
    assert statuses(first, second) == ["canceled", "waiting"]
    assert fresh(first).reason == f"Replaced by run {second.pk}."


def test_new_run_replaces_the_oldest_of_its_own_object(lab: Lab) -> None:
    flow = limited(LimitPolicy.REPLACE, max_concurrent_per_object=1)
    ada, eve = Customer.objects.create(name="Ada"), Customer.objects.create(name="Eve")
    runs = [create(flow, ada), create(flow, eve)]
    sweep()
    runs.append(create(flow, eve))
    for _ in range(3):
        sweep()
    assert statuses(*runs) == ["waiting", "canceled", "waiting"]


@pytest.mark.parametrize("most", [1, 2])
def test_of_several_new_runs_only_the_newest_replace_others(lab: Lab, most: int) -> None:
    flow = limited(LimitPolicy.REPLACE, max_concurrent=most)
    old = [create(flow) for _ in range(most)]
    sweep()
    lab.calls.clear()
    new = [create(flow) for _ in range(4)]
    for _ in range(3):
        sweep()
    assert statuses(*old) == ["canceled"] * most
    assert statuses(*new) == ["canceled"] * (4 - most) + ["waiting"] * most
    assert lab.calls == ["wait"] * most
    assert fresh(new[0]).reason == f"Replaced by run {new[-1].pk}."


def test_run_that_queues_to_replace_another_is_replaced_itself_by_a_newer_one(lab: Lab) -> None:
    flow = limited(LimitPolicy.REPLACE, max_concurrent=1)
    old = create(flow)
    sweep()
    lab.clock.advance(seconds=1)
    queued = create(flow)
    execute(claim(1))
    assert statuses(old, queued) == ["waiting", "pending"]
    newest = create(flow)
    lab.clock.advance(seconds=1)
    for _ in range(3):
        sweep()
    assert statuses(old, queued, newest) == ["canceled", "canceled", "waiting"]
    assert fresh(queued).started_at is None


def test_older_run_that_is_retried_does_not_replace_a_newer_one(lab: Lab) -> None:
    lab.on("fail", lambda run, obj: 1 / 0)
    flow = publish(think("fail"), think("wait"), max_concurrent=1, max_concurrent_policy="replace")
    older = create(flow)
    sweep()
    lab.on("fail", lambda run, obj: None)
    newer = create(flow)
    sweep()
    operate.retry(older)
    for _ in range(3):
        sweep()
    assert statuses(older, newer) == ["canceled", "waiting"]
    assert fresh(older).reason == f"Replaced by run {newer.pk}."


@pytest.mark.parametrize("hindrance", ["later", "paused"])
def test_newer_run_that_does_not_begin_now_replaces_none(lab: Lab, hindrance: str) -> None:
    flow = limited(LimitPolicy.REPLACE, max_concurrent=1)
    old = create(flow)
    sweep()
    run = create(flow)
    newest = create_flowrun(flow, at=lab.clock.now() + timedelta(days=1))
    if hindrance == "paused":
        operate.pause(newest)
    for _ in range(3):
        sweep()
    assert statuses(old, run) == ["canceled", "waiting"]


@pytest.mark.parametrize("status", [Status.WAITING, Status.PAUSED, Status.BLOCKED])
def test_run_that_is_not_done_keeps_its_slot(lab: Lab, status: Status) -> None:
    flow = limited(max_concurrent=1)
    run = create(flow)
    sweep()
    FlowRun.objects.filter(pk=run.pk).update(status=status)
    refused = create(flow)
    sweep()
    assert statuses(refused) == ["canceled"]


def test_slot_that_another_run_takes_at_the_same_time_is_not_taken_twice(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that does not see the other run's slot, as at REPEATABLE READ."""
    flow = limited(max_concurrent=2)
    first = create(flow)
    sweep()
    taken = fresh(first).slot
    real, stale = limits._free, [True]

    def free(limit: limits.Limit) -> list[str]:
        return [str(taken)] if stale and stale.pop() else real(limit)

    monkeypatch.setattr(limits, "_free", free)
    second = create(flow)
    sweep()
    assert statuses(first, second) == ["waiting", "waiting"]
    assert fresh(second).slot not in (None, taken)


def test_worker_that_is_late_takes_no_slot_for_a_run_that_another_has(lab: Lab) -> None:
    flow = limited(max_concurrent=1)
    run = create(flow)
    (late,) = claim(1)
    lab.clock.advance(hours=1)
    (present,) = claim(1)
    with pytest.raises(LostLease):
        limits.take_slots(late, flow)
    assert fresh(run).slot is None
    assert limits.take_slots(present, flow) == ""


def test_no_slot_is_taken_for_a_run_that_has_ended(lab: Lab) -> None:
    flow = limited(max_concurrent=1)
    run = create(flow)
    (late,) = claim(1)
    FlowRun.objects.filter(pk=run.pk).update(status=Status.DONE, outcome="canceled")
    with pytest.raises(LostLease):
        limits.take_slots(late, flow)
    assert fresh(run).slot is None


@pytest.mark.parametrize("limit", ["max_concurrent", "max_concurrent_per_object"])
def test_failed_run_that_is_retried_waits_for_a_slot(lab: Lab, limit: str) -> None:
    most: dict[str, Any] = {limit: 1}
    lab.on("fail", lambda run, obj: 1 / 0)
    ada = Customer.objects.create(name="Ada")
    flow = publish(think("fail"), think("wait"), **most)
    failed = create(flow, ada)
    sweep()
    assert statuses(failed) == ["errored"]
    lab.on("fail", lambda run, obj: run.suspend(until=timedelta(hours=1)))
    other = create(flow, ada)
    sweep()
    operate.retry(failed)
    sweep()
    assert statuses(failed, other) == ["pending", "waiting"]
    operate.cancel(other)
    lab.clock.advance(seconds=60)
    sweep()
    assert statuses(failed) == ["waiting"]


def test_new_limit_ends_no_run_that_has_begun(lab: Lab) -> None:
    flow = publish(think("wait"))
    ada = Customer.objects.create(name="Ada")
    runs = [create_flowrun(flow, ada) for _ in range(3)]
    sweep()
    Flow.objects.filter(pk=flow.pk).update(max_concurrent=1, max_per_object=1)
    lab.clock.advance(days=1)
    for _ in range(5):
        sweep()
        lab.clock.advance(minutes=1)
    assert statuses(*runs) == ["complete"] * 3
