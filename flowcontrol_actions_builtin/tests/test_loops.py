"""The loops by themselves: what they evaluate when, and what they store."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from flowcontrol.base import FlowDirective, RunContext
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.loops import For, While
from tests.cases import each


def passes_of(call: Any, run: RunContext, **config: Any) -> list[int]:
    """Execute a For loop and return the values of its variable."""
    found = []
    directive = call(For, variable="i", **config)
    while directive != FlowDirective.CONTINUE:
        assert directive == For.enter()
        found.append(run.state["i"])
        directive = call(For, method="return_from_children", variable="i", **config)
    return found


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        ("0", "3", "1", [0, 1, 2]),
        ("", "3", "", [0, 1, 2]),
        ("3", "0", "-1", [3, 2, 1]),
        ("0", "5", "2", [0, 2, 4]),
        ("0", "6", "2", [0, 2, 4]),
        ("5", "0", "-2", [5, 3, 1]),
        ("0", "0", "1", []),
        ("3", "0", "1", []),
        ("0", "3", "-1", []),
        ("-2", "1", "1", [-2, -1, 0]),
    ],
)
def test_the_end_is_exclusive_in_both_directions(
    call: Any, run: RunContext, start: str, end: str, step: str, expected: list[int]
) -> None:
    assert passes_of(call, run, start=start, end=end, step=step) == expected


def test_the_bounds_are_evaluated_once_on_entry(call: Any, run: RunContext) -> None:
    run.state["count"] = 3
    call(For, end="count")
    run.state["count"] = 100
    assert [call(For, method="return_from_children", end="count") for _ in range(3)] == [
        For.enter(),
        For.enter(),
        FlowDirective.CONTINUE,
    ]


def test_replacing_the_state_inside_of_the_loop_does_not_hurt_it(
    call: Any, run: RunContext
) -> None:
    call(For, end="3", variable="i")
    run.state.replace({"other": 1})
    assert call(For, method="return_from_children", end="3", variable="i") == For.enter()
    assert dict(run.state) == {"other": 1, "i": 1}


def test_changing_the_variable_inside_of_the_loop_does_not_change_the_count(
    call: Any, run: RunContext
) -> None:
    call(For, end="3", variable="i")
    run.state["i"] = 77
    call(For, method="return_from_children", end="3", variable="i")
    assert run.state["i"] == 1


def test_entering_again_begins_anew(call: Any, run: RunContext) -> None:
    assert passes_of(call, run, end="2") == [0, 1]
    run.memo = {}
    assert passes_of(call, run, end="2") == [0, 1]


def test_whole_numbers_of_any_type_are_bounds(call: Any, run: RunContext) -> None:
    run.state.update({"a": Decimal("1.00"), "b": 3.0})
    assert passes_of(call, run, start="a", end="b") == [1, 2]


@pytest.mark.parametrize("value", [1.5, Decimal("0.1"), "3", True, None, [3], 10**20])
def test_a_bound_other_than_a_whole_number_is_a_clear_error(
    call: Any, run: RunContext, value: Any
) -> None:
    run.state["bound"] = value
    with pytest.raises(ActionError, match=r"“End” \(bound\)"):
        call(For, end="bound")


def test_step_0_is_refused_in_the_form(errors_of: Any) -> None:
    for step in ("0", "0.0", "-0"):
        assert list(errors_of(For, end="3", step=step)) == ["step"]


def test_step_0_never_ends_so_it_is_refused_at_run_time_too(call: Any, run: RunContext) -> None:
    run.state["step"] = 0
    with pytest.raises(ActionError, match="never end"):
        call(For, end="3", step="step")


@each("name", ["object", "obj", "state", "now", "payload", "a b", "1a", "not"])
def test_a_variable_that_expressions_cannot_name_is_refused(errors_of: Any, name: str) -> None:
    assert list(errors_of(For, end="3", variable=name)) == ["variable"]


def test_without_a_variable_the_state_stays_as_it_is(call: Any, run: RunContext) -> None:
    call(For, end="3")
    assert dict(run.state) == {}
    assert run.hidden == {}


def test_while_evaluates_its_condition_before_each_pass(call: Any, run: RunContext) -> None:
    run.state["tries"] = 2
    assert call(While, condition="tries < 3") == While.enter()
    run.state["tries"] = 3
    again = call(While, method="return_from_children", condition="tries < 3")
    assert again == FlowDirective.CONTINUE


def test_summaries_are_plain_sentences(bound: Any) -> None:
    assert While().summary(bound(While, condition="tries < 3")) == "While tries < 3"
    plain = bound(For, start="0", end="5", step="1", variable="i")
    assert For().summary(plain) == "For i from 0 until 5 is reached"
    down = bound(For, start="5", end="0", step="-1")
    assert For().summary(down) == "Count from 5 until 0 is reached, in steps of -1"
