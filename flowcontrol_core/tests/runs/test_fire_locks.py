"""While a transaction that has fired is open, no one else has to wait for it.

Two connections: the one fires and stays in its transaction, the other one works on the same flow,
flow trigger and objects. The database itself gives up waiting for a lock after two seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from flowcontrol.engine import create_flowrun, trigger_flows
from flowcontrol_core.flows.flow_triggers import change_trigger
from flowcontrol_core.flows.lifecycle import activate, deactivate
from flowcontrol_core.models import Flow, FlowRun, FlowTrigger, Message, SkippedFiring, TriggerEvent
from flowcontrol_core.runs.triggers.listeners import cache
from tests import operate
from tests.shop.models import Customer

from .conftest import Lab, publish, sweep, think
from .listeners import KEY, listener, refusals

pytestmark = [
    pytest.mark.real_connections,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("lab"),
]

_GIVE_UP = {
    "postgresql": "SET lock_timeout = '2s'",
    "mysql": "SET innodb_lock_wait_timeout = 2",
    "sqlite": "PRAGMA busy_timeout = 2000",
}


@pytest.fixture(autouse=True)
def _nothing_is_cached() -> Iterator[None]:
    cache.forget()
    yield
    cache.forget()


@pytest.fixture
def row_locks() -> None:
    """A database that locks rows; SQLite has one lock for all writers."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


@pytest.fixture
def elsewhere() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Do something on a second connection, to its end, and give what it gave."""

    def work_alone(work: Callable[[], Any]) -> Any:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_GIVE_UP[connection.vendor])
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as pool:
        yield lambda work: pool.submit(work_alone, work).result(timeout=30)


@pytest.fixture
def everything(lab: Lab, ada: Customer) -> FlowTrigger:
    """One firing that writes to each table: runs, messages, events and refusals."""
    lab.on("wait", lambda run, _: run.suspend(trigger=KEY, timeout=run.now.replace(year=2030)))
    flow = publish(think("wait", id="first"), think())
    Flow.objects.filter(pk=flow.pk).update(max_concurrent_per_object_policy="queue")
    flow.versions.update(waits_for=KEY)
    create_flowrun(flow, ada)
    sweep()
    association = listener(flow=flow)
    listener(flow=flow, mode="wake")
    listener(flow=flow, mode="go_to", step="first")
    listener(flow=flow, condition="False")
    return association


def fire(ada: Customer) -> None:
    trigger_flows(KEY, ada, {"n": 1})
    counts = [model.objects.count() for model in (FlowRun, Message, TriggerEvent, SkippedFiring)]
    assert all(counts), counts


Work = Callable[[FlowTrigger, Customer], Any]
WORKS: dict[str, Work] = {
    "save the flow": lambda association, ada: association.flow.save(),
    "deactivate and activate the flow": lambda association, ada: activate(
        deactivate(association.flow)
    ),
    "save the flow trigger": lambda association, ada: association.save(),
    "change the flow trigger": lambda association, ada: change_trigger(
        association, condition="object.name"
    ),
    "create an object of the type": lambda association, ada: Customer.objects.create(name="Bob"),
    "save the object itself": lambda association, ada: ada.save(),
    "fire for the same object": lambda association, ada: trigger_flows(KEY, ada, {"n": 2}),
    "start the flow for the object": lambda association, ada: create_flowrun(association.flow, ada),
    "sweep": lambda association, ada: sweep(),
    "cancel the run": lambda association, ada: operate.cancel(FlowRun.objects.earliest("pk")),
}


@pytest.mark.usefixtures("row_locks")
@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_open_transaction_that_fired_lets_no_one_wait(
    work: Work, everything: FlowTrigger, ada: Customer, elsewhere: Callable[..., Any]
) -> None:
    with transaction.atomic():
        fire(ada)
        elsewhere(lambda: work(everything, ada))


@pytest.mark.usefixtures("row_locks")
def test_lock_on_the_flow_would_be_noticed(
    everything: FlowTrigger, elsewhere: Callable[..., Any]
) -> None:
    with transaction.atomic():
        Flow.objects.select_for_update().get(pk=everything.flow_id)
        with pytest.raises(OperationalError):
            elsewhere(everything.flow.save)


@pytest.mark.usefixtures("row_locks")
@pytest.mark.parametrize("work", list(WORKS)[:7], ids=list(WORKS)[:7])
def test_firing_waits_for_no_open_transaction(
    work: str, everything: FlowTrigger, ada: Customer, elsewhere: Callable[..., Any]
) -> None:
    with transaction.atomic():
        WORKS[work](everything, ada)
        elsewhere(lambda: fire(ada))


@pytest.mark.usefixtures("row_locks")
def test_run_of_an_open_transaction_is_seen_by_no_other_sweep(
    ada: Customer, elsewhere: Callable[..., Any]
) -> None:
    listener()
    with transaction.atomic():
        trigger_flows(KEY, ada)
        assert elsewhere(sweep) == 0
    assert elsewhere(sweep) == 1


def test_event_that_happens_twice_at_once_starts_one_run(ada: Customer) -> None:
    association = listener()
    barrier = Barrier(4)

    def work(_: int) -> int:
        try:
            barrier.wait(timeout=20)
            return len(trigger_flows(KEY, ada, unique_key="order-7"))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=4) as pool:
        started = list(pool.map(work, range(4)))
    assert sorted(started) == [0, 0, 0, 1]
    assert FlowRun.objects.filter(flow=association.flow).count() == 1
    assert refusals() == ["duplicate"] * 3


def test_flow_trigger_made_by_another_thread_is_listened_to_at_once(
    ada: Customer, elsewhere: Callable[..., Any]
) -> None:
    assert not trigger_flows(KEY, ada)
    elsewhere(listener)
    assert len(trigger_flows(KEY, ada)) == 1
