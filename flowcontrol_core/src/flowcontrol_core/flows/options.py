"""What is said about a whole flow, checked by itself, before it is stored."""

from __future__ import annotations

from typing import Any

from flowcontrol_core.document.parse import parse
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DefinitionError, Problem
from flowcontrol_core.flows.document_checks import check_document


def check_options(
    *,
    object: str | None,  # noqa: A002 - the word of the document
    guard: str,
    time_zone: str | None,
) -> list[Problem]:
    """List what is wrong with the model, the guard or the time zone of a flow, by field."""
    data: dict[str, Any] = {"format": 1, "object": object, "guard": guard, "steps": []}
    data["time_zone"] = time_zone
    try:
        document: Document = parse(data)
    except DefinitionError as error:
        return list(error.problems)
    return check_document(document)
