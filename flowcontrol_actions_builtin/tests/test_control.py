"""If condition, Return to action, Leave branch and Stop flow, each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol.base import BaseAction, FlowDirective, RunContext
from flowcontrol_actions_builtin.control import If, LeaveBranch, ReturnToAction, StopFlow


@pytest.mark.parametrize(("total", "branch"), [(5, "then"), (0, "else")])
def test_if_enters_the_branch_of_its_condition(
    call: Any, run: RunContext, total: int, branch: str
) -> None:
    run.state["total"] = total
    assert call(If, condition="total > 3") == If.enter(branch)


def test_if_continues_after_itself_when_its_branch_ends(call: Any) -> None:
    directive = call(If, method="return_from_children", condition="1")
    assert directive == FlowDirective.CONTINUE


def test_leaving_and_returning_target_the_parent_by_default(call: Any) -> None:
    assert call(ReturnToAction) == BaseAction.leave()
    assert call(LeaveBranch) == BaseAction.break_()


def test_leaving_and_returning_can_target_the_nearest_loop(call: Any) -> None:
    assert call(ReturnToAction, to="loop") == BaseAction.leave("loop")
    assert call(LeaveBranch, to="loop") == BaseAction.break_("loop")


@pytest.mark.parametrize("action", [ReturnToAction, LeaveBranch])
def test_targeting_a_loop_needs_one(bound: Any, action: type[BaseAction]) -> None:
    assert action().needs_loop(bound(action, to="loop"))
    assert not action().needs_loop(bound(action))


@pytest.mark.parametrize("action", [ReturnToAction, LeaveBranch, StopFlow])
def test_a_false_condition_lets_the_run_continue(
    call: Any, run: RunContext, action: type[BaseAction]
) -> None:
    run.state["tries"] = 2
    assert call(action, condition="tries > 3") == FlowDirective.CONTINUE
    assert call(action, condition="tries < 3") != FlowDirective.CONTINUE


def test_stopping_aborts_with_the_reason(call: Any, run: RunContext) -> None:
    run.state["name"] = "A & B"
    answer = call(StopFlow, reason="No answer from {{ name }}")
    assert answer == BaseAction.abort("No answer from A & B")


def test_stopping_with_a_false_condition_continues(call: Any) -> None:
    answer = call(StopFlow, condition="state.missing", reason="No answer")
    assert answer == FlowDirective.CONTINUE


def test_summaries_are_plain_sentences(bound: Any) -> None:
    assert If().summary(bound(If, condition="a > 1")) == "If a > 1"
    assert ReturnToAction().summary(bound(ReturnToAction)) == "Return to the parent action"
    leaving = bound(LeaveBranch, to="loop", condition="a > 1")
    assert LeaveBranch().summary(leaving) == "Leave the nearest loop if a > 1"
    assert StopFlow().summary(bound(StopFlow, reason="gone")) == "Stop the flow (“gone”)"


def test_an_unknown_target_is_refused(errors_of: Any) -> None:
    assert list(errors_of(LeaveBranch, to="everything")) == ["to"]


def test_a_bad_condition_is_refused_with_its_place(errors_of: Any) -> None:
    assert list(errors_of(If, condition="total >")) == ["condition"]
    assert list(errors_of(If, condition="")) == ["condition"]
