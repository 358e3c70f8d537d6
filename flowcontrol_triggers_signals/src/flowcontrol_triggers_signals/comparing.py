"""What a save has changed: the row as it was, read with one SELECT, and the object after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.db.models import Field, FileField, Model

from flowcontrol_triggers_signals.secrecy import is_secret_field

AnyField: TypeAlias = "Field[Any, Any]"
Before = Mapping[str, Any]


def shown_fields(model: type[Model]) -> list[AnyField]:
    """Give the concrete fields of a model that payloads may show."""
    return [field for field in model._meta.concrete_fields if not is_secret_field(field)]


def compared_fields(model: type[Model]) -> list[AnyField]:
    """Give the fields that can change: no secrets, no key, nothing that each save sets anew."""
    return [
        field
        for field in shown_fields(model)
        if not field.primary_key and not getattr(field, "auto_now", False)
    ]


def read_before(
    instance: Model, using: str, update_fields: Collection[str] | None
) -> Before | None:
    """Read what a save may change; ``None`` where it will create the row."""
    model = type(instance)
    fields = [field for field in compared_fields(model) if _is_written(field, update_fields)]
    if not fields or not _may_exist(instance):
        return None
    rows = model._base_manager.using(using).filter(pk=instance.pk)
    return next(iter(rows.values(*(field.attname for field in fields))[:1]), None)


def changed_fields(instance: Model, before: Before, fields: Iterable[AnyField]) -> list[AnyField]:
    """Give those of the fields whose values are not what they were."""
    return [
        field
        for field in fields
        if field.attname in before
        and not _is_same(field, before[field.attname], getattr(instance, field.attname))
    ]


def _may_exist(instance: Model) -> bool:
    """Say whether a save may meet a row: Django inserts a new object with a key of its own."""
    key = instance._meta.pk
    if instance.pk is None or hasattr(instance.pk, "resolve_expression"):
        return False
    return not (instance._state.adding and key.has_default())


def _is_written(field: AnyField, update_fields: Collection[str] | None) -> bool:
    # Django itself gives update_fields for an object with deferred fields.
    if update_fields is None:
        return True
    return field.name in update_fields or field.attname in update_fields


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
