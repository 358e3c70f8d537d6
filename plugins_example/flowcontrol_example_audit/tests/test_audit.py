"""The example records once, in one transaction with the run, and fires its trigger."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, transaction

import flowcontrol
from flowcontrol.base import BaseAction, Effects
from flowcontrol.engine import create_flowrun
from flowcontrol.testing import (
    check_action,
    flow,
    publish_flow,
    run_due,
    step,
    temporary_registry,
)
from flowcontrol_core.flows.flow_triggers import associate_trigger
from flowcontrol_core.models import FlowRun
from flowcontrol_example_audit.models import AuditEntry
from flowcontrol_example_audit.plugin import Record
from tests.shop.models import Customer

pytestmark = pytest.mark.django_db

RECORD = flow(step("audit.record", text="Hello {{ object.name }}"))


class Fail(BaseAction):
    name = "fail"
    effects = Effects.DATABASE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        AuditEntry.objects.create(text="half", run_uuid=run.uuid, idempotency_key="half")
        raise ValueError("broken")


def test_action_keeps_the_contract() -> None:
    check_action(Record, {"text": "Hello {{ object.name }}"})


def test_app_is_installed_through_plugin_apps() -> None:
    assert "flowcontrol_example_audit.apps.AuditConfig" in flowcontrol.plugin_apps()
    assert apps.is_installed("flowcontrol_example_audit")


def test_migration_is_up_to_date() -> None:
    call_command("makemigrations", "flowcontrol_example_audit", check=True, stdout=StringIO())


def test_entry_names_object_and_run() -> None:
    customer = Customer.objects.create(name="Ada")
    run = create_flowrun(publish_flow(RECORD), customer)
    run_due()
    entry = AuditEntry.objects.get()
    assert (entry.object_label, entry.object_key) == ("shop.customer", str(customer.pk))
    assert (entry.text, entry.run_uuid) == ("Hello Ada", run.uuid)


def test_run_without_an_object_is_recorded_too() -> None:
    create_flowrun(publish_flow(flow(step("audit.record", text="nothing in particular"))))
    run_due()
    entry = AuditEntry.objects.get()
    assert (entry.object_label, entry.object_key) == ("", "")


def test_every_pass_of_a_loop_has_a_key_of_its_own() -> None:
    passes = step(
        "builtin.for", start="0", step="1", end="3", body=[step("audit.record", text="x")]
    )
    create_flowrun(publish_flow(flow(passes)))
    run_due()
    assert len({entry.idempotency_key for entry in AuditEntry.objects.all()}) == 3


def test_same_key_cannot_be_recorded_twice() -> None:
    run = create_flowrun(publish_flow(flow(step("audit.record", text="x"))))
    run_due()
    first = AuditEntry.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry.objects.create(
            text="y", run_uuid=run.uuid, idempotency_key=first.idempotency_key
        )


def test_entry_of_a_failed_step_is_rolled_back() -> None:
    with temporary_registry(Fail):
        run = create_flowrun(publish_flow(flow(step("test.fail"))))
        run_due()
    run.refresh_from_db()
    assert (run.outcome, AuditEntry.objects.count()) == ("errored", 0)


def test_recording_starts_the_flows_of_its_trigger() -> None:
    listener = publish_flow(
        flow(step("builtin.set_state", state={"seen": "payload.text"}, evaluate=True)),
        key="listener",
    )
    associate_trigger(listener, "audit.recorded", condition="payload.text == 'Hello Ada'")
    create_flowrun(publish_flow(RECORD), Customer.objects.create(name="Ada"))
    run_due()
    run = FlowRun.objects.get(flow=listener)
    assert (run.outcome, run.state) == ("complete", {"seen": "Hello Ada"})
    assert run.object_key == str(AuditEntry.objects.get().pk)


def test_flow_that_records_its_own_recording_comes_to_an_end(settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_DEPTH": 3}
    echo = publish_flow(flow(step("audit.record", text="again")), key="echo")
    associate_trigger(echo, "audit.recorded")
    create_flowrun(echo)
    run_due()
    assert AuditEntry.objects.count() == 4
    assert {run.outcome for run in FlowRun.objects.all()} == {"complete"}
