"""The action "Send SMS"."""

from __future__ import annotations

from typing import Any

from django import forms

from flowcontrol import hookimpl
from flowcontrol.base import BaseAction, Effects, RunContext
from flowcontrol.errors import Retry
from flowcontrol.forms import TemplateField
from flowcontrol_example_sms import gateway


class SendSms(BaseAction):
    name = "send"
    icon = "message"
    verbose_name = "Send SMS"
    group = "Messaging"
    effects = Effects.EXTERNAL

    class Config(forms.Form):
        text = TemplateField(help_text="Can use object and state.")

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        try:
            gateway.send(obj.phone, config.text, key=run.idempotency_key)
        except gateway.Busy as error:
            raise Retry(after=60) from error


@hookimpl
def flowcontrol_actions() -> list[type[BaseAction]]:
    return [SendSms]
