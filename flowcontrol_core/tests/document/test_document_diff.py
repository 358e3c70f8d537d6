"""What changed between two documents."""

from __future__ import annotations

from dataclasses import replace

from flowcontrol_core.document.diff import (
    ABSENT,
    ChangedStep,
    MovedStep,
    diff,
)
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step


def step(step_id: str, **branches: tuple[Step, ...]) -> Step:
    return Step(id=step_id, action="demo.log", branches=branches)


def flow(letters: str) -> Document:
    return Document(steps=tuple(step(letter) for letter in letters))


def moved_ids(old: Document, new: Document) -> list[str]:
    return [entry.step.id for entry in diff(old, new).moved]


def test_equal_documents_have_an_empty_diff() -> None:
    assert diff(flow("abc"), flow("abc")).is_empty
    assert diff(Document(), Document()).is_empty


def test_a_step_that_shifted_because_of_a_neighbour_is_not_moved() -> None:
    inserted = diff(flow("abc"), flow("xabc"))
    assert [(visit.step, visit.place) for visit in inserted.added] == [(step("x"), Place(index=0))]
    assert not inserted.moved
    deleted = diff(flow("abc"), flow("bc"))
    assert [(visit.step, visit.place) for visit in deleted.removed] == [(step("a"), Place(index=0))]
    assert not deleted.moved


def test_one_step_that_went_to_the_other_end_is_the_only_one_moved() -> None:
    assert moved_ids(flow("abcdef"), flow("bcdefa")) == ["a"]
    assert moved_ids(flow("abcdef"), flow("fabcde")) == ["f"]
    assert moved_ids(flow("abcdef"), flow("acdbef")) == ["b"]


def test_a_reversed_list_keeps_one_step_in_place() -> None:
    assert len(moved_ids(flow("abcde"), flow("edcba"))) == 4


def test_a_moved_step_tells_both_places() -> None:
    old = Document(steps=(step("a"), step("b", then=(step("c"),))))
    new = Document(steps=(step("b", then=(step("c"),), other=(step("a"),)),))
    assert diff(old, new).moved == (
        MovedStep(
            step=step("a"),
            old=Place(index=0),
            new=Place(parent="b", branch="other", index=0),
        ),
    )


def test_what_is_inside_a_moved_step_is_not_moved() -> None:
    block = step("b", then=(step("c"), step("d")))
    old = Document(steps=(step("a", body=()), block))
    new = Document(steps=(step("a", body=(block,)),))
    assert moved_ids(old, new) == ["b"]


def test_the_steps_inside_an_added_or_removed_step_are_listed_too() -> None:
    block = step("b", then=(step("c"),))
    difference = diff(Document(), Document(steps=(block,)))
    assert [entry.step.id for entry in difference.added] == ["b", "c"]
    assert difference.added[1].place == Place(parent="b", branch="then", index=0)
    difference = diff(Document(steps=(block,)), Document())
    assert [entry.step.id for entry in difference.removed] == ["b", "c"]


def test_a_step_saved_out_of_a_removed_one_is_moved() -> None:
    difference = diff(Document(steps=(step("b", then=(step("c"),)),)), flow("c"))
    assert [entry.step.id for entry in difference.removed] == ["b"]
    assert [entry.step.id for entry in difference.moved] == ["c"]


def test_changes_of_the_configuration_are_listed_key_by_key() -> None:
    old = replace(step("a"), config={"text": "Hi", "gone": 1, "same": [1, {"x": 2}]})
    new = replace(step("a"), config={"text": "Hello", "same": [1.0, {"x": 2}], "fresh": None})
    (changed,) = diff(Document(steps=(old,)), Document(steps=(new,))).changed
    assert changed == ChangedStep(
        old=old,
        new=new,
        changes=(
            ("config.text", "Hi", "Hello"),  # type: ignore[arg-type]
            ("config.gone", 1, ABSENT),
            ("config.fresh", ABSENT, None),
        ),
    )
    assert repr(ABSENT) == "ABSENT"


def test_true_and_one_are_different_values_of_a_configuration() -> None:
    old = Document(steps=(replace(step("a"), config={"flag": 1}),))
    new = Document(steps=(replace(step("a"), config={"flag": True}),))
    assert not diff(old, new).is_empty


def test_every_other_value_of_a_step_is_compared_too() -> None:
    policy = RetryPolicy(attempts=3)
    new = Step(
        id="a",
        action="demo.other",
        config_version=2,
        note="why",
        disabled=True,
        retry=policy,
        timeout=5.0,
        if_unknown="fail",
    )
    (changed,) = diff(flow("a"), Document(steps=(new,))).changed
    assert changed.changes == (
        ("action", "demo.log", "demo.other"),
        ("config_version", None, 2),
        ("note", "", "why"),
        ("disabled", False, True),
        ("retry", None, policy),
        ("timeout", None, 5.0),
        ("if_unknown", "repeat", "fail"),
    )


def test_a_step_can_be_moved_and_changed_at_once() -> None:
    new = Document(steps=(step("b"), replace(step("a"), note="now last")))
    difference = diff(flow("ab"), new)
    assert len(difference.moved) == 1
    assert [entry.new.id for entry in difference.changed] == ["a"]


def test_changes_of_the_document_itself_are_listed() -> None:
    new = Document(object="shop.order", guard="object.open", time_zone="Europe/Berlin")
    assert diff(Document(), new).options == (
        ("object", None, "shop.order"),
        ("guard", "", "object.open"),
        ("time_zone", None, "Europe/Berlin"),
    )


def test_the_order_in_which_branches_are_listed_is_not_a_difference() -> None:
    old = Document(steps=(step("a", then=(step("b"),), other=(step("c"),)),))
    new = Document(steps=(step("a", other=(step("c"),), then=(step("b"),)),))
    assert diff(old, new).is_empty
