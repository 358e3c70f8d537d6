"""What the code that fires a trigger learns of it, and how long its unique key is free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from flowcontrol.engine import create_flowrun
from flowcontrol.testing import flow, publish_flow, step
from flowcontrol.triggers import FiringOutcome, trigger_flows
from flowcontrol_core.flows.lifecycle import deactivate
from flowcontrol_core.models import FlowRun, Status, TriggerEvent
from tests.shop.models import Customer

from .conftest import PAID, Lab, fresh, publish, sweep, think
from .listeners import KEY, listener, refusals

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lab")]


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


def wait_for_it(key: str = "waits", **config: Any) -> FlowRun:
    """Return a run that waits for the trigger, whatever object it comes with."""
    waits = step("builtin.wait_for_trigger", config={"trigger": KEY, **config})
    run = create_flowrun(publish_flow(flow(waits), key=key))
    sweep()
    assert fresh(run).status == Status.WAITING
    return run


# What became of it


def test_result_is_a_sequence_of_the_runs_that_were_started(ada: Customer) -> None:
    listener("a")
    listener("b")
    found = trigger_flows(KEY, ada)
    assert found.outcome is FiringOutcome.STARTED
    assert [run.flow.key for run in found] == ["a", "b"]
    assert (len(found), found[0], bool(found)) == (2, found.runs[0], True)


def test_result_tells_apart_unheard_refused_and_duplicate(ada: Customer) -> None:
    assert trigger_flows(KEY, ada).outcome is FiringOutcome.UNHEARD
    listener("a", condition="payload.amount > 10")
    deactivate(listener("b").flow)
    refused = trigger_flows(KEY, ada, {"amount": 1}, unique_key="7")
    assert (refused.outcome, len(refused)) == (FiringOutcome.REFUSED, 0)
    reasons = [(one.flow, one.reason, one.detail) for one in refused.refused]
    assert sorted(reasons) == [("a", "condition", "payload.amount > 10"), ("b", "inactive", "")]
    assert trigger_flows(KEY, ada, {"amount": 11}, unique_key="7").outcome == "started"
    again = trigger_flows(KEY, ada, {"amount": 11}, unique_key="7")
    assert (again.outcome, again.is_duplicate) == (FiringOutcome.DUPLICATE, True)
    assert {one.reason for one in again.refused} == {"duplicate"}


def test_result_counts_the_runs_that_were_woken_or_sent(ada: Customer, lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=30)))
    target = publish(think("wait"), think(id="last"))
    listener(flow=target, mode="wake")
    listener(flow=target, mode="go_to", step="last")
    assert trigger_flows(KEY, ada).outcome is FiringOutcome.REFUSED
    for _ in range(2):
        create_flowrun(target, ada)
    sweep()
    found = trigger_flows(KEY, ada)
    assert (found.outcome, found.notified) == (FiringOutcome.NOTIFIED, 2)


def test_event_for_a_run_that_waits_is_stored(ada: Customer) -> None:
    run = wait_for_it()
    found = trigger_flows(KEY, ada)
    assert (found.outcome, found.is_stored) == (FiringOutcome.STORED, True)
    sweep()
    assert fresh(run).outcome == "complete"


# The unique key


@pytest.mark.parametrize(
    "refuse",
    [
        lambda: listener(condition="payload.signature == 'right'"),
        lambda: listener(flow=publish(think(), object="shop.order")),
        lambda: deactivate(listener().flow),
        lambda: publish_flow(flow(step("builtin.wait_for_trigger", trigger=KEY)), key="waits"),
    ],
)
def test_event_that_nobody_takes_does_not_spend_its_key(
    ada: Customer, refuse: Callable[[], Any]
) -> None:
    refuse()
    for _ in range(2):
        assert not trigger_flows(KEY, ada, {"signature": "forged"}, unique_key="order-7")
    listener("right", condition="payload.signature == 'right'")
    assert len(trigger_flows(KEY, ada, {"signature": "right"}, unique_key="order-7")) == 1 + (
        FlowRun.objects.filter(flow__key="flow").count()
    )
    assert trigger_flows(KEY, ada, {"signature": "right"}, unique_key="order-7").is_duplicate
    assert TriggerEvent.objects.exclude(unique_key=None).count() == 1


def test_event_that_a_run_waits_for_spends_its_key(ada: Customer) -> None:
    run = wait_for_it(condition="payload.n == 2")
    assert trigger_flows(KEY, ada, {"n": 1}, unique_key="7").is_stored
    assert trigger_flows(KEY, ada, {"n": 2}, unique_key="7").is_duplicate
    sweep()
    assert fresh(run).status == Status.WAITING


def test_duplicate_is_one_even_where_it_would_be_refused_by_now(ada: Customer) -> None:
    target = listener()
    trigger_flows(KEY, ada, unique_key="7")
    deactivate(target.flow)
    assert trigger_flows(KEY, ada, unique_key="7").outcome == "duplicate"
    assert refusals() == ["duplicate"]


# Async code


def test_firing_in_an_event_loop_raises_and_says_what_to_call(ada: Customer) -> None:
    async def view() -> None:
        PAID(ada)

    with pytest.raises(SynchronousOnlyOperation, match=r"await its afire\(\)"):
        asyncio.run(view())
    for call in (PAID.is_listened_to, lambda: PAID.fire(ada), lambda: trigger_flows(KEY)):

        async def call_it(call: Any = call) -> None:
            call()

        with pytest.raises(SynchronousOnlyOperation):
            asyncio.run(call_it())


@pytest.mark.django_db(transaction=True)
def test_event_that_async_code_awaits_starts_a_run(ada: Customer) -> None:
    listener()

    async def view() -> None:
        await PAID.afire(ada, {"amount": 5}, unique_key="7")
        await PAID.afire(ada, {"amount": 5}, unique_key="7")
        # The one of the thread that has fired.
        await sync_to_async(connections.close_all)()

    asyncio.run(view())
    assert list(FlowRun.objects.values_list("payload", flat=True)) == [{"amount": 5}]


# Before and after the start, at one instant of the clock


def test_event_before_the_start_does_not_wake_the_run_at_the_same_instant(ada: Customer) -> None:
    target = publish_flow(flow(step("builtin.wait_for_trigger", trigger=KEY)), key="waits")
    trigger_flows(KEY, ada)
    run = create_flowrun(target, ada)
    sweep()
    assert fresh(run).status == Status.WAITING
    trigger_flows(KEY, ada)
    sweep()
    assert fresh(run).outcome == "complete"


def test_event_after_the_start_wakes_the_run_at_the_same_instant(ada: Customer) -> None:
    target = publish_flow(flow(step("builtin.wait_for_trigger", trigger=KEY)), key="waits")
    trigger_flows(KEY, ada)
    run = create_flowrun(target, ada)
    trigger_flows(KEY, ada)
    sweep()
    assert fresh(run).outcome == "complete"


def test_event_that_starts_a_run_is_not_the_one_that_it_waits_for(ada: Customer) -> None:
    target = publish_flow(flow(step("builtin.wait_for_trigger", trigger=KEY)), key="waits")
    listener(flow=target)
    (run,) = trigger_flows(KEY, ada)
    sweep()
    assert fresh(run).status == Status.WAITING
