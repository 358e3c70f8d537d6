"""An object that no run can be about is refused at the start, and recorded by a trigger."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import FlowRun, Message, Refusal, SkippedFiring
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.triggers.fire import trigger_flows
from tests.shop.models import Voucher

from .conftest import PAID, Lab, publish, sweep, think, write

pytestmark = pytest.mark.django_db


def with_long_key() -> models.Model:
    return Voucher(code="x" * 201)


@isolate_apps("tests.shop")
def with_composite_key() -> models.Model:
    class Seat(models.Model):
        pk = models.CompositePrimaryKey("row", "number")
        row = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return f"Seat {self.row}/{self.number}"

    return Seat(row=1, number=2)


@isolate_apps("tests.shop")
def with_binary_key() -> models.Model:
    class Ticket(models.Model):
        digest = models.BinaryField(primary_key=True)

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return "A ticket"

    return Ticket(digest=b"\x00\xff")


NAMELESS = {
    "has 201 characters, and at most 200 are possible": with_long_key,
    "Seat 1/2: its primary key is not one value": with_composite_key,
    "A ticket: its primary key is not one value": with_binary_key,
}
each_nameless = pytest.mark.parametrize(("reason", "make"), NAMELESS.items(), ids=range(3))


@each_nameless
@pytest.mark.parametrize("begin", [create_flowrun, start_flowrun])
def test_a_start_says_why_no_run_can_be_about_the_object(
    lab: Lab, begin: Any, reason: str, make: Any
) -> None:
    with pytest.raises(NotStartedError, match=reason) as error:
        begin(publish(think()), make())
    assert error.value.reason == "object"
    assert not FlowRun.objects.exists()


@each_nameless
def test_a_trigger_records_why_it_did_nothing(lab: Lab, reason: str, make: Any) -> None:
    flow = publish(think())
    flow.flow_triggers.create(trigger="lab.paid")
    assert trigger_flows("lab.paid", make()) == []
    (skipped,) = SkippedFiring.objects.all()
    assert skipped.reason == Refusal.OBJECT
    assert reason in skipped.detail


@each_nameless
@pytest.mark.parametrize("mode", ["go_to", "wake"])
def test_a_trigger_about_it_disturbs_the_runs_of_no_other_object(
    lab: Lab, reason: str, make: Any, mode: str
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=run.now.replace(year=2030)))
    flow = publish(think("wait"), write(id="b"))
    flow.flow_triggers.create(trigger="lab.paid", mode=mode, step="b" if mode == "go_to" else "")
    create_flowrun(flow, Voucher.objects.create(code="other"))
    sweep()
    PAID.fire(make())
    assert not Message.objects.exists()
    assert SkippedFiring.objects.get().reason == Refusal.OBJECT


def test_the_longest_key_is_possible(lab: Lab) -> None:
    run = create_flowrun(publish(think()), Voucher(code="ä" * 200))
    run.refresh_from_db()
    assert run.object_key == "ä" * 200
