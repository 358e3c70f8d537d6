"""Patches of a document: what they hold, and when the rest of a document does not fit them."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol_core.document.edit import change_step, delete_step, move_step
from flowcontrol_core.document.format import parse
from flowcontrol_core.document.patch import agrees, apply, patches
from flowcontrol_core.document.tree import Document, Place
from flowcontrol_core.errors import EditError


def step(step_id: str, *inside: dict[str, Any]) -> dict[str, Any]:
    return {"id": step_id, "action": "a.b", "branches": {"then": [*inside]} if inside else {}}


def make(*steps: dict[str, Any]) -> Document:
    return parse({"format": 1, "steps": list(steps)})


def test_a_patch_has_only_what_was_changed() -> None:
    old = make(step("a", step("b"), step("c")), step("d"))
    before, after = patches(old, change_step(old, "b", note="n"))
    assert before == {"own": {"b": {"id": "b", "action": "a.b", "config": {}}}, "lists": {}}
    assert after["own"]["b"]["note"] == "n"
    before, after = patches(old, move_step(old, "d", Place(index=0)))
    assert (before, after) == (
        {"own": {}, "lists": {"/": ["a", "d"]}},
        {"own": {}, "lists": {"/": ["d", "a"]}},
    )


def test_true_is_not_one() -> None:
    old = make(step("a"))
    one, true = (change_step(old, "a", config={"x": value}) for value in (1, True))
    before, after = patches(one, true)
    assert (agrees(one, before), agrees(one, after)) == (True, False)


def test_a_patch_leaves_what_was_changed_elsewhere() -> None:
    old = make(step("a"), step("b"))
    new = change_step(old, "a", note="mine")
    before, _after = patches(old, new)
    later = change_step(new, "b", note="theirs")
    assert apply(later, before) == change_step(old, "b", note="theirs")


@pytest.mark.parametrize("gone", ["b", "c"])
def test_a_step_that_would_stand_nowhere_or_twice_is_refused(gone: str) -> None:
    old = make(step("a", step("b")), step("c"))
    before, _after = patches(old, delete_step(old, gone))
    # Meanwhile the list of the deleted step came back with a step of its id at another place.
    later = make(step("a"), step("c", step("b"))) if gone == "b" else make(step("a", step("c")))
    with pytest.raises(EditError, match="rely on it"):
        apply(later, before)


def test_steps_inside_each_other_are_refused() -> None:
    inside = make(step("a"), step("b"))
    moved = move_step(inside, "b", Place(parent="a", branch="then", index=0))
    _before, after = patches(inside, moved)
    other = make(step("b", step("a")))
    with pytest.raises(EditError, match="rely on it"):
        apply(other, {**after, "lists": {"a/then": ["b"], "/": []}})
