"""Start new flow by itself: what it asks the engine for, and what becomes of the answer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flowcontrol.base import FlowDirective, RunContext, Wakeup
from flowcontrol.errors import NotStartedError, UnknownFlowError
from flowcontrol_actions_builtin import flows
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.flows import StartFlow
from tests.cases import each

CHILD = uuid.UUID(int=7)
CUSTOMER = object()


@dataclass
class FakeEngine:
    """Stands for ``flowcontrol.engine.create_flowrun``: notes the call, answers or refuses."""

    refusal: Exception | None = None
    flow: str = ""
    obj: Any = None
    state: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    calls: int = 0

    def create_flowrun(self, flow: str, obj: Any = None, state: Any = None, **options: Any) -> Any:
        self.calls += 1
        self.flow, self.obj, self.state, self.options = flow, obj, state, options
        if self.refusal is not None:
            raise self.refusal
        return SimpleNamespace(uuid=CHILD)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(flows, "create_flowrun", fake.create_flowrun)
    return fake


def test_a_run_is_started_with_the_object_and_a_state_of_its_own(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    run.state["a"] = 1
    run.load_object = lambda: CUSTOMER
    assert call(StartFlow, flow="other") == FlowDirective.CONTINUE
    assert (engine.flow, engine.obj, engine.state) == ("other", CUSTOMER, {})
    assert engine.options == {"parent": run, "at": None}
    assert dict(run.state) == {"a": 1}


def test_the_object_need_not_be_passed(call: Any, run: RunContext, engine: FakeEngine) -> None:
    run.load_object = lambda: CUSTOMER
    call(StartFlow, flow="other", object="none")
    assert engine.obj is None


def test_the_state_is_copied_and_never_shared(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    run.state.update({"a": 1, "list": [1]})
    call(StartFlow, flow="other", state="copy", initial_state='{"b": "a"}', evaluate="on")
    assert engine.state == {"a": 1, "list": [1], "b": 1}
    engine.state["list"].append(2)
    assert run.state["list"] == [1]


def test_the_own_initial_state_goes_before_the_copied_one(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    run.state.update({"a": 1, "b": 2})
    call(StartFlow, flow="other", state="copy", initial_state='{"b": 3}')
    assert engine.state == {"a": 1, "b": 3}


def test_it_can_start_after_an_amount_of_time(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    call(StartFlow, flow="other", when="delay", delay="2", delay_unit="hours")
    assert engine.options["at"] == run.now + timedelta(hours=2)


def test_it_can_start_at_a_date_of_the_flows_zone(call: Any, engine: FakeEngine) -> None:
    call(StartFlow, flow="other", when="at", date="'2030-07-01T09:00'")
    assert engine.options["at"] == datetime.fromisoformat("2030-07-01T07:00Z")


def test_a_negative_amount_of_time_is_a_clear_error(call: Any, engine: FakeEngine) -> None:
    with pytest.raises(ActionError, match="amount of time is -2"):
        call(StartFlow, flow="other", when="delay", delay="-2")
    assert engine.calls == 0


def test_the_result_names_the_run(call: Any, run: RunContext, engine: FakeEngine) -> None:
    call(StartFlow, flow="other", result_key="sub")
    assert run.state["sub"] == {"started": True, "run": str(CHILD)}


def test_waiting_ends_with_the_outcome_and_the_state_of_the_other_run(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    config = {"flow": "other", "wait": "on", "result_key": "sub"}
    directive = call(StartFlow, **config)
    assert directive is not None
    assert directive.wait is not None
    assert directive.wait.child == str(CHILD)
    run.wakeup = Wakeup(kind="child", outcome="complete", result={"sum": 3})
    assert call(StartFlow, **config) == FlowDirective.CONTINUE
    assert engine.calls == 1
    assert run.state["sub"] == {
        "started": True,
        "run": str(CHILD),
        "outcome": "complete",
        "state": {"sum": 3},
    }


OUTPUT = "total: result.sum|add:before\nended: outcome\nwho: object"


def end_child(call: Any, run: RunContext, outcome: str, **config: str) -> Any:
    """Start a run, let it end, and return what the step answers then."""
    config = {"flow": "other", "wait": "on", **config}
    call(StartFlow, **config)
    run.wakeup = Wakeup(kind="child", outcome=outcome, result={"sum": 3})
    return call(StartFlow, obj="Ada", **config)


def test_values_of_the_other_runs_result_become_keys_of_the_state(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    run.state["before"] = 4
    assert end_child(call, run, "complete", output=OUTPUT) == FlowDirective.CONTINUE
    assert dict(run.state) == {"before": 4, "total": 7, "ended": "complete", "who": "Ada"}


def test_the_result_goes_before_a_key_of_the_state_with_its_name(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    run.state["result"] = {"sum": 100}
    end_child(call, run, "complete", output="a: result.sum\nb: state.result.sum")
    assert (run.state["a"], run.state["b"]) == (3, 100)


@pytest.mark.parametrize("outcome", ["aborted", "errored", "obsolete", "canceled"])
def test_a_run_that_fails_lets_this_one_continue_or_fails_the_step(
    call: Any, run: RunContext, engine: FakeEngine, outcome: str
) -> None:
    assert end_child(call, run, outcome, output="ended: outcome") == FlowDirective.CONTINUE
    assert run.state["ended"] == outcome
    with pytest.raises(ActionError, match=f"ended as {outcome}. Retry it, then this step"):
        end_child(call, run, outcome, on_failed="fail")


def test_a_complete_run_fails_nothing(call: Any, run: RunContext, engine: FakeEngine) -> None:
    assert end_child(call, run, "complete", on_failed="fail") == FlowDirective.CONTINUE


def test_where_nothing_ended_no_values_are_set(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    config = {"flow": "other", "wait": "on", "output": OUTPUT}
    call(StartFlow, **config)
    run.wakeup = Wakeup(kind="operator")
    assert call(StartFlow, **config) == FlowDirective.CONTINUE
    assert dict(run.state) == {}


def test_a_call_that_is_retried_waits_for_the_same_run(
    call: Any, run: RunContext, engine: FakeEngine
) -> None:
    first = call(StartFlow, flow="other", wait="on")
    run.wakeup = None
    assert call(StartFlow, flow="other", wait="on") == first
    assert engine.calls == 1


def test_an_operator_can_end_the_waiting(call: Any, run: RunContext, engine: FakeEngine) -> None:
    call(StartFlow, flow="other", wait="on", result_key="sub")
    run.wakeup = Wakeup(kind="operator")
    directive = call(StartFlow, flow="other", wait="on", result_key="sub")
    assert directive == FlowDirective.CONTINUE
    assert run.state["sub"] == {"started": True, "run": str(CHILD)}
    assert run.messages == [f"An operator ended the wait for the run {CHILD}."]


@pytest.mark.parametrize("reason", ["inactive", "unpublished", "limit", "depth", "object"])
def test_a_refused_flow_is_visible_in_the_state_and_in_the_history(
    call: Any, run: RunContext, engine: FakeEngine, reason: str
) -> None:
    engine.refusal = NotStartedError("It is so.", reason=reason)
    directive = call(StartFlow, flow="other", wait="on", result_key="sub")
    assert directive == FlowDirective.CONTINUE
    assert run.state["sub"] == {"started": False, "reason": reason, "message": "It is so."}
    assert run.messages == ["The flow “other” was not started: It is so."]


def test_an_unknown_flow_is_visible_too(call: Any, run: RunContext, engine: FakeEngine) -> None:
    engine.refusal = UnknownFlowError("No flow 'other'.")
    call(StartFlow, flow="other", result_key="sub")
    assert run.state["sub"]["reason"] == "unknown"


def test_a_refused_flow_can_fail_the_step(call: Any, engine: FakeEngine) -> None:
    engine.refusal = NotStartedError("It is so.", reason="inactive")
    with pytest.raises(NotStartedError):
        call(StartFlow, flow="other", on_refused="fail")


def test_it_says_which_flow_it_starts(bound: Any) -> None:
    assert list(StartFlow().starts_flows(bound(StartFlow, flow="other"))) == ["other"]


@each(
    ("values", "field"),
    [
        ({}, "flow"),
        ({"flow": "other", "when": "delay"}, "delay"),
        ({"flow": "other", "when": "at"}, "date"),
        ({"flow": "other", "initial_state": "[]"}, "initial_state"),
        ({"flow": "other", "initial_state": '{"a": "b c"}', "evaluate": "on"}, "initial_state"),
        ({"flow": "other", "result_key": "state"}, "result_key"),
        ({"flow": "other", "output": "a: 1"}, "output"),
        ({"flow": "other", "output": "a: b c", "wait": "on"}, "output"),
    ],
)
def test_what_is_missing_or_wrong_is_named_in_the_form(
    errors_of: Any, values: dict[str, str], field: str
) -> None:
    assert list(errors_of(StartFlow, **values)) == [field]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Start the flow “other”"),
        ({"wait": "on"}, "Start the flow “other”, wait for its end"),
        (
            {"wait": "on", "output": "a: 1\nb: 2"},
            "Start the flow “other”, wait for its end, set a, b",
        ),
        (
            {"object": "none", "state": "copy"},
            "Start the flow “other”, without an object, with a copy of the state",
        ),
        ({"initial_state": '{"a": 1, "b": 2}'}, "Start the flow “other”, with a, b"),
        (
            {"wait": "on", "on_refused": "fail", "on_failed": "fail"},
            (
                "Start the flow “other”, fail if it is refused, wait for its end, "
                "fail if it does not complete"
            ),
        ),
        ({"when": "delay", "delay": "2"}, "Start the flow “other” in 2 days"),
        ({"when": "at", "date": "state.due"}, "Start the flow “other” at state.due"),
    ],
)
def test_the_summary_is_a_plain_sentence(bound: Any, values: dict[str, str], sentence: str) -> None:
    assert StartFlow().summary(bound(StartFlow, flow="other", **values)) == sentence
