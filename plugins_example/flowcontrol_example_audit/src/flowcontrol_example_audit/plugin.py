"""The action "Record in the audit log", and the trigger that it fires."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from flowcontrol import hookimpl
from flowcontrol.base import BaseAction, Effects, RunContext
from flowcontrol.forms import TemplateField
from flowcontrol.registry import Trigger
from flowcontrol_example_audit.models import AuditEntry

recorded = Trigger(
    name="recorded",
    label=_("Audit entry recorded"),
    description=_("After a flow has recorded an entry."),
    model=AuditEntry._meta.label_lower,
    payload={
        "text": _("the text of the entry"),
        "object": _("the model label of its object"),
    },
)


class Record(BaseAction):
    """Write an entry, and fire the trigger."""

    name = "record"
    icon = "document"
    verbose_name = _("Record in the audit log")
    group = _("Audit")
    # The entry, the runs that the trigger starts and the checkpoint are one transaction.
    effects = Effects.DATABASE

    class Config(forms.Form):
        text = TemplateField(label=_("Text"), help_text=_("Can use object and state."))

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
