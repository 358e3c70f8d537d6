"""The three triggers of one model that the project names, and when they fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Model
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext_lazy as _

from flowcontrol.redaction import is_secret_key
from flowcontrol.registry import Trigger
from flowcontrol_triggers_signals.changes import Before, changed_fields
from flowcontrol_triggers_signals.fields import (
    AnyField,
    compared_fields,
    shown_fields,
)
from flowcontrol_triggers_signals.payloads import MAX_TEXT, payload_value, plain_text
from flowcontrol_triggers_signals.signal_models import key_of


class ModelTriggers:
    """The triggers ``<app>.<model>.created``, ``.updated`` and ``.deleted`` of a model."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model
        self.fields = compared_fields(model)
        self.created = self._trigger(
            "created", _("{model} created"), _("After a new object was saved."), model=key_of(model)
        )
        self.updated = self._trigger(
            "updated",
            _("{model} updated"),
            _("After an object was saved and a field has changed."),
            model=key_of(model),
            payload={
                "changed": _("the names of the fields that changed"),
                "old": _("their values before the change, by name"),
            },
            Config=changed_form(self.fields),
            accepts=accepts_change,
        )
        self.deleted = self._trigger(
            "deleted",
            _("{model} deleted"),
            _("After an object was deleted. The run has no object; the payload describes it."),
            payload={
                "key": _("the primary key, as text"),
                "text": _("the object as text"),
                "fields": _("the last values of its fields, by name"),
            },
        )

        self.triggers = (self.created, self.updated, self.deleted)

    def fire_updated(self, instance: Model, before: Before) -> None:
        """Fire for a saved object if a field of the model has changed."""
        changed = changed_fields(instance, before, self.fields)
        if changed:
            old = {field.name: payload_value(before[field.attname]) for field in changed}
            self.updated.fire(instance, {"changed": list(old), "old": old})

    def fire_deleted(self, instance: Model) -> None:
        """Fire for an object that was just deleted; its key is still known."""
        if self.deleted.is_listened_to():
            self.deleted.fire(payload=describe(instance, self.model))

    def _trigger(self, event: str, label: Any, description: Any, **options: Any) -> Trigger:
        return Trigger(
            name=f"{key_of(self.model)}.{event}",
            label=format_lazy(label, model=capfirst(self.model._meta.verbose_name)),
            description=description,
            **options,
        )


def changed_form(fields: list[AnyField]) -> type[forms.Form]:
    """Return the form in which staff choose the fields that must have changed."""
    choices = [(field.name, capfirst(field.verbose_name)) for field in fields]

    class ChangedForm(forms.Form):
        changed = forms.MultipleChoiceField(
            label=_("Changed fields"),
            choices=choices,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text=_("At least one of these must have changed. Choose none for any field."),
        )

    return ChangedForm


def accepts_change(config: Any, _obj: Any, payload: Mapping[str, Any]) -> bool:
    """Return whether one of the chosen fields has changed, or none was chosen."""
    return not config.changed or not set(config.changed).isdisjoint(payload.get("changed", ()))


def describe(instance: Model, model: type[Model]) -> dict[str, Any]:
    """Return the payload of a deleted object; deferred fields are left out."""
    fields = {
        field.name: payload_value(getattr(instance, field.attname))
        for field in shown_fields(model)
        if field.attname in instance.__dict__
    }
    hidden = is_secret_key(model._meta.pk)
    return {
        "key": "" if hidden else plain_text(instance.pk, MAX_TEXT),
        "text": plain_text(instance, 200),
        "fields": fields,
    }
