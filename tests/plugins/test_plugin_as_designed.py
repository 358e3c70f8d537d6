"""A plugin typed in as the design has it works, letter by letter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType

import pytest

from flowcontrol.engine import create_flowrun
from flowcontrol.registry import Registry, registry
from flowcontrol.testing import flow, manual_clock, publish_flow, run_due, run_flow, step
from flowcontrol_core.plugins.manager import PluginManager
from flowcontrol_core.plugins.reports import PluginStatus
from tests.shop.models import Customer

PLUGIN = """
from django import forms
from flowcontrol import hookimpl
from flowcontrol.base import BaseAction, Effects
from flowcontrol.errors import Retry
from flowcontrol.forms import TemplateField

class SendSms(BaseAction):
    name = "send"                      # key: sms.send, for the entry point `sms = flowcontrol_sms.plugin`
    verbose_name = "Send SMS"
    group = "Messaging"
    effects = Effects.EXTERNAL         # NONE | DATABASE | EXTERNAL: no default, registration asks for it

    class Config(forms.Form):          # a Django form: widgets, validation, help and translation come with it
        text = TemplateField(help_text="Sees object and state.")

    def run(self, *, run, obj, config):            # config.text arrives rendered
        try:
            gateway.send(obj.phone, config.text, key=run.idempotency_key)
        except gateway.Busy as error:
            raise Retry(after=60) from error       # returning None = FlowDirective.CONTINUE

@hookimpl
def flowcontrol_actions():
    return [SendSms]
"""  # noqa: E501
# The design leaves the import of the gateway out.
IMPORT = "from fake_sms_gateway import gateway\n"
TEXT = flow(step("sms.send", text="Dear {{ object.name }}, {{ state.n }} points"))


class Busy(Exception):
    pass


@dataclass
class Gateway:
    """Is busy at its first ``refusals`` calls."""

    refusals: int = 0
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    Busy: type[Exception] = Busy

    def send(self, phone: str, text: str, *, key: str) -> None:
        self.calls.append((phone, text, key))
        if len(self.calls) <= self.refusals:
            raise Busy


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """The gateway of the plugin, which is loaded under the name ``sms`` for one test."""
    fake = ModuleType("fake_sms_gateway")
    fake.gateway = Gateway()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    module = ModuleType("flowcontrol_sms.plugin")
    exec(compile(IMPORT + PLUGIN, "plugin.py", "exec"), module.__dict__)
    before = registry.snapshot()
    # The example distribution has the same key.
    registry.restore(Registry().snapshot())
    try:
        report = PluginManager(registry, lambda: ()).add_module(module, "sms")
        assert report.status is PluginStatus.ACTIVE, report.traceback
        assert report.actions == ("sms.send",)
        yield fake.gateway
    finally:
        registry.restore(before)


def test_text_arrives_rendered(gateway: Gateway) -> None:
    run = run_flow(TEXT, Customer(name="Ada", phone="030"), {"n": 3})
    assert run.outcome == "complete"
    assert [call[:2] for call in gateway.calls] == [("030", "Dear Ada, 3 points")]


@pytest.mark.django_db
def test_busy_gateway_is_asked_again_after_a_minute_with_the_same_key(gateway: Gateway) -> None:
    gateway.refusals = 1
    customer = Customer.objects.create(name="Ada", phone="030")
    with manual_clock() as clock:
        run = create_flowrun(publish_flow(TEXT), customer, {"n": 3})
        run_due()
        run.refresh_from_db()
        assert run.status == "waiting"
        assert run.due_at == clock.now() + timedelta(seconds=60)
        clock.advance(seconds=59)
        assert run_due() == 0
        clock.advance(seconds=1)
        run_due()
    run.refresh_from_db()
    assert run.outcome == "complete"
    first, second = gateway.calls
    assert first == second == ("030", "Dear Ada, 3 points", first[2])
    assert first[2]
