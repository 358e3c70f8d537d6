"""A guard is checked while a run waits: when its object changes, and again and again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowcontrol.engine import create_flowrun
from flowcontrol.testing import temporary_registry
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Expression
from flowcontrol_core.expressions.filters import ExpressionFilter
from flowcontrol_core.models import FlowRun, Message, Status
from flowcontrol_core.runs.triggers.listeners import cache
from tests.shop.models import Customer

from .conftest import PAID, Lab, counted, events, fresh, publish, sweep, think

pytestmark = pytest.mark.django_db

GUARD = "object.is_active"
TRUTH = ExpressionFilter("truth", lambda value: value is True)


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


def waiting(lab: Lab, obj: Customer | None, guard: str = GUARD, **wait: Any) -> FlowRun:
    """Return a run of a flow with a guard that waits, for 30 days if nothing else is said."""
    lab.on("wait", lambda run, _: run.suspend(**(wait or {"until": timedelta(days=30)})))
    run = create_flowrun(
        publish(think("wait"), think(), object="shop.customer", guard=guard, key="guarded"),
        obj,
    )
    sweep()
    assert fresh(run).status == Status.WAITING
    return run


def test_guard_is_checked_when_the_object_is_saved(lab: Lab, ada: Customer) -> None:
    run = waiting(lab, ada)
    ada.is_active = False
    ada.save()
    sweep()
    row = fresh(run)
    assert (row.outcome, row.reason_code, lab.calls) == ("obsolete", "guard_false", ["wait"])
    assert events(run)[-1].code == "guard_false"


def test_guard_is_checked_when_any_trigger_fires_for_the_object(lab: Lab, ada: Customer) -> None:
    run = waiting(lab, ada)
    Customer.objects.update(is_active=False)
    assert sweep() == 0
    PAID(ada)
    sweep()
    assert fresh(run).outcome == "obsolete"


@pytest.mark.parametrize("wait", [{}, {"trigger": "lab.paid"}, {"timeout": 86_400 * 40}])
def test_guard_is_checked_again_at_a_bounded_interval(
    lab: Lab, ada: Customer, settings: Any, wait: Any
) -> None:
    settings.FLOWCONTROL = {"GUARD_INTERVAL": 7_200}
    run = waiting(lab, ada, **wait)
    for _ in range(3):
        assert fresh(run).due_at == lab.clock.now() + timedelta(hours=2)
        lab.clock.advance(hours=2)
        sweep()
        assert (fresh(run).status, fresh(run).attempt) == (Status.WAITING, 0)
    assert len(events(run)) == 1
    Customer.objects.update(is_active=False)
    lab.clock.advance(hours=2)
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("obsolete", ["wait"])


def test_run_with_a_guard_continues_at_its_time(lab: Lab, ada: Customer) -> None:
    run = waiting(lab, ada, until=timedelta(minutes=5))
    assert fresh(run).due_at == lab.clock.now() + timedelta(minutes=5)
    lab.clock.advance(minutes=5)
    sweep()
    assert fresh(run).outcome == "complete"


def test_object_that_is_gone_is_noticed_while_the_run_waits(lab: Lab, ada: Customer) -> None:
    run = waiting(lab, ada)
    ada.delete()
    lab.clock.advance(hours=1)
    sweep()
    assert (fresh(run).outcome, fresh(run).reason_code) == ("obsolete", "object_gone")


def test_guard_without_its_filter_blocks_the_run_and_the_wait_stays(
    lab: Lab, ada: Customer
) -> None:
    with temporary_registry(filters=[TRUTH]):
        run = waiting(lab, ada, guard="object.is_active|truth")
        until = fresh(run).wait_until
    lab.clock.advance(hours=1)
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on, row.wait_until) == (Status.BLOCKED, "|truth", until)
    with temporary_registry(filters=[TRUTH]):
        sweep()
        row = fresh(run)
        assert (row.status, row.wait_until, lab.calls) == (Status.WAITING, until, ["wait"])
        lab.clock.advance(days=30)
        sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["wait", "think"])


def test_guard_that_fails_while_a_run_waits_ends_it_visibly(
    lab: Lab, ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bool:
        raise ExpressionError("no")

    run = waiting(lab, ada)
    lab.clock.advance(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(Expression, "test", fail)
        sweep()
    assert (fresh(run).outcome, fresh(run).reason_code) == ("errored", "guard_failed")


def test_other_objects_and_flows_without_a_guard_are_left_alone(lab: Lab, ada: Customer) -> None:
    run = waiting(lab, ada)
    lab.on("wait", lambda run, _: run.suspend(until=timedelta(days=30)))
    plain = create_flowrun(publish(think("wait"), object="shop.customer", key="plain"), ada)
    sweep()
    assert fresh(plain).due_at == fresh(plain).wait_until
    Customer.objects.create(name="Bob").save()
    assert Message.objects.count() == 0
    ada.name = "Ada Lovelace"
    ada.save()
    assert list(Message.objects.values_list("run_id", flat=True)) == [run.pk]
    lab.clock.advance(minutes=1)
    assert sweep() == 1
    assert (fresh(run).status, Message.objects.count()) == (Status.WAITING, 0)
    assert fresh(run).due_at == lab.clock.now() + timedelta(hours=1)


@pytest.mark.django_db(transaction=True)
def test_saving_an_object_costs_nothing_where_no_flow_has_a_guard(lab: Lab) -> None:
    ada = Customer.objects.create(name="Ada")
    publish(think(), object="shop.customer")
    cache.get()
    with counted() as counts:
        ada.save()
    assert len(counts.queries) == 1
