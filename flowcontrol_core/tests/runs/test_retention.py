"""What is pruned, and what never is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowcontrol_core.models import (
    BulkOperation,
    ConsumedSlot,
    FlowRun,
    FlowTrigger,
    Message,
    Outcome,
    Refusal,
    RunEvent,
    SkippedFiring,
    Status,
    TriggerEvent,
    Worker,
)
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations import retention
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.runs.queue import limits
from flowcontrol_core.runs.queue.claim import claim
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    Lab,
    event,
    fresh,
    publish,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


def finish(number: int, lab: Lab, **fields: Any) -> list[FlowRun]:
    """Let runs of a new flow end, a minute apart."""
    target = publish(think(), **fields)
    runs = []
    for _ in range(number):
        runs.append(create_flowrun(target))
        sweep()
        lab.clock.advance(minutes=1)
    return runs


def left() -> list[int]:
    return sorted(FlowRun.objects.values_list("pk", flat=True))


def test_nothing_is_pruned_by_default(lab: Lab) -> None:
    finish(2, lab)
    lab.clock.advance(days=5000)
    pruned = prune()
    assert (pruned.runs, pruned.history) == (0, 0)
    assert len(left()) == 2


def test_runs_that_ended_too_long_ago_are_deleted_with_their_history(
    lab: Lab, settings: Any
) -> None:
    settings.FLOWCONTROL = {"RETENTION_DAYS": 7}
    old, *_ = finish(1, lab)
    lab.clock.advance(days=7)
    (young,) = finish(1, lab, key="young")
    Message.objects.create(run_id=old.pk, kind="wake", created_at=lab.clock.now())
    assert prune().runs == 1
    assert left() == [young.pk]
    assert set(RunEvent.objects.values_list("run_id", flat=True)) == {young.pk}
    assert not Message.objects.exists()


def test_a_flow_may_keep_its_runs_longer_or_shorter_than_the_others(
    lab: Lab, settings: Any
) -> None:
    settings.FLOWCONTROL = {"RETENTION_DAYS": 7}
    finish(1, lab, key="short", retention_days=1)
    (usual,) = finish(1, lab)
    (longer,) = finish(1, lab, key="long", retention_days=100)
    lab.clock.advance(days=2)
    prune()
    assert left() == [usual.pk, longer.pk]
    lab.clock.advance(days=10)
    prune()
    assert left() == [longer.pk]


def test_the_newest_runs_of_each_flow_are_kept(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"RETENTION_RUNS": 2}
    runs = finish(5, lab)
    others = finish(3, lab, key="other", retention_runs=1)
    assert prune().runs == 5
    assert left() == [*(run.pk for run in runs[3:]), others[2].pk]


def test_of_runs_that_ended_together_the_last_ones_are_kept(lab: Lab) -> None:
    target = publish(think(), retention_runs=2)
    runs = [create_flowrun(target) for _ in range(5)]
    sweep()
    prune()
    assert left() == [run.pk for run in runs[3:]]


def test_a_live_run_is_never_pruned(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=900)))
    run = start(think("wait"), retention_days=1, retention_runs=0)
    sweep()
    lab.clock.advance(days=800)
    assert prune().runs == 0
    assert fresh(run).status == Status.WAITING


def test_a_run_that_is_taken_up_while_it_is_about_to_be_pruned_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Any, obj: Any) -> None:
        raise ValueError("broken")

    lab.on("fail", fail)
    run = start(think("fail"), retention_days=1)
    sweep()
    assert fresh(run).outcome == Outcome.ERRORED
    lab.clock.advance(days=2)
    delete = retention._delete_runs

    def take_up_first(ids: list[int]) -> int:
        operate.retry(run.pk)
        return delete(ids)

    monkeypatch.setattr(retention, "_delete_runs", take_up_first)
    assert prune().runs == 0
    assert fresh(run).is_live


def test_an_awaited_child_is_kept_until_its_parent_has_seen_the_result(lab: Lab) -> None:
    child = publish(think(), key="child", retention_days=1)
    made: list[FlowRun] = []

    def begin(run: Any, obj: Any) -> Any:
        if run.wakeup is not None:
            run.state["seen"] = run.wakeup.result
            return None
        made.append(create_flowrun(child, parent=run, at=run.now + timedelta(days=1)))
        return run.suspend(child=made[0], repeat=True)

    lab.on("begin", begin)
    parent = start(write("begin"))
    sweep()
    operate.pause(parent.pk)
    sweep()
    operate.resume(made[0].pk)
    lab.clock.advance(days=1)
    sweep()
    assert fresh(made[0]).status == Status.DONE
    lab.clock.advance(days=3)
    assert prune().runs == 0
    operate.resume(parent.pk)
    sweep()
    assert fresh(parent).state["seen"] == {"n": 1}
    assert prune().runs == 1
    assert left() == [parent.pk]


def test_awaited_runs_do_not_hide_those_after_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    first, second = finish(2, lab, retention_days=1)
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=900)))
    waiting = start(think("wait"), key="waiting")
    sweep()
    FlowRun.objects.filter(pk=waiting.pk).update(wait_child=first.uuid)
    lab.clock.advance(days=2)
    assert prune().runs == 1
    assert left() == [first.pk, waiting.pk]
    assert second.pk not in left()


def test_pruning_stops_after_some_batches_and_continues_next_time(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    finish(5, lab, retention_days=1)
    lab.clock.advance(days=2)
    assert prune(batches=1).runs == 2
    assert prune(batches=2).runs == 3
    assert left() == []


def limited(customer: Customer) -> FlowRun:
    """Run the flow for the customer, and give the run as it stands."""
    run = create_flowrun("flow", customer)
    sweep()
    return fresh(run)


def test_the_slot_of_a_limit_on_all_runs_ever_outlives_its_run(lab: Lab) -> None:
    customer = Customer.objects.create(name="Ada")
    publish(think(), max_per_object=2, retention_days=1, object="shop.customer")
    first = limited(customer)
    lab.clock.advance(days=2)
    assert prune().runs == 1
    assert set(ConsumedSlot.objects.values_list("digest", flat=True)) == {first.slot_ever}
    assert limited(customer).outcome == Outcome.COMPLETE
    lab.clock.advance(days=2)
    assert prune().runs == 1
    assert ConsumedSlot.objects.count() == 2
    assert left() == []
    flow = first.flow
    reached = limits.reached(limits.limits_of(flow, first.about))
    assert reached == "max_per_object"


def test_a_run_pruned_between_two_reads_of_the_limit_still_counts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = Customer.objects.create(name="Ada")
    flow = publish(think(), max_per_object=1, retention_days=1, object="shop.customer")
    first = limited(customer)
    lab.clock.advance(days=2)
    asked = ConsumedSlot.objects.using
    pruned: list[int] = []

    def prune_first(alias: str) -> Any:
        # The runs have been read, and the consumed slots not yet.
        if not pruned:
            pruned.append(0)
            pruned[0] = prune().runs
        return asked(alias)

    monkeypatch.setattr(ConsumedSlot.objects, "using", prune_first)
    about = limits.limits_of(flow, first.about)
    assert limits.reached(about) == "max_per_object"
    assert pruned == [1]
    assert limits.reached(about) == "max_per_object"


def test_a_run_pruned_between_the_read_of_the_slots_and_the_write_still_counts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = Customer.objects.create(name="Ada")
    flow = publish(think(), max_per_object=1, object="shop.customer")
    run = create_flowrun(flow, customer)
    (claimed,) = claim(1)
    (limit,) = limits.limits_of(flow, run.about)
    read = limits._free

    def consume_after(limit: limits.Limit) -> list[str]:
        # Another run takes the slot that is free, ends, and is pruned.
        free = read(limit)
        ConsumedSlot.objects.bulk_create([ConsumedSlot(digest=digest) for digest in free])
        return free

    monkeypatch.setattr(limits, "_free", consume_after)
    assert limits.take_slots(claimed, flow) == limit.name
    run.refresh_from_db()
    assert run.slot_ever is None


def test_history_may_go_before_its_run(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"RETENTION_HISTORY_DAYS": 3}
    (run,) = finish(1, lab)
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=900)))
    live = start(think("wait"), key="live")
    sweep()
    lab.clock.advance(days=4)
    assert prune().history == 1
    assert fresh(run).status == Status.DONE
    assert set(RunEvent.objects.values_list("run_id", flat=True)) == {live.pk}


def test_an_event_that_a_live_run_could_still_take_is_kept(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=900)))
    event()
    lab.clock.advance(hours=1)
    run = start(think("wait"))
    seen = event()
    sweep()
    lab.clock.advance(days=40)
    assert prune().events == 1
    assert TriggerEvent.objects.get() == seen
    operate.cancel(run.pk)
    assert prune().events == 1


def test_old_firings_workers_and_finished_bulk_operations_are_deleted(lab: Lab) -> None:
    now = lab.clock.now()
    association = FlowTrigger.objects.create(flow=publish(think()), trigger="lab.paid")
    Worker.objects.all().delete()
    for days in (31, 29):
        then = now - timedelta(days=days)
        SkippedFiring.objects.create(
            flow_trigger=association, reason=Refusal.values[0], created_at=then
        )
        Worker.objects.create(name=f"w{days}", host="h", pid=1, started_at=then, last_sweep_at=then)
        BulkOperation.objects.create(
            operator_action="cancel", up_to=1, created_at=then, finished_at=then
        )
    BulkOperation.objects.create(
        operator_action="cancel", up_to=1, created_at=now - timedelta(days=99)
    )
    pruned = prune()
    assert (pruned.skipped_firings, pruned.workers, pruned.bulk_operations) == (1, 1, 1)
    assert Worker.objects.get().name == "w29"
    assert BulkOperation.objects.count() == 2
