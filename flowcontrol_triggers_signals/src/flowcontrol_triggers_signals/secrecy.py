"""Which names say that their values are secrets: those are in no payload, nor compared."""

from __future__ import annotations

from typing import Any

from django.db.models import Field, ForeignKey, IntegerField

from flowcontrol import redaction


def is_secret_field(field: Field[Any, Any]) -> bool:
    """Say whether a field, or the key of what it refers to, is a secret."""
    if redaction.is_secret_field(field.name):
        return True
    return isinstance(field, ForeignKey) and is_secret_key(field.target_field)


def is_secret_key(field: Field[Any, Any]) -> bool:
    """Say whether a primary key is a secret: a text called ``key`` is, a number is not."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return redaction.is_secret_field(field.name) and not isinstance(field, IntegerField)
