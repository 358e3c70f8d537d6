"""The operations of the editor, and what they refuse."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest

from flowcontrol_core.document.edit import (
    add_step,
    change_step,
    delete_step,
    duplicate_step,
    move_step,
    new_step_id,
    set_options,
    shift_step,
)
from flowcontrol_core.document.places import legal_places
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step
from flowcontrol_core.errors import EditError
from tests.cases import each


def step(step_id: str, **branches: tuple[Step, ...]) -> Step:
    return Step(id=step_id, action="demo.log", config={"text": step_id}, branches=branches)


def found(document: Document, step_id: str) -> Step:
    step = document.find(step_id)
    assert step is not None
    return step


def chain(levels: int, prefix: str = "n") -> Step:
    inner = step(f"{prefix}leaf")
    for number in range(levels):
        inner = step(f"{prefix}{number}", body=(inner,))
    return inner


def then_else(step: Step) -> tuple[str, ...]:
    return ("then", "else") if step.id == "b" else ()


DOCUMENT = Document(steps=(step("a"), step("b", then=(step("c"), step("d"))), step("e")))


def test_a_new_step_id_is_short_and_has_no_look_alikes() -> None:
    ids = {new_step_id(()) for _ in range(500)}
    assert {len(step_id) for step_id in ids} == {4}
    assert not set("".join(ids)) & set("01aeiouylv")
    assert not any(step_id[0].isdigit() for step_id in ids)


def test_a_new_step_id_is_longer_when_the_short_ones_are_crowded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secrets, "choice", lambda characters: characters[0])
    assert new_step_id(()) == "bbbb"
    assert new_step_id({"bbbb"}) == "bbbbb"


def test_a_step_is_added_at_its_place() -> None:
    added = add_step(DOCUMENT, step("x"), Place(parent="b", branch="then", index=1))
    assert added.step_ids() == ("a", "b", "c", "x", "d", "e")
    assert DOCUMENT.step_ids() == ("a", "b", "c", "d", "e")


def test_a_step_can_be_added_to_a_branch_that_is_not_listed_yet() -> None:
    added = add_step(DOCUMENT, step("x"), Place(parent="a", branch="body", index=0))
    assert found(added, "a").branches == {"body": (step("x"),)}


def test_a_step_with_an_id_that_is_taken_cannot_be_added() -> None:
    with pytest.raises(EditError, match="already has a step 'd'"):
        add_step(DOCUMENT, step("x", then=(step("d"),)), Place(index=0))


def test_an_invalid_step_cannot_be_added() -> None:
    with pytest.raises(EditError, match=r"steps\[0\].action: is 'nonsense'"):
        add_step(DOCUMENT, Step(id="x", action="nonsense"), Place(index=0))


@each(
    ("place", "message"),
    [
        (Place(index=4), "no place 4 in a list of 3 steps"),
        (Place(index=-1), "no place -1"),
        (Place(parent="b", branch="then", index=3), "no place 3 in a list of 2 steps"),
        (Place(parent="b", branch="else", index=1), "no place 1 in a list of 0 steps"),
        (Place(parent="zz", branch="then", index=0), "no step 'zz'"),
        (Place(parent="b", index=0), "the name of one of its branches"),
        (Place(parent="b", branch="Then", index=0), "the name of one of its branches"),
        (Place(branch="then", index=0), "needs the step and the name of one of its branches"),
    ],
)
def test_a_place_that_does_not_exist_is_refused(place: Place, message: str) -> None:
    with pytest.raises(EditError, match=message):
        add_step(DOCUMENT, step("x"), place)
    moving = replace(place, index=3) if place == Place(index=4) else place
    with pytest.raises(EditError):
        move_step(DOCUMENT, "a", moving)


@each(
    "operation",
    [
        lambda: change_step(DOCUMENT, "zz", config={}, config_version=1),
        lambda: change_step(DOCUMENT, "zz", note=""),
        lambda: change_step(DOCUMENT, "zz", disabled=True),
        lambda: change_step(DOCUMENT, "zz", retry=None, timeout=None, if_unknown="fail"),
        lambda: move_step(DOCUMENT, "zz", Place(index=0)),
        lambda: shift_step(DOCUMENT, "zz", 1),
        lambda: duplicate_step(DOCUMENT, "zz"),
        lambda: delete_step(DOCUMENT, "zz"),
        lambda: DOCUMENT.visit("zz"),
        lambda: legal_places(DOCUMENT, moving="zz", branches=then_else),
    ],
)
def test_an_unknown_step_is_refused_by_every_operation(operation: Callable[[], object]) -> None:
    with pytest.raises(EditError, match="no step 'zz'"):
        operation()


def test_a_step_is_configured_without_sharing_the_configuration() -> None:
    config = {"list": [1]}
    changed = change_step(DOCUMENT, "c", config=config, config_version=2)
    config["list"].append(2)
    assert (found(changed, "c").config, found(changed, "c").config_version) == ({"list": [1]}, 2)
    assert changed.step_ids() == DOCUMENT.step_ids()


@pytest.mark.parametrize("value", [float("nan"), "\x00", (1,), object()])
def test_a_configuration_that_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(EditError, match=r"config\.text"):
        change_step(DOCUMENT, "c", config={"text": value}, config_version=1)


def test_a_configuration_of_any_depth_is_refused_without_a_recursion_error() -> None:
    value: object = 1
    for _ in range(50_000):
        value = {"key": value}
    with pytest.raises(EditError, match="nests deeper"):
        change_step(DOCUMENT, "c", config={"text": value}, config_version=1)


def test_a_step_is_annotated() -> None:
    assert found(change_step(DOCUMENT, "d", note="why"), "d").note == "why"
    with pytest.raises(EditError, match="at most 2,000"):
        change_step(DOCUMENT, "d", note="x" * 2_001)


def test_a_step_is_disabled_and_enabled() -> None:
    disabled = change_step(DOCUMENT, "d", disabled=True)
    assert found(disabled, "d").disabled
    assert change_step(disabled, "d", disabled=False) == DOCUMENT


def test_the_policy_of_a_step_is_replaced_as_a_whole() -> None:
    retry = RetryPolicy(attempts=3)
    changed = change_step(DOCUMENT, "d", retry=retry, timeout=60, if_unknown="fail")
    assert found(changed, "d") == replace(step("d"), retry=retry, timeout=60, if_unknown="fail")
    assert change_step(changed, "d", retry=None, timeout=None, if_unknown="repeat") == DOCUMENT
    with pytest.raises(EditError, match="attempts"):
        change_step(DOCUMENT, "d", retry=RetryPolicy(attempts=0), timeout=60, if_unknown="fail")


def test_a_step_is_moved_with_everything_inside_it() -> None:
    moved = move_step(DOCUMENT, "b", Place(index=2))
    assert moved.step_ids() == ("a", "e", "b", "c", "d")


def test_the_index_of_a_move_counts_the_list_without_the_moved_step() -> None:
    assert move_step(DOCUMENT, "a", Place(index=1)).step_ids() == ("b", "c", "d", "a", "e")
    assert move_step(DOCUMENT, "a", Place(index=0)) == DOCUMENT


def test_a_branch_that_was_moved_empty_is_left_out() -> None:
    moved = move_step(
        move_step(DOCUMENT, "c", Place(index=0)), "d", Place(parent="c", branch="body", index=0)
    )
    assert found(moved, "b").branches == {}


@pytest.mark.parametrize("parent", ["b", "c"])
def test_a_step_cannot_be_moved_into_itself_or_a_descendant(parent: str) -> None:
    with pytest.raises(EditError, match="cannot be moved into itself"):
        move_step(DOCUMENT, "b", Place(parent=parent, branch="then", index=0))


def test_a_step_is_shifted_within_its_list() -> None:
    assert shift_step(DOCUMENT, "d", -1).step_ids() == ("a", "b", "d", "c", "e")
    assert shift_step(DOCUMENT, "a", 1).step_ids() == ("b", "c", "d", "a", "e")


@pytest.mark.parametrize(("step_id", "by", "edge"), [("a", -1, "first"), ("d", 1, "last")])
def test_a_step_at_the_edge_cannot_be_shifted_over_it(
    step_id: str, by: Literal[-1, 1], edge: str
) -> None:
    with pytest.raises(EditError, match=f"already the {edge} of its list"):
        shift_step(DOCUMENT, step_id, by)


def test_a_step_is_shifted_by_one_only() -> None:
    with pytest.raises(EditError, match="not by 2"):
        shift_step(DOCUMENT, "a", 2)  # type: ignore[arg-type]


def test_a_duplicate_stands_after_its_original_with_ids_of_its_own() -> None:
    doubled, copy_id = duplicate_step(DOCUMENT, "b")
    copy = found(doubled, copy_id)
    assert [inner.config for inner in copy.branches["then"]] == [{"text": "c"}, {"text": "d"}]
    assert copy.config == {"text": "b"}
    assert doubled.visit(copy_id).place == Place(index=2)
    assert len(set(doubled.step_ids())) == 8


def test_a_step_is_deleted_with_everything_inside_it() -> None:
    assert delete_step(DOCUMENT, "b").step_ids() == ("a", "e")
    assert delete_step(DOCUMENT, "c").step_ids() == ("a", "b", "d", "e")


def test_the_options_of_the_document_are_replaced() -> None:
    changed = set_options(DOCUMENT, object="shop.order", guard="object.open", time_zone="UTC")
    assert (changed.object, changed.guard, changed.time_zone) == (
        "shop.order",
        "object.open",
        "UTC",
    )
    assert changed.steps == DOCUMENT.steps
    assert set_options(changed, object=None, guard="", time_zone=None) == DOCUMENT
    with pytest.raises(EditError, match=r"\.\./Atlantis"):
        set_options(DOCUMENT, object=None, guard="", time_zone="../Atlantis")


def test_legal_places_are_in_reading_order_and_know_branches_that_are_not_listed() -> None:
    places = legal_places(DOCUMENT, branches=then_else)
    assert [(place.parent, place.branch, place.index) for place in places] == [
        (None, None, 0),
        (None, None, 1),
        ("b", "then", 0),
        ("b", "then", 1),
        ("b", "then", 2),
        ("b", "else", 0),
        (None, None, 2),
        (None, None, 3),
    ]


def test_legal_places_of_a_moving_step_are_outside_of_it() -> None:
    places = legal_places(DOCUMENT, moving="b", branches=then_else)
    assert [(place.parent, place.index) for place in places] == [(None, 0), (None, 1), (None, 2)]


def test_a_branch_that_the_action_does_not_offer_has_no_places() -> None:
    places = legal_places(DOCUMENT, branches=lambda step: ())
    assert [place.parent for place in places] == [None] * 4


def test_no_step_can_be_put_deeper_than_a_document_allows() -> None:
    document = Document(steps=(chain(48), chain(2, prefix="m")))
    place = Place(parent="nleaf", branch="body", index=0)
    with pytest.raises(EditError, match="at most 50 branches deep"):
        move_step(document, "m1", place)
    places = legal_places(document, moving="m1", branches=lambda step: ("body",))
    assert place not in places
    assert Place(parent="n0", branch="body", index=0) in places
    move_step(document, "m1", Place(parent="n0", branch="body", index=0))


def test_a_step_of_any_depth_is_refused_without_a_recursion_error() -> None:
    with pytest.raises(EditError, match="at most 50 branches deep"):
        add_step(DOCUMENT, chain(5_000), Place(index=0))


def test_a_full_document_takes_no_further_step_but_lets_its_steps_be_moved() -> None:
    document = Document(steps=tuple(step(f"s{number}") for number in range(2_000)))
    assert legal_places(document, branches=then_else) == []
    assert len(legal_places(document, moving="s0", branches=then_else)) == 2_000
    with pytest.raises(EditError, match="more than 2,000 steps"):
        duplicate_step(document, "s7")
