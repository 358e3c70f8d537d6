"""The parts of a document that an edit has changed, as JSON: enough to take the edit back.

A document consists of what it says of itself, of each step without those inside it, and of the
order of each list of steps. A patch has some of these parts; the others stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from flowcontrol_core.document.format import canonical_json, parse, written
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import EditError, gettext

Patch: TypeAlias = Mapping[str, Mapping[str, Any]]
"""``own``: a step, or under an empty id the document, each without what is inside it; None for a
step that does not exist. ``lists``: the ids of the steps of a list, by ``<step>/<branch>``."""

_DOCUMENT: Final = ""
_TOP: Final = "/"


def patches(old: Document, new: Document) -> tuple[Patch, Patch]:
    """Return the parts that differ, as they are in the old document and in the new one."""
    ids = [each for each in {_DOCUMENT: None, **old.index, **new.index} if _differs(old, new, each)]
    was, now = _lists(old), _lists(new)
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return _patch(old, ids, was, names), _patch(new, ids, now, names)


def agrees(document: Document, patch: Patch) -> bool:
    """Return whether a document has the parts of a patch as they are in it."""
    lists = _lists(document)
    present = _patch(document, [*patch["own"]], lists, [*patch["lists"]])
    return canonical_json(present) == canonical_json(patch)


def apply(document: Document, patch: Patch) -> Document:
    """Return a document with the parts of a patch in place of its own.

    Raises EditError where the rest does not fit them: a step would stand nowhere, or at two
    places; and DocumentError where the document would be too large.
    """
    own = {step_id: _own(document, step_id) for step_id in (_DOCUMENT, *document.index)}
    own |= patch["own"]
    lists = {**_lists(document), **patch["lists"]}
    kept = {step_id for step_id, data in own.items() if data is not None} - {_DOCUMENT}
    # Each once: then what hangs from the top is a tree, and the rest, if any, is not reached.
    if sorted(each for ids in lists.values() for each in ids) != sorted(kept):
        raise _unfit()
    applied = parse({**(own[_DOCUMENT] or {}), "steps": _nested(lists[_TOP], own, _by_step(lists))})
    if len(applied.index) != len(kept):
        raise _unfit()
    return applied


def _differs(old: Document, new: Document, step_id: str) -> bool:
    # An edit makes anew only the steps around what it changes.
    if step_id and old.find(step_id) is new.find(step_id):
        return False
    return canonical_json(_own(old, step_id)) != canonical_json(_own(new, step_id))


def _own(document: Document, step_id: str) -> dict[str, Any] | None:
    if step_id == _DOCUMENT:
        return written(replace(document, steps=()))
    step = document.find(step_id)
    return None if step is None else written(replace(step, branches={}))


def _lists(document: Document) -> dict[str, list[str]]:
    lists = {_TOP: document.steps}
    for step_id, visit in document.index.items():
        inside = visit.step.branches.items()
        lists |= {f"{step_id}/{name}": steps for name, steps in inside if steps}
    return {name: _ids(steps) for name, steps in lists.items()}


def _by_step(lists: Mapping[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """Return lists by the step that they are in, and its branch."""
    inside: dict[str, dict[str, list[str]]] = {}
    for name, ids in lists.items():
        step_id, _slash, branch = name.partition("/")
        inside.setdefault(step_id, {})[branch] = ids
    return inside


def _nested(
    ids: list[str], own: Mapping[str, Any], inside: Mapping[str, Mapping[str, list[str]]]
) -> list[dict[str, Any]]:
    """Return the data of the steps of a list, with those inside them."""
    return [
        {
            **own[step_id],
            "branches": {
                branch: _nested(within, own, inside)
                for branch, within in inside.get(step_id, {}).items()
                if within
            },
        }
        for step_id in ids
    ]


def _unfit() -> EditError:
    return EditError(gettext("Other steps of the flow were changed since, and rely on it."))


def _ids(steps: tuple[Step, ...]) -> list[str]:
    return [step.id for step in steps]


def _patch(
    document: Document, ids: list[str], lists: Mapping[str, list[str]], names: list[str]
) -> Patch:
    own = {step_id: _own(document, step_id) for step_id in ids}
    return {"own": own, "lists": {name: lists.get(name, []) for name in names}}
