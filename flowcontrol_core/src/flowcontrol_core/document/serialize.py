"""Writes a document as JSON data, in the one form that is stored and exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from flowcontrol_core.document.rules import MAX_VALUE_DEPTH
from flowcontrol_core.document.tree import Document, RetryPolicy, Step


def to_data(document: Document) -> dict[str, Any]:
    """The canonical JSON form of a document; ``parse`` reads it back as an equal one.

    Defaults are left out, except what a reader wants to see of each step: id, action, config
    and config_version. The data shares nothing with the document. Durations are in seconds.
    """
    return {
        "format": Document.FORMAT,
        **_without_defaults(
            ("object", document.object, None),
            ("guard", document.guard, ""),
            ("time_zone", document.time_zone, None),
        ),
        "steps": [_step(step) for step in document.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "action": step.action,
        "config": _copy(step.config),
        "config_version": step.config_version,
        **_without_defaults(
            ("note", step.note, ""),
            ("disabled", step.disabled, False),
            ("retry", _retry(step.retry), None),
            ("timeout", _number(step.timeout), None),
            ("if_unknown", step.if_unknown, "repeat"),
            ("branches", _branches(step.branches), {}),
        ),
    }


def _branches(branches: Mapping[str, tuple[Step, ...]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [_step(step) for step in steps] for name, steps in branches.items()}


def _retry(policy: RetryPolicy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return {
        "attempts": policy.attempts,
        **_without_defaults(
            ("backoff", _number(policy.backoff), RetryPolicy.BACKOFF),
            ("factor", _number(policy.factor), RetryPolicy.FACTOR),
            ("jitter", policy.jitter, "full"),
            ("errors", list(policy.errors), []),
        ),
    }


def _without_defaults(*entries: tuple[str, Any, Any]) -> dict[str, Any]:
    return {key: value for key, value, default in entries if value != default}


def _number(value: float | None) -> float | None:
    """Whole seconds without a fraction, so that 30 and 30.0 are written alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _copy(value: object, depth: int = 0) -> object:
    """Copies JSON containers; what nests deeper than any valid configuration stays as it is."""
    if depth > MAX_VALUE_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {key: _copy(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item, depth + 1) for item in value]
    return value


def digest(document: Document) -> str:
    """The SHA-256 of the document's canonical JSON, as 64 hexadecimal characters."""
    return hashlib.sha256(canonical_json(_content(document)).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Compact JSON with sorted keys, in which 1 and 1.0 are the same number.

    A database may hand back a number or an order of keys in another notation (PostgreSQL's
    jsonb reads 1e20 back as a whole number); that is no change of the content.
    """
    return json.dumps(
        _plain(value),
        ensure_ascii=False,
        allow_nan=False,
        sort_keys=True,
        separators=(",", ":"),
    )


def _content(document: Document) -> dict[str, Any]:
    """The document's data without its empty branches, which mean the same as absent ones."""
    data = to_data(document)
    pending = list(data["steps"])
    while pending:
        step = pending.pop()
        branches = {name: steps for name, steps in step.pop("branches", {}).items() if steps}
        if branches:
            step["branches"] = branches
        pending.extend(child for steps in branches.values() for child in steps)
    return data


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
