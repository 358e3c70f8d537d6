"""Which names say that their values are secrets: those are in no payload, nor compared."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Field, ForeignKey, IntegerField

_SECRET = re.compile(
    r"passw(or)?d|token|secret|session|(?<![a-z])([a-z]*key|[a-z]?otp)s?(?![a-z])", re.IGNORECASE
)


def is_secret(name: str) -> bool:
    """Say whether a name is that of a password, token, secret, session, key or the like."""
    return _SECRET.search(name) is not None


def is_secret_field(field: Field[Any, Any]) -> bool:
    """Say whether a field, or the key of what it refers to, is a secret."""
    if is_secret(field.name):
        return True
    return isinstance(field, ForeignKey) and is_secret_key(field.target_field)


def is_secret_key(field: Field[Any, Any]) -> bool:
    """Say whether a primary key is a secret: a text called ``key`` is, a number is not."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return is_secret(field.name) and not isinstance(field, IntegerField)
