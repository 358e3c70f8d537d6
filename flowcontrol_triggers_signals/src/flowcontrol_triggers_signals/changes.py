"""What a save has changed: the row before it, read with one SELECT, and the object after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import FileField, Model

from flowcontrol_triggers_signals.fields import AnyField, compared_fields

Before = Mapping[str, Any]


def read_before(
    instance: Model, using: str, update_fields: Collection[str] | None
) -> Before | None:
    """Return the values that a save may change, or None where it creates the row."""
    model = type(instance)
    # Django itself passes update_fields for an object with deferred fields.
    written = [
        field.attname
        for field in compared_fields(model)
        if update_fields is None or not {field.name, field.attname}.isdisjoint(update_fields)
    ]
    if not written or not _may_exist(instance):
        return None
    return model._base_manager.using(using).filter(pk=instance.pk).values(*written).first()


def changed_fields(instance: Model, before: Before, fields: Iterable[AnyField]) -> list[AnyField]:
    """Return the fields whose values differ from those before."""
    return [
        field
        for field in fields
        if field.attname in before
        and not _is_same(field, before[field.attname], getattr(instance, field.attname))
    ]


def _may_exist(instance: Model) -> bool:
    """Return whether a save may meet a row: Django inserts a new object with a default key."""
    if instance.pk is None or hasattr(instance.pk, "resolve_expression"):
        return False
    return not (instance._state.adding and instance._meta.pk.has_default())


def _is_same(field: AnyField, before: Any, after: Any) -> bool:
    """Compare as the field's type; a database expression (``F("total") + 1``) is a change."""
    if hasattr(after, "resolve_expression"):
        return False
    if isinstance(field, FileField):
        return str(before or "") == str(after or "")
    try:
        return bool(field.to_python(before) == field.to_python(after))
    except (ValidationError, TypeError, ValueError):
        return False
