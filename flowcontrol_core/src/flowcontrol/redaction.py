"""What a secret is, and how to take it out of JSON and of text."""

from __future__ import annotations

from flowcontrol_core.expressions.visibility import is_secret_key
from flowcontrol_core.redaction import (
    HIDDEN,
    is_secret,
    is_secret_field,
    redact,
    redact_json,
    secrets_in,
)

__all__ = [
    "HIDDEN",
    "is_secret",
    "is_secret_field",
    "is_secret_key",
    "redact",
    "redact_json",
    "secrets_in",
]
