"""A state is private to its run, notices its changes, and can go back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core.engine.state import NO_VALUE, State
from flowcontrol_core.errors import StateError
from flowcontrol_core.redaction import hiding

KEYS = st.sampled_from("abc")
SMALL = st.recursive(
    st.none() | st.integers(-5, 5) | st.booleans() | st.text("xy", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=5,
)
VALUES = st.dictionaries(KEYS, SMALL, max_size=3)
Change = Callable[[State], None]


def _set(key: str, value: Any) -> Change:
    return lambda state: state.__setitem__(key, value)


def _delete(key: str) -> Change:
    return lambda state: state.pop(key, None)


def _replace(values: dict[str, Any]) -> Change:
    return lambda state: state.replace(values)


def _change_in_place(key: str, value: Any) -> Change:
    def change(state: State) -> None:
        found = state.get(key)
        if isinstance(found, list):
            found.append(value)
        elif isinstance(found, dict):
            found["new"] = value

    return change


CHANGES = st.lists(
    st.builds(_set, KEYS, SMALL)
    | st.builds(_delete, KEYS)
    | st.builds(_replace, VALUES)
    | st.builds(_change_in_place, KEYS, SMALL),
    max_size=8,
)


def apply(state: State, changes: list[Change]) -> None:
    for change in changes:
        change(state)


def values_of(state: State) -> dict[str, Any]:
    return copy.deepcopy(dict(state.peek()))


@given(VALUES, CHANGES, CHANGES)
def test_undoing_goes_back_to_the_last_taking_of_changes(
    values: dict[str, Any], first: list[Change], second: list[Change]
) -> None:
    state = State(values)
    apply(state, first)
    state.take_changes()
    before = values_of(state)
    apply(state, second)
    state.undo_changes()
    assert values_of(state) == before
    assert state.take_changes() == {}


@given(VALUES, CHANGES)
def test_the_changes_lead_from_the_values_before_to_those_after(
    values: dict[str, Any], changes: list[Change]
) -> None:
    state = State(values)
    apply(state, changes)
    replayed = copy.deepcopy(values)
    for key, (before, after) in state.take_changes().items():
        assert replayed.get(key, NO_VALUE) == before
        assert before is NO_VALUE or before != after
        if after is NO_VALUE:
            del replayed[key]
        else:
            replayed[key] = after
    assert replayed == values_of(state)


@given(VALUES, CHANGES, CHANGES)
def test_restoring_goes_back_to_the_snapshot_as_often_as_wanted(
    values: dict[str, Any], first: list[Change], second: list[Change]
) -> None:
    state = State(values)
    snapshot = state.snapshot()
    for changes in (first, second):
        apply(state, changes)
        state.restore(snapshot)
        assert values_of(state) == values
        assert state.take_changes() == {}


@given(VALUES, CHANGES)
def test_the_account_of_the_size_is_right_after_any_changes(
    values: dict[str, Any], changes: list[Change]
) -> None:
    state = State(values)
    for change in changes:
        change(state)
        state.take_changes()
    # What is equal (1 and True) is not a change, and may differ by a few bytes.
    assert abs(state._total - State(values_of(state))._total) <= 4 * 20


@given(VALUES)
def test_the_stored_form_gives_the_same_state(values: dict[str, Any]) -> None:
    again = State.from_json(State(values).to_json())
    assert values_of(again) == values
    assert again.take_changes() == {}


def test_two_runs_never_share_a_value() -> None:
    shared: dict[str, Any] = {"items": [1, {"deep": [2]}]}
    parent, child = State(shared), State(shared)
    copied = State(parent)
    parent["items"][1]["deep"].append(3)
    assert child["items"] == copied["items"] == [1, {"deep": [2]}]
    assert shared == {"items": [1, {"deep": [2]}]}


def test_a_value_is_private_from_its_assignment_on() -> None:
    state, given = State(), [1]
    state["a"] = given
    given.append(2)
    assert state["a"] == [1]


def test_a_container_that_was_read_is_not_the_states_any_more_after_the_step() -> None:
    state = State({"a": [1]})
    kept = state["a"]
    kept.append(2)
    state.take_changes()
    kept.append(3)
    assert state["a"] == [1, 2]


def test_the_values_in_a_change_are_not_those_of_the_state() -> None:
    state = State({"a": [1]})
    state["a"].append(2)
    changes = state.take_changes()
    state["a"].append(3)
    assert changes == {"a": ([1], [1, 2])}


@pytest.mark.parametrize(
    "read", [lambda s: s["a"], lambda s: s.get("a"), lambda s: next(iter(s.values()))]
)
def test_a_change_in_place_is_noticed_however_the_container_was_read(
    read: Callable[[State], Any],
) -> None:
    state = State({"a": {"b": 1}})
    read(state)["b"] = 2
    assert state.take_changes() == {"a": ({"b": 1}, {"b": 2})}


def test_what_is_put_into_a_container_becomes_json_at_the_end_of_the_step() -> None:
    state = State({"a": []})
    state["a"].append((Decimal("1.5"), date(2026, 1, 1)))
    state.take_changes()
    assert state.to_json() == {"a": [[{"$decimal": "1.5"}, {"$date": "2026-01-01"}]]}


@pytest.mark.parametrize("bad", [{1}, object(), float("nan")])
def test_a_container_given_what_cannot_be_stored_is_refused_and_the_state_before_stands(
    bad: object,
) -> None:
    state = State({"a": [1], "n": 1})
    state["n"] = 2
    state["a"].append(bad)
    with pytest.raises(StateError, match=r"state\.a\[1\]"):
        state.take_changes()
    state.undo_changes()
    assert values_of(state) == {"a": [1], "n": 1}


@pytest.mark.parametrize("bad", [{1}, object(), float("nan")])
def test_a_refused_assignment_changes_nothing(bad: object) -> None:
    state = State({"a": 1})
    with pytest.raises(StateError, match=r"state\.a"):
        state["a"] = bad
    with pytest.raises(StateError, match=r"state\.b"):
        state.replace({"b": bad})
    assert values_of(state) == {"a": 1}
    assert state.take_changes() == {}


def test_a_state_that_has_become_too_large_is_refused_and_the_state_before_stands() -> None:
    state = State({"a": "x"}, max_bytes=100)
    state["b"] = "y" * 100
    with pytest.raises(StateError, match="more than the 100 allowed"):
        state.take_changes()
    state.undo_changes()
    assert values_of(state) == {"a": "x"}
    state["b"] = "y" * 10
    assert state.take_changes() == {"b": (NO_VALUE, "y" * 10)}


def test_bytes_count_not_characters() -> None:
    with pytest.raises(StateError, match="more than the 100 allowed"):
        State({"a": "ä" * 60}, max_bytes=100)


def test_a_state_grown_in_place_is_refused_too() -> None:
    state = State({"a": []}, max_bytes=100)
    state["a"].extend(range(100))
    with pytest.raises(StateError, match="Store large data in a model"):
        state.take_changes()


def test_a_state_above_a_lowered_limit_may_shrink() -> None:
    stored = State({"a": "x" * 200, "b": "x" * 200}).to_json()
    state = State.from_json(stored, max_bytes=100)
    del state["b"]
    assert set(state.take_changes()) == {"b"}
    state["c"] = 1
    with pytest.raises(StateError, match="more than the 100 allowed"):
        state.take_changes()


@pytest.mark.parametrize("values", [[1], "text", 5])
def test_replacing_the_state_by_something_else_than_a_mapping_is_refused(values: Any) -> None:
    state = State({"a": 1})
    with pytest.raises(StateError, match="must be a mapping, not a"):
        state.replace(values)
    with pytest.raises(StateError, match="must be a mapping, not a"):
        State(values)
    assert values_of(state) == {"a": 1}


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_a_stored_state_that_is_not_an_object_says_what_to_do(data: Any) -> None:
    with pytest.raises(StateError, match="Correct it with the operator action “Edit state”"):
        State.from_json(data)


def test_keys_are_text() -> None:
    state = State()
    with pytest.raises(StateError, match="key 1 of the state is not text"):
        state[1] = 2  # type: ignore[index]


def test_it_is_a_mapping_like_any_other() -> None:
    state = State({"a": 1})
    state.update(b=2)
    state.setdefault("c", []).append(3)
    assert list(state) == ["a", "b", "c"]
    assert (len(state), "b" in state, "x" in state) == (3, True, False)
    assert state.pop("b") == 2
    with pytest.raises(KeyError):
        del state["b"]
    assert state == {"a": 1, "c": [3]}
    assert repr(state) == "State({'a': 1, 'c': [3]})"


def test_a_key_that_came_and_went_in_one_step_is_not_a_change() -> None:
    state = State()
    state["a"] = 1
    del state["a"]
    assert state.take_changes() == {}


def test_absent_stays_itself_when_it_is_copied() -> None:
    assert copy.deepcopy(NO_VALUE) is NO_VALUE


def test_what_a_variable_hid_is_given_back_unseen_and_counts_again() -> None:
    state = State({"a": 1, "b": "x" * 50}, max_bytes=100)
    state["b"] = 0
    state["c"] = "y" * 50
    state.take_changes()
    state.give_back({"a": [], "b": ["x" * 50], "d": []})
    assert (dict(state), state.take_changes()) == ({"c": "y" * 50, "b": "x" * 50}, {})
    state["e"] = 1
    with pytest.raises(StateError, match="more than the 100 allowed"):
        state.take_changes()


@pytest.mark.parametrize("key", ["a\0", "\0", "a\ud83d", "\udcff"])
def test_a_key_that_no_database_stores_is_refused_however_it_is_set(key: str) -> None:
    state = State()
    ways: list[Callable[[], Any]] = [
        lambda: state.__setitem__(key, 1),
        lambda: state.update({key: 1}),
        lambda: state.setdefault(key, 1),
        lambda: state.replace({key: 1}),
        lambda: State({key: 1}),
    ]
    for way in ways:
        with pytest.raises(StateError, match=r"^state: text with a "):
            way()
    assert state.take_changes() == {}


@pytest.mark.parametrize("key", ["", "straße", "with space", "🙂", "a-b"])
def test_any_other_text_is_a_key(key: str) -> None:
    state = State()
    state[key] = 1
    assert state.take_changes() == {key: (NO_VALUE, 1)}


def test_the_value_of_a_secret_is_no_key_of_the_state() -> None:
    state = State()
    with hiding({"sms": "token_of_sms"}), pytest.raises(StateError, match="the secret sms"):
        state["token_of_sms"] = 1
