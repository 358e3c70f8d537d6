"""Queues, fair turns, and limits whose slots a run's own ancestors have."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowcontrol_core.models import Flow, FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns, due_by_queue
from flowcontrol_core.runs.queue.claim import Choice, claim
from tests.shop.models import Customer

from .conftest import Lab, counted, fresh, publish, sweep, think, write

pytestmark = pytest.mark.django_db(transaction=True)


def make(number: int, key: str = "flow", **fields: Any) -> list[FlowRun]:
    flow = publish(think(key), key=key, **fields)
    return [create_flowrun(flow) for _ in range(number)]


def test_a_claim_takes_only_runs_of_its_queues(lab: Lab) -> None:
    make(1)
    (slow,) = make(1, "slow", queue="slow")
    (other,) = make(1, "other", queue="other")
    taken = claim(10, Choice(queues=("slow", "other", "none")))
    assert {run.pk for run in taken} == {slow.pk, other.pk}


def test_a_sweep_without_queues_executes_all_of_them(lab: Lab) -> None:
    make(1)
    make(1, "slow", queue="slow")
    assert sweep() == 2


def test_a_sweep_of_a_queue_leaves_the_others_alone_and_has_no_more(lab: Lab) -> None:
    (usual,) = make(1)
    make(1, "slow", queue="slow")
    result = continue_flowruns(queues=["slow"])
    assert (result.executed, result.more) == (1, False)
    assert fresh(usual).status == Status.PENDING


def test_a_run_stays_in_the_queue_that_its_flow_had_when_it_was_created(lab: Lab) -> None:
    (run,) = make(1, queue="slow")
    Flow.objects.update(queue="fast")
    assert fresh(run).queue == "slow"
    assert create_flowrun("flow").queue == "fast"


def test_celery_is_given_the_due_runs_by_queue(lab: Lab) -> None:
    usual = make(2)
    slow = make(1, "slow", queue="slow")
    assert due_by_queue(10) == {
        "default": [run.pk for run in usual],
        "slow": [run.pk for run in slow],
    }


def test_thousands_of_due_runs_of_one_flow_do_not_keep_another_waiting(
    lab: Lab, settings: Any
) -> None:
    settings.FLOWCONTROL = {"CLAIM_BATCH": 10}
    make(60, "many")
    lab.clock.advance(minutes=1)
    make(1, "one")
    sweep()
    assert lab.calls.index("one") == 10, "right after the first batch"
    assert len(lab.calls) == 61


def test_several_busy_flows_do_not_keep_a_quiet_one_waiting_either(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"CLAIM_BATCH": 10}
    busy = [publish(think(key), key=key) for key in ("a", "b", "c")]
    for _ in range(20):
        for flow in busy:
            create_flowrun(flow)
    lab.clock.advance(minutes=1)
    make(2, "quiet")
    sweep()
    assert lab.calls[10:12] == ["quiet", "quiet"]
    assert len(lab.calls) == 62


def test_a_flow_that_is_alone_pays_one_query_a_batch_for_it(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"CLAIM_BATCH": 10}
    make(50)
    with counted() as counts:
        assert sweep() == 50
    reads = [sql for sql in counts.queries if "NOT" in sql and "due_at" in sql and "flow_id" in sql]
    assert len(reads) <= 5


def test_a_sweep_of_some_queues_stays_in_them_when_it_takes_turns(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"CLAIM_BATCH": 5}
    make(20, "many", queue="slow")
    make(3, "other")
    continue_flowruns(queues=["slow"])
    assert set(lab.calls) == {"many"}


@pytest.mark.parametrize("policy", ["queue", "replace"])
@pytest.mark.parametrize("limit", ["max_concurrent", "max_concurrent_per_object"])
def test_a_run_whose_ancestor_has_the_slot_is_refused_instead_of_waiting_for_ever(
    lab: Lab, policy: str, limit: str
) -> None:
    customer = Customer.objects.create(name="Ada")
    limits: dict[str, Any] = {limit: 1}

    def begin(run: Any, obj: Any) -> Any:
        return run.suspend(child=create_flowrun("between", obj, parent=run))

    lab.on("begin", begin)
    lab.on("again", lambda run, obj: run.suspend(child=create_flowrun("flow", obj, parent=run)))
    publish(write("again"), key="between", object="shop.customer")
    limits[f"{limit}_policy"] = policy
    publish(write("begin"), object="shop.customer", **limits)
    run = create_flowrun("flow", customer)
    for _ in range(4):
        sweep()
        lab.clock.advance(minutes=2)
    below = FlowRun.objects.get(parent__parent=run)
    assert below.outcome == Outcome.CANCELED
    assert below.reason_code == "limit_of_ancestor"
    assert below.reason.startswith(f"The limit {limit} of the flow is reached (1), ")
    assert below.reason.endswith("and a run that started this one has the slot.")
    assert fresh(run).outcome == Outcome.COMPLETE


def test_a_run_about_another_object_than_its_ancestors_is_not_refused(lab: Lab) -> None:
    first = Customer.objects.create(name="Ada")
    second = Customer.objects.create(name="Bob")

    def begin(run: Any, obj: Any) -> Any:
        if run.depth:
            return None
        return run.suspend(child=create_flowrun("flow", second, parent=run))

    lab.on("begin", begin)
    publish(
        write("begin"),
        max_concurrent_per_object=1,
        max_concurrent_per_object_policy="queue",
        object="shop.customer",
    )
    create_flowrun("flow", first)
    for _ in range(3):
        sweep()
    assert list(FlowRun.objects.values_list("outcome", flat=True)) == [Outcome.COMPLETE] * 2


def test_a_stranger_for_the_same_object_queues_until_the_slot_is_free(lab: Lab) -> None:
    customer = Customer.objects.create(name="Ada")
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    flow = publish(
        think("wait"),
        max_concurrent_per_object=1,
        max_concurrent_per_object_policy="queue",
        object="shop.customer",
    )
    first, second = create_flowrun(flow, customer), create_flowrun(flow, customer)
    sweep()
    assert fresh(second).status == Status.PENDING
    lab.clock.advance(days=1)
    for _ in range(2):
        sweep()
    assert fresh(first).outcome == Outcome.COMPLETE
    assert fresh(second).status == Status.WAITING
