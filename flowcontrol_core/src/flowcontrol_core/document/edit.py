"""The operations of the editor: each takes a document and returns a new, valid one.

All of them raise EditError, and leave the document as it was, when they are not possible.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from flowcontrol_core.document.parse import parse
from flowcontrol_core.document.rules import BRANCH, MAX_DEPTH
from flowcontrol_core.document.serialize import to_data
from flowcontrol_core.document.tree import Document, IfUnknown, Place, RetryPolicy, Step, Visit
from flowcontrol_core.errors import DocumentError, EditError

# No vowels, so that no word comes out; no look-alikes such as 0 and o, 1 and l, u and v.
_LETTERS: Final = "bcdfghjkmnpqrstwxz"
_CHARACTERS: Final = _LETTERS + "23456789"
_SHORTEST: Final = 4
_TRIES: Final = 20


def new_step_id(taken: Collection[str]) -> str:
    """A random id that is not in ``taken``: four characters, more where those are crowded.

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
    """Puts a step, with everything inside it, at a place. Its ids must be new."""
    inside = Document(steps=(step,)).step_ids()
    twice = sorted(set(inside) & set(document.step_ids()))
    if twice:
        raise EditError(
            f"The flow already has a step {twice[0]!r}; give the added step a new id (new_step_id)."
        )
    return _checked(_insert(document, step, place))


def configure_step(
    document: Document, step_id: str, config: Mapping[str, Any], config_version: int
) -> Document:
    """Replaces the configuration of a step."""
    step = replace(_step(document, step_id), config=config, config_version=config_version)
    return _checked(_put_step(document, step))


def annotate_step(document: Document, step_id: str, note: str) -> Document:
    """Replaces the note of a step; an empty one removes it."""
    step = replace(_step(document, step_id), note=note)
    return _checked(_put_step(document, step))


def set_disabled(document: Document, step_id: str, disabled: bool) -> Document:
    """Disables a step, so that runs pass it by, or enables it."""
    step = replace(_step(document, step_id), disabled=disabled)
    return _checked(_put_step(document, step))


def set_policy(
    document: Document,
    step_id: str,
    *,
    retry: RetryPolicy | None,
    timeout: float | None,
    if_unknown: IfUnknown,
) -> Document:
    """Replaces what happens when a step fails or takes too long (``timeout``: seconds)."""
    step = replace(_step(document, step_id), retry=retry, timeout=timeout, if_unknown=if_unknown)
    return _checked(_put_step(document, step))


def move_step(document: Document, step_id: str, place: Place) -> Document:
    """Moves a step with everything inside it; the index counts the list without that step."""
    visit = _visit(document, step_id)
    if place.parent is not None and Document(steps=(visit.step,)).find(place.parent):
        raise EditError(
            f"The step {step_id!r} cannot be moved into itself or into a step inside it; "
            f"choose a place outside of it."
        )
    return _checked(_insert(_remove(document, visit), visit.step, place))


def shift_step(document: Document, step_id: str, by: Literal[-1, 1]) -> Document:
    """Moves a step up (-1) or down (1) by one within its list."""
    if by not in (-1, 1):
        raise EditError(f"A step is shifted by -1 (up) or 1 (down), not by {by!r}.")
    place = place_of(document, step_id)
    index = place.index + by
    if not 0 <= index < len(_list(document, place)):
        edge, way = ("first", "up") if by < 0 else ("last", "down")
        raise EditError(
            f"The step {step_id!r} is already the {edge} of its list and cannot go {way}; "
            f"move it to another list instead."
        )
    return move_step(document, step_id, replace(place, index=index))


def duplicate_step(document: Document, step_id: str) -> tuple[Document, str]:
    """Copies a step right behind itself, and answers with the id of the copy too.

    Everything inside it and all configuration is copied; each copy has an id of its own.
    """
    place = place_of(document, step_id)
    copy = _with_new_ids(_step(document, step_id), set(document.step_ids()))
    return _checked(_insert(document, copy, replace(place, index=place.index + 1))), copy.id


