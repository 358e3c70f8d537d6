"""Set state and Update state."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from flowcontrol.base import RunContext
from flowcontrol.errors import ExpressionError
from flowcontrol_actions_builtin.state import SetState, UpdateState


def test_set_replaces_the_whole_state(call: Any, run: RunContext) -> None:
    run.state.update({"a": 1, "b": 2})
    call(SetState, state='{"b": 3, "c": {"d": [1]}}')
    assert dict(run.state) == {"b": 3, "c": {"d": [1]}}


def test_set_to_nothing_clears_the_state(call: Any, run: RunContext) -> None:
    run.state["a"] = 1
    call(SetState, state="")
    assert dict(run.state) == {}


def test_update_merges_at_the_top_level(call: Any, run: RunContext) -> None:
    run.state.update({"a": 1, "b": {"x": 1}})
    call(UpdateState, state='{"b": {"y": 2}, "c": 3}')
    assert dict(run.state) == {"a": 1, "b": {"y": 2}, "c": 3}


def test_texts_stay_texts_unless_they_are_to_be_evaluated(call: Any, run: RunContext) -> None:
    call(SetState, state='{"a": "1|add:1"}')
    assert run.state["a"] == "1|add:1"


def test_texts_at_any_depth_are_evaluated(call: Any, run: RunContext) -> None:
    run.state.update({"tries": 2, "price": Decimal("1.50")})
    call(
        UpdateState,
        state="""{"tries": "tries|add:1", "deep": [{"name": "'text'", "n": "price"}, 7, null]}""",
        evaluate="on",
    )
    assert run.state["tries"] == 3
    assert run.state["deep"] == [{"name": "text", "n": Decimal("1.50")}, 7, None]


def test_all_texts_see_the_state_before_the_step(call: Any, run: RunContext) -> None:
    run.state.update({"a": 1, "b": 2})
    call(UpdateState, state='{"a": "b", "b": "a"}', evaluate="on")
    assert dict(run.state) == {"a": 2, "b": 1}


def test_the_time_can_be_stored(call: Any, run: RunContext) -> None:
    call(SetState, state='{"begun": "now"}', evaluate="on")
    assert run.state["begun"] - run.now == timedelta(0)


def test_the_state_shares_nothing_with_the_configuration(
    call: Any, run: RunContext, bound: Any
) -> None:
    config = bound(SetState, state='{"list": []}')
    SetState().run(run=run, config=config)
    run.state["list"].append(1)
    SetState().run(run=run, config=config)
    assert run.state["list"] == []


@pytest.mark.parametrize("action", [SetState, UpdateState])
def test_a_text_other_than_an_expression_is_found_in_the_form(errors_of: Any, action: Any) -> None:
    found = errors_of(action, state='{"deep": ["Hello there"]}', evaluate="on")
    assert list(found) == ["state"]
    assert "deep.0" in found["state"][0]
    assert errors_of(action, state='{"deep": ["Hello there"]}') == {}


@pytest.mark.parametrize("text", ["[1]", "1", "{"])
def test_only_json_objects_are_states(errors_of: Any, text: str) -> None:
    assert list(errors_of(SetState, state=text)) == ["state"]


def test_updating_nothing_is_refused(errors_of: Any) -> None:
    assert list(errors_of(UpdateState, state="{}")) == ["state"]


def test_an_expression_that_fails_leaves_the_state_alone(call: Any, run: RunContext) -> None:
    run.state["huge"] = 10**200
    with pytest.raises(ExpressionError):
        call(SetState, state='{"b": "1", "c": "huge|add:1"}', evaluate="on")
    assert dict(run.state) == {"huge": 10**200}


def test_summaries_are_plain_sentences(bound: Any) -> None:
    assert SetState().summary(bound(SetState, state="")) == "Set an empty state"
    replaced = bound(SetState, state='{"a": 1, "b": [1, 2]}')
    assert SetState().summary(replaced) == "Set the state to a = 1, b = […]"
    updated = bound(UpdateState, state='{"a": "b|add:1"}', evaluate="on")
    assert UpdateState().summary(updated) == "Update a = b|add:1"
