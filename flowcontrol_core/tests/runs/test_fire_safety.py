"""Firing harms neither the code that fires nor its transaction."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from flowcontrol.engine import create_flowrun, trigger_flows
from flowcontrol.errors import StateError
from flowcontrol_core.models import (
    FlowRun,
    FlowTrigger,
)
from flowcontrol_core.runs.triggers import fire
from flowcontrol_core.runs.triggers.listeners import cache
from tests.shop.models import Customer, Order

from .conftest import PAID, Lab, fresh, publish, sweep, think
from .listeners import KEY, listener, refusals

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lab")]


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


def test_rolled_back_transaction_takes_its_runs_along(ada: Customer) -> None:
    listener()
    with transaction.atomic():
        PAID.fire(ada)
        assert FlowRun.objects.count() == 1
        transaction.set_rollback(True)
    assert FlowRun.objects.count() == 0


@pytest.mark.parametrize("payload", [{"x": object()}, {"x": "\x00"}, {1: 2}, {"x": "y" * 300_000}])
def test_bad_payload_is_logged_and_not_raised(
    payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener()
    with pytest.raises(StateError, match="payload"):
        trigger_flows(KEY, None, payload)
    with caplog.at_level(logging.ERROR, "flowcontrol.triggers"):
        PAID.fire(None, payload)
    assert "lab.paid could not be fired" in caplog.text
    assert FlowRun.objects.count() == 0


def test_error_of_the_database_leaves_the_callers_transaction_usable(
    ada: Customer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listener()
    break_writing(monkeypatch, "SELECT nothing FROM nowhere")
    with transaction.atomic():
        order = Order.objects.create(customer=ada)
        PAID.fire(ada)
        order.total = 5
        order.save()
    order.refresh_from_db()
    assert order.total == 5
    assert FlowRun.objects.count() == 0
    assert "lab.paid could not be fired" in caplog.text


def break_writing(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    insert = fire._insert

    def broken(found: Any) -> None:
        insert(found)
        with connection.cursor() as cursor:
            cursor.execute(sql)

    monkeypatch.setattr(fire, "_insert", broken)


def test_error_that_ended_the_transaction_is_raised_on(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MariaDB's 1213 does: its savepoints are gone, so going back to one fails."""
    listener()

    def deadlock(found: Any) -> None:
        monkeypatch.setattr(connection, "_savepoint_rollback", forgotten)
        raise OperationalError(1213, "Deadlock found when trying to get lock")

    def forgotten(sid: str) -> None:
        monkeypatch.undo()
        raise OperationalError(1305, f"SAVEPOINT {sid} does not exist")

    monkeypatch.setattr(fire, "_insert", deadlock)
    with pytest.raises(OperationalError, match="Deadlock"), transaction.atomic():
        PAID.fire(ada)


def test_text_that_only_looks_like_a_deadlock_is_not_raised_on(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener()

    def fail(found: Any) -> None:
        raise DatabaseError("value 1213 is out of range")

    monkeypatch.setattr(fire, "_insert", fail)
    with transaction.atomic():
        PAID.fire(ada)
        assert Customer.objects.count() == 1


def test_listeners_that_cannot_be_read_break_nothing(
    ada: Customer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as while the tables are not there yet: `migrate` saves objects too."""
    monkeypatch.setattr(FlowTrigger._meta, "db_table", "not_migrated_yet")
    cache.forget()
    with transaction.atomic():
        assert not PAID.is_listened_to()
        PAID.fire(ada)
        assert Customer.objects.count() == 1
    assert "lab.paid could not be" in caplog.text


def test_object_whose_text_fails_is_named_all_the_same(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Customer) -> str:
        raise ValueError

    monkeypatch.setattr(Customer, "__str__", broken)
    listener()
    (run,) = trigger_flows(KEY, ada)
    assert run.object_text == f"shop.Customer {ada.pk}"


def test_text_of_the_object_is_asked_for_once(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Customer] = []

    def text(self: Customer) -> str:
        calls.append(self)
        return "Ada"

    monkeypatch.setattr(Customer, "__str__", text)
    for number in range(5):
        listener(f"flow-{number}", condition="False")
    trigger_flows(KEY, ada)
    assert (len(refusals()), len(calls)) == (5, 1)


def test_step_that_must_not_write_fails_when_it_fires(lab: Lab) -> None:
    listener()
    lab.on("fire", lambda run, obj: PAID.fire())
    run = create_flowrun(publish(think("fire"), key="fires"))
    sweep()
    assert fresh(run).outcome == "errored"
    assert "Effects.DATABASE" in fresh(run).reason
