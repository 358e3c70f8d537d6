"""The operations of the editor: each takes a document and returns a new, valid one.

All of them raise EditError, and leave the document as it was, when they are not possible. What
they cannot make invalid is not checked again; the size in bytes is checked where it is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar

from flowcontrol_core.bounds import BRANCH_DEPTH, STEPS
from flowcontrol_core.document.format import (
    BRANCH,
    DOCUMENT_KEYS,
    STEP_KEYS,
    StepReader,
    read_values,
    written,
)
from flowcontrol_core.document.reader import Entry, Reading, collect
from flowcontrol_core.document.tree import Document, Place, Step, map_steps
from flowcontrol_core.errors import DocumentError, EditError, gettext

# No vowels, so that no word comes out; no similar characters such as 0 and o, 1 and l, u and v.
_LETTERS: Final = "bcdfghjkmnpqrstwxz"
_CHARACTERS: Final = _LETTERS + "23456789"
_SHORTEST: Final = 4
_TRIES: Final = 20
_Value = TypeVar("_Value")


def new_step_id(taken: Collection[str]) -> str:
    """Return a random id that is not in ``taken``: four characters, more where those are crowded.

    It begins with a letter, so that YAML never reads it as a number.
    """
    length = _SHORTEST
    while True:
        for _ in range(_TRIES):
            rest = "".join(secrets.choice(_CHARACTERS) for _ in range(length - 1))
            step_id = secrets.choice(_LETTERS) + rest
            if step_id not in taken:
                return step_id
        length += 1


def add_step(document: Document, step: Step, place: Place) -> Document:
    """Put a step, with everything inside it, at a place; its ids must be new."""
    taken = set(document.index)
    for visit in step.walk():
        if visit.step.id in taken:
            text = gettext("The flow already has a step %(step)r; give the added step a new id.")
            raise EditError(text % {"step": visit.step.id})
        taken.add(visit.step.id)
    added = _within_bounds(_splice(document, place, 0, step))
    visit = added.visit(step.id)
    entry = Entry(written(step), visit.path)
    return _splice(added, visit.place, 1, _valid(StepReader().step(entry, visit.depth)))


def change_step(document: Document, step_id: str, **values: Any) -> Document:
    """Replace values of a step, such as its ``note`` or its ``config``; not its id or branches."""
    visit = document.visit(step_id)
    read = _valid(read_values(STEP_KEYS, values, visit.path, step_id))
    return _splice(document, visit.place, 1, replace(visit.step, **read))


def move_step(document: Document, step_id: str, place: Place) -> Document:
    """Move a step with everything inside it; the index counts the list without that step."""
    visit = document.visit(step_id)
    if any(inside.step.id == place.parent for inside in visit.step.walk()):
        text = gettext("The step %(step)r cannot be moved into itself or a step inside it.")
        raise EditError(text % {"step": step_id})
    without = _splice(document, visit.place, 1)
    return _within_bounds(_splice(without, place, 0, visit.step))


def shift_step(document: Document, step_id: str, by: Literal[-1, 1]) -> Document:
    """Move a step up (-1) or down (1) by one within its list."""
    if by not in (-1, 1):
        text = gettext("A step is shifted by -1 (up) or 1 (down), not by %(by)r.")
        raise EditError(text % {"by": by})
    place = document.visit(step_id).place
    index = place.index + by
    if not 0 <= index < len(_steps_at(document, place)):
        first = gettext("The step %(step)r is already the first of its list and cannot go up.")
        last = gettext("The step %(step)r is already the last of its list and cannot go down.")
        raise EditError((first if by < 0 else last) % {"step": step_id})
    return move_step(document, step_id, replace(place, index=index))


def duplicate_step(document: Document, step_id: str) -> tuple[Document, str]:
    """Copy a step right after itself, and return the id of the copy too.

    Everything inside it and all configuration is copied; each copy has an id of its own.
    """
    visit = document.visit(step_id)
    after = replace(visit.place, index=visit.position + 1)
    copy = with_new_ids(visit.step, document.index)
    return _within_bounds(_splice(document, after, 0, copy)), copy.id


def with_new_ids(step: Step, taken: Collection[str]) -> Step:
    """Return a step, with everything inside it, under ids that are not in ``taken``."""
    used, ids = set(taken), {}
    for inside in step.walk():
        ids[inside.step.id] = new_step_id(used)
        used.add(ids[inside.step.id])
    (copy,) = map_steps((step,), lambda one: replace(one, id=ids[one.id]))
    return copy


def delete_step(document: Document, step_id: str) -> Document:
    """Remove a step with everything inside it."""
    return _splice(document, document.visit(step_id).place, 1)


def set_options(document: Document, **options: Any) -> Document:
    """Replace what applies to the whole flow: ``object``, ``guard`` or ``time_zone``."""
    return replace(document, **_valid(read_values(DOCUMENT_KEYS, options)))


def _valid(reading: Reading[_Value]) -> _Value:
    try:
        return collect(reading)
    except DocumentError as error:
        raise EditError(str(error)) from error


def _within_bounds(document: Document) -> Document:
    """Return the document; raises EditError for too many steps, or too deep ones."""
    if any(visit.depth > BRANCH_DEPTH for visit in document.index.values()):
        text = gettext("A step can be at most %(most)d branches deep; use another flow.")
        raise EditError(text % {"most": BRANCH_DEPTH})
    if len(document.index) > STEPS:
        text = gettext("The flow has more than %(most)s steps; split it into several flows.")
        raise EditError(text % {"most": f"{STEPS:,}"})
    return document


def _steps_at(document: Document, place: Place) -> tuple[Step, ...]:
    """Return the list of steps that a place is in; empty for a branch that has none yet."""
    if place.parent is None and place.branch is None:
        return document.steps
    if place.parent is None or place.branch is None or not BRANCH.fullmatch(place.branch):
        text = gettext(
            "A place inside a step needs the step and the name of one of its branches, such as "
            "'then', not %(step)r and %(branch)r."
        )
        raise EditError(text % {"step": place.parent, "branch": place.branch})
    return document.visit(place.parent).step.branches.get(place.branch, ())


def _splice(document: Document, place: Place, removed: int, *inserted: Step) -> Document:
    """Replace steps at a place, and so each step around it; a branch without steps is left out."""
    steps = _steps_at(document, place)
    if not 0 <= place.index <= len(steps):
        text = gettext("There is no place %(index)d in a list of %(count)d steps.")
        raise EditError(text % {"index": place.index, "count": len(steps)})
    spliced = (*steps[: place.index], *inserted, *steps[place.index + removed :])
    if place.parent is None:
        return replace(document, steps=spliced)
    parent = document.visit(place.parent)
    branches = {**parent.step.branches, place.branch or "": spliced}
    kept = {name: inside for name, inside in branches.items() if inside}
    return _splice(document, parent.place, 1, replace(parent.step, branches=kept))
