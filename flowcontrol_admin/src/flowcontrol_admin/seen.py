"""What the author of an edit has seen, as a short text that is sent with the edit.

A revision counts the changes of the whole flow. An edit whose own part of it is as its author has
seen it is applied, whatever else was changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from django.utils.crypto import salted_hmac

from flowcontrol_core.document.format import canonical_json, written
from flowcontrol_core.document.tree import Document, Place, Step

_CHARACTERS = 12


def fingerprint(value: Any) -> str:
    """Return a short text that changes whenever the value does.

    It is made with the key of the site: a secret value cannot be guessed from it.
    """
    made = salted_hmac(__name__, canonical_json(value), algorithm="sha256")
    return made.hexdigest()[:_CHARACTERS]


def of_step(step: Step) -> str:
    """Return the fingerprint of a step, without those inside it."""
    return fingerprint(written(replace(step, branches={})))


def of_all(step: Step) -> str:
    """Return the fingerprint of a step and all steps inside it."""
    return fingerprint([[of_step(visit.step), visit.number] for visit in step.walk()])


def of_list(document: Document, place: Place) -> str:
    """Return the fingerprint of the order of the steps in the list of a place."""
    return of_order(place, ids_at(document, place))


def ids_at(document: Document, place: Place) -> list[str]:
    """Return the ids of the steps in the list of a place."""
    if place.parent is None:
        return [step.id for step in document.steps]
    parent = document.visit(place.parent).step
    return [step.id for step in parent.branches.get(place.branch or "", ())]


def of_order(place: Place, step_ids: Collection[str]) -> str:
    """Return the same for the ids of that list."""
    return fingerprint([place.parent, place.branch, [*step_ids]])


def of_outline(document: Document) -> str:
    """Return the fingerprint of where each step stands, whatever it does."""
    return fingerprint([[visit.step.id, visit.number] for visit in document.index.values()])


def of_values(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the fingerprint of each value."""
    return {name: fingerprint(value) for name, value in values.items()}


def write_values(prints: Mapping[str, str]) -> str:
    """Write fingerprints by name as one text."""
    return " ".join(f"{name}:{value}" for name, value in prints.items())


def read_values(text: str) -> dict[str, str]:
    """Read what ``write_values`` wrote; whatever else is in the text is left out."""
    pairs = (item.partition(":") for item in text.split())
    return {name: value for name, colon, value in pairs if colon}
