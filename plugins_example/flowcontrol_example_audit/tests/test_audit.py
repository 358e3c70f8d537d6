"""The action records once, in one transaction with the run, and fires its trigger."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, transaction

import flowcontrol
from flowcontrol.base import BaseAction, Effects, FlowDirective, RunContext
from flowcontrol.engine import create_flowrun
from flowcontrol.flows import associate_trigger
from flowcontrol.models import FlowRun
from flowcontrol.testing import (
    check_action,
    flow,
    publish_flow,
    run_due,
    step,
    temporary_registry,
)
from flowcontrol_example_audit.models import AuditEntry
from flowcontrol_example_audit.plugin import Record

pytestmark = pytest.mark.django_db

RECORD = flow(step("audit.record", text="Hello {{ object.first_name }}"))


class Fail(BaseAction):
    name = "fail"
    effects = Effects.DATABASE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        AuditEntry.objects.create(text="half", run_uuid=run.uuid, idempotency_key="half")
        raise ValueError("broken")


class Thrice(BaseAction):
    name = "thrice"
    effects = Effects.NONE
    has_children = True

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        run.memo["passes"] = 1
        return self.enter()

    def return_from_children(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        run.memo["passes"] += 1
        return self.enter() if run.memo["passes"] <= 3 else FlowDirective.CONTINUE


class Remember(BaseAction):
    name = "remember"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        run.state["seen"] = run.payload["text"]


@pytest.fixture(autouse=True)
def _actions() -> Iterator[None]:
    """Register the actions of this module as ``test.<name>``."""
    with temporary_registry(Fail, Thrice, Remember):
        yield


def test_action_fulfils_the_contract() -> None:
    check_action(Record, {"text": "Hello {{ object.first_name }}"})


def test_app_is_installed_through_plugin_apps() -> None:
    assert "flowcontrol_example_audit.apps.AuditConfig" in flowcontrol.plugin_apps()
    assert apps.is_installed("flowcontrol_example_audit")


def test_migration_is_up_to_date() -> None:
    call_command("makemigrations", "flowcontrol_example_audit", check=True, stdout=StringIO())


def test_entry_names_object_and_run() -> None:
    ada = User.objects.create(first_name="Ada")
    run = create_flowrun(publish_flow(RECORD), ada)
    run_due()
    entry = AuditEntry.objects.get()
    assert (entry.object_label, entry.object_key) == ("auth.user", str(ada.pk))
    assert (entry.text, entry.run_uuid) == ("Hello Ada", run.uuid)


def test_run_without_an_object_is_recorded_too() -> None:
    create_flowrun(publish_flow(flow(step("audit.record", text="nothing in particular"))))
    run_due()
    entry = AuditEntry.objects.get()
    assert (entry.object_label, entry.object_key) == ("", "")


def test_every_pass_of_a_loop_has_a_key_of_its_own() -> None:
    passes = step("test.thrice", body=[step("audit.record", text="x")])
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
    run = create_flowrun(publish_flow(flow(step("test.fail"))))
    run_due()
    run.refresh_from_db()
    assert (run.outcome, AuditEntry.objects.count()) == ("errored", 0)


def test_recording_starts_the_flows_of_its_trigger() -> None:
    listener = publish_flow(flow(step("test.remember")), key="listener")
    associate_trigger(listener, "audit.recorded", condition="payload.text == 'Hello Ada'")
    create_flowrun(publish_flow(RECORD), User.objects.create(first_name="Ada"))
    run_due()
    run = FlowRun.objects.get(flow=listener)
    assert (run.outcome, run.state) == ("complete", {"seen": "Hello Ada"})
    assert run.object_key == str(AuditEntry.objects.get().pk)


def test_flow_that_records_its_own_recording_ends(settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_DEPTH": 3}
    echo = publish_flow(flow(step("audit.record", text="again")), key="echo")
    associate_trigger(echo, "audit.recorded")
    create_flowrun(echo)
    run_due()
    assert AuditEntry.objects.count() == 4
    assert {run.outcome for run in FlowRun.objects.all()} == {"complete"}
