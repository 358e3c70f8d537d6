"""The fields of a model that payloads may show; the values of secret ones appear nowhere."""

from __future__ import annotations

from typing import Any, TypeAlias

from django.db.models import Field, ForeignKey, Model

from flowcontrol import redaction

AnyField: TypeAlias = "Field[Any, Any]"


def shown_fields(model: type[Model]) -> list[AnyField]:
    """Return the concrete fields of a model that payloads may show."""
    return [field for field in model._meta.concrete_fields if not _is_secret(field)]


def compared_fields(model: type[Model]) -> list[AnyField]:
    """Return the fields that can change: no secret, no key, and nothing that each save sets."""
    return [
        field
        for field in shown_fields(model)
        if not field.primary_key and not getattr(field, "auto_now", False)
    ]


def _is_secret(field: AnyField) -> bool:
    """Return whether a field, or the key that it refers to, is a secret."""
    refers_to_secret = isinstance(field, ForeignKey) and redaction.is_secret_key(field.target_field)
    return refers_to_secret or redaction.is_secret_field(field.name)
