"""One model that the project names: its three triggers, and when they fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Model
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext_lazy as _

from flowcontrol.registry import Trigger
from flowcontrol_triggers_signals.comparing import (
    AnyField,
    Before,
    changed_fields,
    compared_fields,
    shown_fields,
)
from flowcontrol_triggers_signals.naming import key_of
from flowcontrol_triggers_signals.payloads import MAX_TEXT, payload_value, plain_text
from flowcontrol_triggers_signals.secrecy import is_secret_key


class WatchedModel:
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
            _("After an object was saved and a field has changed. Sees what changed."),
            model=key_of(model),
            payload={
                "changed": "the names of the fields that changed",
                "old": "their values before, by name",
            },
            Config=changed_form(self.fields),
            accepts=accepts_change,
        )
        self.deleted = self._trigger(
            "deleted",
            _("{model} deleted"),
            _("After an object was deleted. The run has no object; the payload describes it."),
            payload={
                "key": "the primary key, as text",
                "text": "the object as text",
                "fields": "the last values of its fields, by name",
            },
        )

    @property
    def triggers(self) -> tuple[Trigger, Trigger, Trigger]:
        """Give the three triggers."""
        return (self.created, self.updated, self.deleted)

    def fire_created(self, instance: Model) -> None:
        """Fire for a new object."""
        self.created.fire(instance)

    def fire_updated(self, instance: Model, before: Before) -> None:
        """Fire for a saved object if a field of the watched model has changed."""
        changed = changed_fields(instance, before, self.fields)
        if changed:
            old = {field.name: payload_value(before[field.attname]) for field in changed}
            self.updated.fire(instance, {"changed": list(old), "old": old})

    def fire_deleted(self, instance: Model) -> None:
        """Fire for an object that was just deleted; its key is still known."""
        if self.deleted.is_listened_to():
            self.deleted.fire(payload=describe(instance, self.model))

    def _trigger(self, event: str, label: Any, description: Any, **options: Any) -> Trigger:
        name = capfirst(self.model._meta.verbose_name)
        return Trigger(
            name=f"{key_of(self.model)}.{event}",
            label=format_lazy(label, model=name),
            description=description,
            **options,
        )


def changed_form(fields: list[AnyField]) -> type[forms.Form]:
    """Make the form in which staff choose the fields that must have changed."""
    choices = [(field.name, capfirst(field.verbose_name)) for field in fields]

    class ChangedForm(forms.Form):
        changed = forms.MultipleChoiceField(
            label=_("Changed fields"),
            choices=choices,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text=_("One of these must have changed. None chosen: any field."),
        )

    return ChangedForm


def accepts_change(config: Any, _obj: Any, payload: Mapping[str, Any]) -> bool:
    """Say whether one of the chosen fields has changed, if any was chosen."""
    return not config.changed or not set(config.changed).isdisjoint(payload.get("changed", ()))


def describe(instance: Model, model: type[Model]) -> dict[str, Any]:
    """Give the payload of an object that is gone; deferred fields are left out."""
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
