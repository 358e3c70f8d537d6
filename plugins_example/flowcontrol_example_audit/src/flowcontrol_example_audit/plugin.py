"""The action "Record in the audit log", and the trigger that it fires."""

from __future__ import annotations

from typing import Any

from django import forms

from flowcontrol import hookimpl
from flowcontrol.base import BaseAction, Effects, RunContext
from flowcontrol.forms import TemplateField
from flowcontrol.registry import Trigger
from flowcontrol_example_audit.models import AuditEntry

recorded = Trigger(
    name="recorded",
    label="Audit entry recorded",
    description="After a flow has recorded something.",
    model=AuditEntry._meta.label_lower,
    payload={"text": "what was recorded", "object": "the model label of its object"},
)


class Record(BaseAction):
    """Write an entry, and tell whoever listens."""

    name = "record"
    verbose_name = "Record in the audit log"
    group = "Audit"
    # The entry, the runs that the trigger starts and the checkpoint are one transaction.
    effects = Effects.DATABASE

    class Config(forms.Form):
        text = TemplateField(help_text="Sees object and state.")

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        entry = AuditEntry.objects.create(
            object_label=obj._meta.label_lower if obj is not None else "",
            object_key=str(obj.pk) if obj is not None else "",
            text=config.text,
            run_uuid=run.uuid,
            idempotency_key=run.idempotency_key,
        )
        recorded.fire(entry, {"text": entry.text, "object": entry.object_label})


@hookimpl
def flowcontrol_actions() -> list[type[BaseAction]]:
    return [Record]


@hookimpl
def flowcontrol_triggers() -> list[Trigger]:
    return [recorded]