def delete_step(document: Document, step_id: str) -> Document:
    """Removes a step with everything inside it."""
    return _checked(_remove(document, _visit(document, step_id)))


def set_options(
    document: Document,
    *,
    object: str | None,  # noqa: A002 - the word of the document
    guard: str,
    time_zone: str | None,
) -> Document:
    """Replaces what is said about the whole flow."""
    return _checked(replace(document, object=object, guard=guard, time_zone=time_zone))


def place_of(document: Document, step_id: str) -> Place:
    """Where a step stands; moving it there changes nothing."""
    visit = _visit(document, step_id)
    parent = visit.parent.id if visit.parent else None
    return Place(parent=parent, branch=visit.branch, index=visit.position)


def _visit(document: Document, step_id: str) -> Visit:
    for visit in document.walk():
        if visit.step.id == step_id:
            return visit
    raise EditError(f"The flow has no step {step_id!r}; it may have been deleted. Reload the flow.")


def _list(document: Document, place: Place) -> tuple[Step, ...]:
    """The list of steps that a place is in; empty for a branch that has none yet."""
    if place.parent is None:
        if place.branch is not None:
            raise EditError(
                f"The branch {place.branch!r} needs the step it belongs to: name a parent, or "
                f"no branch for the top level."
            )
        return document.steps
    parent = _step(document, place.parent)
    if place.branch is None or not BRANCH.fullmatch(place.branch):
        raise EditError(
            f"A place inside the step {place.parent!r} needs the name of one of its branches, "
            f"such as 'then', not {place.branch!r}."
        )
    return parent.branches.get(place.branch, ())


def _insert(document: Document, step: Step, place: Place) -> Document:
    steps = _list(document, place)
    if not 0 <= place.index <= len(steps):
        raise EditError(
            f"There is no place {place.index} in a list of {len(steps)} steps; "
            f"choose one from 0 to {len(steps)}."
        )
    return _put_list(document, place, (*steps[: place.index], step, *steps[place.index :]))


def _remove(document: Document, visit: Visit) -> Document:
    place = place_of(document, visit.step.id)
    steps = _list(document, place)
    return _put_list(document, place, steps[: place.index] + steps[place.index + 1 :])


def _put_list(document: Document, place: Place, steps: tuple[Step, ...]) -> Document:
    """Replaces the list that a place is in; a branch without steps is left out."""
    if place.parent is None:
        return replace(document, steps=steps)
    parent = _step(document, place.parent)
    branches = {**parent.branches, place.branch or "": steps}
    kept = {name: inside for name, inside in branches.items() if inside}
    return _put_step(document, replace(parent, branches=kept))


def _put_step(document: Document, step: Step) -> Document:
    """Replaces the step with the same id, and so each list around it up to the top."""
    place = place_of(document, step.id)
    steps = _list(document, place)
    return _put_list(document, place, (*steps[: place.index], step, *steps[place.index + 1 :]))


def _step(document: Document, step_id: str) -> Step:
    return _visit(document, step_id).step


def _with_new_ids(step: Step, taken: set[str]) -> Step:
    step_id = new_step_id(taken)
    taken.add(step_id)
    branches = {
        name: tuple(_with_new_ids(child, taken) for child in steps)
        for name, steps in step.branches.items()
    }
    return replace(step, id=step_id, branches=branches)


def _checked(document: Document) -> Document:
    """The document as it will be read back, so that an edit never stores an invalid one."""
    if any(visit.depth > MAX_DEPTH for visit in document.walk()):
        raise EditError(
            f"A step can be at most {MAX_DEPTH} branches deep; move these steps into a flow "
            f"of their own."
        )
    try:
        return parse(to_data(document))
    except DocumentError as error:
        raise EditError(str(error)) from error
