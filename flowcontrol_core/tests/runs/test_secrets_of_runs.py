"""Secrets of runs with a database: rotation, healing, the hook, publishing, rights, triggers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django import forms
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core import serializers
from django.test import override_settings

from flowcontrol import flows, hookimpl
from flowcontrol.base import BaseAction, Effects
from flowcontrol.engine import create_flowrun
from flowcontrol.errors import EditError, PublishError
from flowcontrol.forms import SecretField
from flowcontrol.registry import Trigger
from flowcontrol.testing import flow, publish_flow, step, temporary_registry
from flowcontrol_core.models import Flow, FlowRun, SkippedFiring, Status
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.runs.store.needs import is_there

from .conftest import Lab, events, fresh, sweep, think

pytestmark = pytest.mark.django_db

OLD, NEW = "old-0123456789", "new-0123456789"


class Pay(BaseAction):
    name = "pay"
    effects = Effects.EXTERNAL
    seen: list[str] = []

    class Config(forms.Form):
        key = SecretField(label="Key")

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        self.seen.append(config.key)
        if len(self.seen) == 1:
            raise RuntimeError(f"refused: {config.key!r}")


class Record(Pay):
    name = "record"
    effects = Effects.DATABASE


class Signed(forms.Form):
    key = SecretField()


SIGNED = Trigger(
    name="signed",
    label="Signed",
    Config=Signed,
    accepts=lambda config, obj, payload: config.key == payload["key"],
)


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[str]]:
    Pay.seen.clear()
    with temporary_registry(Pay, Record, triggers=[SIGNED], plugin="bank"):
        yield Pay.seen


def secrets(**values: str | None) -> Any:
    return override_settings(FLOWCONTROL={"SECRETS": values})


def all_rows() -> str:
    tables = apps.get_app_config("flowcontrol_core").get_models()
    return "".join(serializers.serialize("json", kind._base_manager.all()) for kind in tables)


@pytest.mark.parametrize("action", ["bank.pay", "bank.record"])
def test_a_rotated_secret_reaches_a_run_that_waits_and_no_row_has_either(
    lab: Lab, seen: list[str], action: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    retry = {"attempts": 3, "backoff": "1m", "jitter": "none"}
    with secrets(pay=OLD):
        run = create_flowrun(publish_flow(flow(step(action, id="pay", key="pay", retry=retry))))
        sweep()
    assert fresh(run).status == Status.WAITING
    with secrets(pay=NEW):
        lab.clock.advance(minutes=2)
        sweep()
    assert (fresh(run).outcome, seen) == ("complete", [OLD, NEW])
    kept = all_rows() + caplog.text + flows.export_flows(Flow.objects.all())
    assert "refused" in kept
    assert OLD not in kept
    assert NEW not in kept


@pytest.mark.parametrize("action", ["bank.pay", "bank.record"])
def test_a_missing_secret_blocks_and_the_run_continues_by_itself(
    lab: Lab, seen: list[str], action: str
) -> None:
    seen.append("before")
    with secrets(pay=OLD):
        target = publish_flow(flow(step(action, id="pay", key="pay", if_unknown="fail")))
    run = create_flowrun(target)
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on) == (Status.BLOCKED, "secret:pay")
    assert row.reason.startswith(f"Step pay ({action}) needs the secret pay")
    assert sweep() == 0
    assert len(events(run)) <= 2
    with secrets(pay=NEW):
        assert sweep() == 1
    assert (fresh(run).outcome, seen) == ("complete", ["before", NEW])


def test_a_plugin_is_asked_first_and_its_failure_blocks(lab: Lab, seen: list[str]) -> None:
    vault: dict[str, str | None] = {"pay": NEW}

    @hookimpl
    def flowcontrol_secret(name: str) -> str | None:
        if name == "broken":
            raise OSError(OLD)
        return vault.get(name)

    module = ModuleType("vault")
    vars(module).update(flowcontrol_secret=flowcontrol_secret)
    seen.append("before")
    assert plugin_manager.add_module(module, "vault").is_broken is False
    try:
        with secrets(pay=OLD, site=OLD):
            assert plugin_manager.secret("pay") == NEW
            assert plugin_manager.secret("site") == OLD
            assert not is_there("secret:broken")
            run = create_flowrun(publish_flow(flow(step("bank.pay", key="pay"))))
            sweep()
            assert (fresh(run).outcome, seen) == ("complete", ["before", NEW])
            with pytest.raises(PublishError, match=r"broken has no value here \(OSError\)"):
                publish_flow(flow(step("bank.pay", key="broken")), key="broken")
    finally:
        plugin_manager._pluggy.unregister(name="vault")


def test_publishing_names_the_secret_that_has_no_value_and_its_field(lab: Lab) -> None:
    document = flow(step("bank.pay", id="pay", key="gone"))
    (problem,) = flows.check_document(document)
    assert (problem.step, problem.field) == ("pay", "key")
    assert "The secret gone has no value here" in problem.message


def author(*codenames: str) -> User:
    user = User.objects.create_user("author")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_choosing_a_secret_needs_a_permission_and_leaving_it_does_not(lab: Lab) -> None:
    with secrets(pay=OLD, other=OLD):
        document = flow(step("bank.pay", id="pay", key="pay"))
        target = flows.create_flow(key="f", name="F", document=document)
        user = author("change_flow")

        def configure(key: str) -> None:
            present = flows.present_document(target)
            found = present.find("pay")
            assert found is not None
            data = {"step-pay-key": key}
            form = flows.step_form(found, data, document=present).form
            assert form is not None
            flows.configure_step(target, "pay", form, revision=None, author=user)

        configure("pay")
        with pytest.raises(EditError, match=r"flowcontrol_core\.use_secret"):
            configure("other")
        with pytest.raises(EditError, match=r"flowcontrol_core\.use_secret"):
            flows.create_flow(key="g", name="G", document=document, author=user)
        user.user_permissions.add(Permission.objects.get(codename="use_secret"))
        user = User.objects.get(pk=user.pk)
        configure("other")
        assert flows.present_document(target).steps[0].config == {"key": "other"}


def test_an_export_has_the_name(lab: Lab) -> None:
    with secrets(pay=OLD):
        text = flows.export_flows([publish_flow(flow(step("bank.pay", key="pay")))])
    assert "key: pay" in text
    assert OLD not in text


def test_a_trigger_compares_a_secret_and_without_one_starts_nothing(lab: Lab) -> None:
    target = publish_flow(flow(think()))
    with secrets(hook=OLD):
        flows.associate_trigger(target, "bank.signed", config={"key": "hook"})
        SIGNED.fire(None, {"key": OLD})
        assert FlowRun.objects.count() == 1
        SIGNED.fire(None, {"key": "wrong"})
    SIGNED.fire(None, {"key": "any"})
    assert FlowRun.objects.count() == 1
    assert "secret hook has no value here" in SkippedFiring.objects.get().detail
