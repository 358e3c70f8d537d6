"""The digest of a document: equal for equal content, whichever way it was written or stored."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flowcontrol_core.document.serialize import to_data
from flowcontrol_core.document.tree import Document


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
