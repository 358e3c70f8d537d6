"""A document as a value: walking it and finding steps."""

from __future__ import annotations

import dataclasses

import pytest

from flowcontrol_core.document.tree import Document, Step, count_steps

INNER = Step(id="c", action="demo.log")
BRANCHING = Step(
    id="b",
    action="demo.if",
    branches={"then": (INNER,), "else": (Step(id="d", action="demo.log"),)},
)
DOCUMENT = Document(steps=(Step(id="a", action="demo.log"), BRANCHING, Step(id="e", action="x.y")))


def test_walk_yields_parents_before_what_is_inside_them_in_reading_order() -> None:
    visits = [
        (visit.step.id, visit.place.parent, visit.branch, visit.position, visit.depth)
        for visit in DOCUMENT.walk()
    ]
    assert visits == [
        ("a", None, None, 0, 0),
        ("b", None, None, 1, 0),
        ("c", "b", "then", 0, 1),
        ("d", "b", "else", 0, 1),
        ("e", None, None, 2, 0),
    ]


def test_step_ids_are_in_reading_order() -> None:
    assert DOCUMENT.step_ids() == ("a", "b", "c", "d", "e")


def test_find_looks_into_branches_and_answers_none_for_an_unknown_id() -> None:
    assert DOCUMENT.find("c") is INNER
    assert DOCUMENT.find("nowhere") is None


def test_count_steps_counts_the_step_and_everything_inside_it() -> None:
    assert count_steps(INNER) == 1
    assert count_steps(BRANCHING) == 3


def test_walk_survives_a_depth_that_no_recursion_would() -> None:
    step = INNER
    for number in range(5_000):
        step = Step(id=f"n{number}", action="demo.body", branches={"body": (step,)})
    assert count_steps(step) == 5_001


def test_a_document_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DOCUMENT.guard = "object.is_active"  # type: ignore[misc]
