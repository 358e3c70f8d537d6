"""What is true of every document: round trip, digest, diff and the invariants of the edits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcontrol_core.document.diff import diff
from flowcontrol_core.document.edit import (
    add_step,
    change_step,
    delete_step,
    duplicate_step,
    move_step,
    new_step_id,
)
from flowcontrol_core.document.format import digest, parse, to_data
from flowcontrol_core.document.patch import agrees, apply, patches
from flowcontrol_core.document.places import legal_places
from flowcontrol_core.document.tree import Document, RetryPolicy, Step, count_steps

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=3,
)
SECONDS = st.floats(0.001, 10_000) | st.integers(1, 86_400).map(float)
RETRIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 20),
    backoff=SECONDS,
    factor=st.floats(1, 10),
    jitter=st.sampled_from(["full", "none"]),
    errors=st.sampled_from([(), ("OSError",), ("TimeoutError", "smtplib.SMTPException")]),
)
BRANCHES = ("then", "else")
# No deadline: a slow machine is not a failure.
FEW = settings(suppress_health_check=[HealthCheck.too_slow])


def _steps(branches: st.SearchStrategy[dict[str, tuple[Step, ...]]]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        id=st.just("unnumbered"),
        action=st.sampled_from(["builtin.if", "mail.send", "shop.order.pay"]),
        config=st.dictionaries(TEXTS, JSON, max_size=2),
        config_version=st.integers(1, 9),
        note=TEXTS,
        disabled=st.booleans(),
        retry=st.none() | RETRIES,
        timeout=st.none() | SECONDS,
        if_unknown=st.sampled_from(["repeat", "fail"]),
        branches=branches,
    )


def _lists(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[tuple[Step, ...]]:
    return st.lists(steps, max_size=3).map(tuple)


def _numbered(steps: tuple[Step, ...], numbers: Iterator[int]) -> tuple[Step, ...]:
    return tuple(
        replace(
            step,
            id=f"s{next(numbers)}",
            branches={name: _numbered(inner, numbers) for name, inner in step.branches.items()},
        )
        for step in steps
    )


STEPS = st.recursive(
    _steps(st.just({})),
    lambda steps: _steps(st.dictionaries(st.sampled_from(BRANCHES), _lists(steps), max_size=2)),
    max_leaves=5,
)
DOCUMENTS = st.builds(
    Document,
    object=st.none() | st.just("shop.customer"),
    guard=TEXTS,
    time_zone=st.none() | st.just("Europe/Berlin"),
    steps=_lists(STEPS).map(lambda steps: _numbered(steps, count())),
)


def offered(step: Step) -> tuple[str, ...]:
    return BRANCHES


def _without_empty_branches(document: Document) -> Document:
    data = to_data(document)
    _drop_empty(data["steps"])
    return parse(data)


def _drop_empty(steps: list[dict[str, object]]) -> None:
    for step in steps:
        branches = step.get("branches")
        if isinstance(branches, dict):
            for name in [name for name, inner in branches.items() if not inner]:
                del branches[name]
            for inner in branches.values():
                _drop_empty(inner)


@FEW
@given(DOCUMENTS)
def test_parsing_what_was_written_gives_an_equal_document(document: Document) -> None:
    assert parse(to_data(document)) == document


@FEW
@given(DOCUMENTS)
def test_the_written_form_survives_json_and_keeps_the_digest(document: Document) -> None:
    read_back = parse(json.loads(json.dumps(to_data(document), sort_keys=True)))
    assert read_back == document
    assert digest(to_data(read_back)) == digest(to_data(document))


@FEW
@given(DOCUMENTS)
def test_a_document_does_not_differ_from_itself(document: Document) -> None:
    assert diff(document, document).is_empty


@FEW
@given(DOCUMENTS, st.data())
def test_a_diff_is_empty_exactly_when_the_digests_are_equal(
    document: Document, data: st.DataObject
) -> None:
    edited = _edited(document, data)
    assert diff(document, edited).is_empty == (digest(to_data(document)) == digest(to_data(edited)))


@FEW
@given(DOCUMENTS)
def test_an_empty_branch_is_not_content(document: Document) -> None:
    tidy = _without_empty_branches(document)
    assert diff(document, tidy).is_empty
    assert digest(to_data(document)) == digest(to_data(tidy))


@FEW
@given(DOCUMENTS.filter(lambda document: document.steps), st.data())
def test_every_legal_place_can_be_moved_to_and_changes_only_the_place(
    document: Document, data: st.DataObject
) -> None:
    step_id = data.draw(st.sampled_from(document.step_ids()))
    place = data.draw(st.sampled_from(legal_places(document, moving=step_id, branches=offered)))
    moved = move_step(document, step_id, place)
    difference = diff(document, moved)
    assert moved.visit(step_id).place == place
    assert moved.find(step_id) == document.find(step_id)
    assert sorted(moved.step_ids()) == sorted(document.step_ids())
    assert replace(difference, moved=()).is_empty
    # Of two neighbours that change places, either one can be said to have moved.
    assert len(difference.moved) <= 1


@FEW
@given(DOCUMENTS.filter(lambda document: document.steps), st.data())
def test_moving_a_step_to_where_it_stands_changes_nothing(
    document: Document, data: st.DataObject
) -> None:
    step_id = data.draw(st.sampled_from(document.step_ids()))
    place = document.visit(step_id).place
    assert place in legal_places(document, moving=step_id, branches=offered)
    assert diff(document, move_step(document, step_id, place)).is_empty


@FEW
@given(DOCUMENTS, st.data())
def test_legal_places_for_a_new_step_are_all_different_and_all_possible(
    document: Document, data: st.DataObject
) -> None:
    places = legal_places(document, branches=offered)
    assert len(set(places)) == len(places)
    place = data.draw(st.sampled_from(places))
    step = Step(id="new", action="demo.log")
    added = add_step(document, step, place)
    assert added.visit("new").place == place
    assert diff(document, delete_step(added, "new")).is_empty


@FEW
@given(DOCUMENTS.filter(lambda document: document.steps), st.data())
def test_a_duplicate_keeps_everything_but_the_ids(document: Document, data: st.DataObject) -> None:
    step_id = data.draw(st.sampled_from(document.step_ids()))
    doubled, copy_id = duplicate_step(document, step_id)
    original, copy = doubled.find(step_id), doubled.find(copy_id)
    assert original is not None
    assert copy is not None
    renumbered = [_numbered((step,), count()) for step in (original, copy)]
    assert renumbered[0] == renumbered[1]
    assert doubled.visit(copy_id).place.index == doubled.visit(step_id).place.index + 1


@FEW
@given(DOCUMENTS, st.data())
def test_any_sequence_of_edits_keeps_the_ids_unique_and_the_document_valid(
    document: Document, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 5))):
        document = _edited(document, data)
        ids = document.step_ids()
        assert len(set(ids)) == len(ids)
        assert parse(to_data(document)) == document


def _edited(document: Document, data: st.DataObject) -> Document:
    operations = ["move", "duplicate", "delete", "configure", "annotate"] if document.steps else []
    operation = data.draw(st.sampled_from(["add", *operations]))
    if operation == "add":
        place = data.draw(st.sampled_from(legal_places(document, branches=offered)))
        step = Step(id=new_step_id(document.step_ids()), action="demo.log")
        return add_step(document, step, place)
    step_id = data.draw(st.sampled_from(document.step_ids()))
    if operation == "move":
        places = legal_places(document, moving=step_id, branches=offered)
        return move_step(document, step_id, data.draw(st.sampled_from(places)))
    if operation == "duplicate":
        return duplicate_step(document, step_id)[0]
    if operation == "configure":
        config = {"text": data.draw(JSON)}
        return change_step(document, step_id, config=config, config_version=2)
    if operation == "annotate":
        return change_step(document, step_id, note=data.draw(TEXTS))
    return _deleted(document, step_id)


def _deleted(document: Document, step_id: str) -> Document:
    step = document.find(step_id)
    assert step is not None
    smaller = delete_step(document, step_id)
    assert len(smaller.step_ids()) == len(document.step_ids()) - count_steps(step)
    return smaller


@FEW
@given(DOCUMENTS, st.data())
def test_an_edit_is_taken_back_and_made_again_by_its_patches(
    document: Document, data: st.DataObject
) -> None:
    _assert_there_and_back(document, _edited(document, data))


@FEW
@given(DOCUMENTS, DOCUMENTS)
def test_any_document_is_turned_into_another_and_back(old: Document, new: Document) -> None:
    _assert_there_and_back(old, new)


def _assert_there_and_back(old: Document, new: Document) -> None:
    before, after = json.loads(json.dumps(patches(old, new)))
    assert agrees(old, before)
    assert agrees(new, after)
    assert agrees(old, after) == (digest(to_data(old)) == digest(to_data(new)))
    assert _without_empty_branches(apply(new, before)) == _without_empty_branches(old)
    assert _without_empty_branches(apply(old, after)) == _without_empty_branches(new)
