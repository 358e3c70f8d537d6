"""Starting a flow for many objects: now, or as a bulk operation that the sweeps do."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from flowcontrol.errors import FlowcontrolError, NotStartedError, UnknownFlowError
from flowcontrol.models import BulkOperation, EventKind, FlowRun, RunEvent
from flowcontrol.runs import (
    refusal_text,
    start_bulk_operation,
    start_for_each,
    start_in_bulk,
    stop_bulk_operation,
)
from flowcontrol_core.flows.lifecycle import deactivate
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations import bulk, bulk_starts
from tests.shop.models import Customer, Parcel

from .conftest import Lab, publish, sweep, think

pytestmark = pytest.mark.django_db


def people(count: int) -> list[Customer]:
    return [Customer.objects.create(name=f"c{number}") for number in range(count)]


def done(operation: BulkOperation) -> BulkOperation:
    sweep()
    operation.refresh_from_db()
    return operation


def objects() -> set[str | None]:
    return set(FlowRun.objects.values_list("object_key", flat=True))


def test_each_object_gets_a_run_with_the_state_and_who_and_why(lab: Lab) -> None:
    flow, found = publish(think(), object="shop.customer"), people(3)
    result = start_for_each(flow, found, {"n": 1}, by="root", reason="a sale")
    assert (result.done, result.refused, result.total) == (3, 0, 3)
    assert not BulkOperation.objects.exists()
    assert objects() == {str(each.pk) for each in found}
    assert {run.state["n"] for run in FlowRun.objects.all()} == {1}
    events = RunEvent.objects.filter(kind=EventKind.OPERATOR)
    assert {(event.actor, str(event.message)) for event in events} == {
        ("root", "Started by hand. a sale")
    }


def test_refusals_are_counted_by_reason(lab: Lab) -> None:
    flow, found = publish(think(), object="shop.customer", max_per_object=1), people(3)
    start_for_each(flow, found[:2])
    sweep()
    result = start_for_each(flow, found)
    assert (result.done, result.refused) == (1, 2)
    (refusal,) = result.refusals
    assert (refusal["code"], refusal["count"]) == ("limit", 2)
    assert "max_per_object" in refusal_text(result, refusal)


def test_the_sweeps_start_many_in_chunks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    flow, found = publish(think(), object="shop.customer"), people(5)
    keys = [each.pk for each in found]
    operation = start_in_bulk(flow, Customer, keys, {"n": 1}, by="root", reason="a sale")
    assert (operation.total, operation.processed, FlowRun.objects.count()) == (5, 0, 0)
    first = bulk.work_on_bulk_operations()
    operation.refresh_from_db()
    assert (first, operation.done, operation.finished_at) == (2, 2, None)
    assert done(operation).finished_at is not None
    assert (operation.done, operation.refused) == (5, 0)
    assert objects() == {str(key) for key in keys}
    assert sweep() == 0


def test_keys_of_any_kind_are_found_and_gone_ones_are_refused(lab: Lab) -> None:
    flow = publish(think(), object="shop.parcel")
    parcel = Parcel.objects.create()
    operation = start_in_bulk(flow, Parcel, [parcel.pk, uuid.uuid4(), "no uuid"])
    assert (done(operation).done, operation.refused) == (1, 2)
    assert objects() == {str(parcel.pk)}
    assert "no longer exists" in refusal_text(operation, operation.refusals[0])


def test_what_starts_nothing_is_refused_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = publish(think(), object="shop.customer")
    monkeypatch.setattr(bulk_starts, "MOST_OBJECTS", 1)
    with pytest.raises(FlowcontrolError, match="At most 1 object"):
        start_in_bulk(flow, Customer, [1, 2])
    deactivate(flow)
    flow.refresh_from_db()
    with pytest.raises(NotStartedError):
        start_for_each(flow, [])
    with pytest.raises(UnknownFlowError):
        start_in_bulk("nosuch", Customer, [1])
    assert not BulkOperation.objects.exists()


def test_a_flow_that_is_deactivated_meanwhile_refuses_the_rest(lab: Lab) -> None:
    flow = publish(think(), object="shop.customer")
    operation = start_in_bulk(flow, Customer, [each.pk for each in people(2)])
    deactivate(flow)
    assert (done(operation).done, operation.refused) == (0, 2)
    assert operation.refusals[0]["code"] == "inactive"


def test_a_damaged_operation_is_finished_with_the_reason(lab: Lab) -> None:
    flow = publish(think(), object="shop.customer")
    operation = start_in_bulk(flow, Customer, [each.pk for each in people(1)])
    BulkOperation.objects.update(filters={"object_type": "shop.nosuch"})
    assert done(operation).finished_at is not None
    assert "no longer installed" in refusal_text(operation, operation.refusals[0])


def test_a_stopped_operation_does_no_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 1)
    flow = publish(think(), object="shop.customer")
    operation = start_in_bulk(flow, Customer, [each.pk for each in people(3)])
    bulk.work_on_bulk_operations()
    stop_bulk_operation(operation.pk, by="root")
    assert (done(operation).done, operation.stopped_by) == (1, "root")
    assert FlowRun.objects.count() == 1
    with pytest.raises(FlowcontrolError, match="has finished"):
        stop_bulk_operation(operation.pk)


def test_an_operation_knows_how_many_runs_it_is_about(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = publish(think(), object="shop.customer")
    start_for_each(flow, people(3))
    assert start_bulk_operation("cancel", {"flow__key": flow.key}).total == 3
    monkeypatch.setattr(bulk, "MOST_COUNTED", 2)
    assert start_bulk_operation("cancel", {"flow__key": flow.key}).total is None


def test_a_bug_in_one_start_does_not_stop_the_others(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def fail_once(*args: Any, **kwargs: Any) -> FlowRun:
        calls.append(args)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return create_flowrun(*args, **kwargs)

    monkeypatch.setattr(bulk_starts, "create_flowrun", fail_once)
    flow = publish(think(), object="shop.customer")
    operation = start_in_bulk(flow, Customer, [each.pk for each in people(2)])
    assert (done(operation).done, operation.refused, operation.failed) == (1, 0, 1)
    assert "a bug" in refusal_text(operation, operation.refusals[0])
