"""What firing costs, and how long what is known of the listeners is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django import forms
from django.db import connection, transaction
from django.db.models import OuterRef

from flowcontrol.engine import trigger_flows
from flowcontrol.registry import Trigger, registry
from flowcontrol_core.flows.flow_triggers import associate_trigger
from flowcontrol_core.models import Flow, FlowRun, FlowTrigger, FlowVersion, SkippedFiring
from flowcontrol_core.runs.triggers import listeners
from flowcontrol_core.runs.triggers.listeners import cache
from tests.shop.models import Customer

from .conftest import PAID, Lab, counted, publish, think
from .listeners import KEY, listener, outside_of_a_change

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lab")]


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


@pytest.fixture(autouse=True)
def _nothing_is_cached(lab: Lab) -> Iterator[None]:
    cache.forget()
    yield
    cache.forget()


def warm(obj: Any = None) -> None:
    """Let what is read once a process be read."""
    trigger_flows(KEY, obj)


def test_firing_without_a_listener_costs_no_query(ada: Customer) -> None:
    outside_of_a_change()
    PAID.fire(ada)
    with counted() as counts:
        PAID.fire(ada, {"amount": 1})
        assert not PAID.is_listened_to()
    assert counts.sql == []


@pytest.mark.parametrize("number", [1, 10, 100])
@pytest.mark.parametrize("options", [{}, {"max_concurrent": 3, "max_concurrent_per_object": 3}])
def test_any_number_of_flows_costs_four_queries_at_most(
    ada: Customer, number: int, options: dict[str, Any]
) -> None:
    make_listeners(number, **options)
    warm(ada)
    FlowRun.objects.all().delete()
    with counted() as counts:
        runs = trigger_flows(KEY, ada)
    assert len(runs) == number
    assert len(counts.queries) <= 4 + further_inserts(FlowRun, number) - (0 if options else 2)


@pytest.mark.slow
def test_refusals_of_a_hundred_flows_cost_no_more(ada: Customer) -> None:
    make_listeners(50, max_concurrent=3, max_concurrent_per_object=3)
    for association in FlowTrigger.objects.all():
        listener(flow=association.flow, condition="False")
    outside_of_a_change()
    warm(ada)
    FlowRun.objects.all().delete()
    with counted() as counts:
        trigger_flows(KEY, ada)
    more = further_inserts(FlowRun, 50) + further_inserts(SkippedFiring, 50)
    assert len(counts.queries) <= 4 + more


def make_listeners(number: int, **options: Any) -> None:
    """Make one flow that listens, and copies of its rows: publishing each takes its time."""
    first = listener("flow-0", **options)
    flow = Flow.objects.get(pk=first.flow_id)
    version = FlowVersion.objects.get(flow=flow)
    flows = [copied(flow, key=f"flow-{n}", published=None) for n in range(1, number)]
    Flow.objects.bulk_create(flows)
    FlowVersion.objects.bulk_create(copied(version, flow=flow) for flow in flows)
    Flow.objects.filter(published=None).update(
        published=FlowVersion.objects.filter(flow=OuterRef("pk")).values("pk")
    )
    FlowTrigger.objects.bulk_create(copied(first, flow=flow) for flow in flows)
    outside_of_a_change()


def copied(row: Any, **values: Any) -> Any:
    """Return an unsaved copy of a row."""
    copy = type(row)(**{field.attname: getattr(row, field.attname) for field in row._meta.fields})
    copy.pk = None
    for name, value in values.items():
        setattr(copy, name, value)
    return copy


def further_inserts(model: Any, rows: int) -> int:
    """SQLite alone bounds the parameters of one statement; there a statement is no round trip."""
    columns = [field for field in model._meta.concrete_fields if not field.primary_key]
    most = connection.ops.bulk_batch_size(columns, range(rows)) or rows
    return -(-rows // most) - 1


def test_configuration_is_read_once_and_not_at_every_firing(ada: Customer) -> None:
    read: list[forms.Form] = []

    class Form(forms.Form):
        def clean(self) -> None:
            read.append(self)

    own = Trigger(name="own", label="Own", Config=Form, accepts=lambda config, obj, payload: True)
    with registry.temporary(triggers=[own], plugin="lab"):
        associate_trigger(publish(think()), "lab.own")
        outside_of_a_change()
        read.clear()
        for _ in range(3):
            own.fire(ada)
    assert (FlowRun.objects.count(), len(read)) == (3, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [1, 10, 100])
def test_any_number_of_flows_costs_one_commit(ada: Customer, number: int) -> None:
    make_listeners(number)
    warm(ada)
    with counted() as counts:
        trigger_flows(KEY, ada)
    assert counts.commits == 1


@pytest.mark.django_db(transaction=True)
def test_change_is_seen_at_once_after_its_commit(ada: Customer) -> None:
    assert not PAID.is_listened_to()
    with transaction.atomic():
        listener()
        assert PAID.is_listened_to()
    assert PAID.is_listened_to()
    with counted() as counts:
        assert PAID.is_listened_to()
    assert counts.sql == []


@pytest.mark.django_db(transaction=True)
def test_change_that_was_rolled_back_is_cached_nowhere(ada: Customer) -> None:
    with transaction.atomic():
        listener()
        assert PAID.is_listened_to()
        transaction.set_rollback(True)
    assert not PAID.is_listened_to()


@pytest.mark.django_db(transaction=True)
def test_transaction_after_one_with_a_change_reads_nothing_anew(ada: Customer) -> None:
    """A thread that serves each request in a transaction would else read at every firing."""
    with transaction.atomic():
        listener()
    for _ in range(2):
        with transaction.atomic():
            PAID.is_listened_to()
    with transaction.atomic(), counted() as counts:
        PAID.is_listened_to()
    assert counts.queries == []


def test_change_in_another_process_is_seen_after_the_cache_time(
    ada: Customer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLOWCONTROL = {"TRIGGER_CACHE_SECONDS": 2}
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    association = listener()
    FlowTrigger.objects.filter(pk=association.pk).update(active=False)
    outside_of_a_change()
    assert not PAID.is_listened_to()
    FlowTrigger.objects.filter(pk=association.pk).update(active=True)
    now[0] += 1.9
    assert not PAID.is_listened_to()
    now[0] += 0.2
    assert PAID.is_listened_to()


def test_what_was_read_before_a_change_is_not_cached_after_it(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may be reading while this one commits."""
    read = listeners._query
    outside_of_a_change()

    def slow() -> Any:
        found = read()
        cache._drop()
        return found

    monkeypatch.setattr(listeners, "_query", slow)
    assert not PAID.is_listened_to()
    monkeypatch.undo()
    with counted() as counts:
        PAID.is_listened_to()
    assert counts.queries
