"""Wait for trigger by itself; that the event arrives is the engine's part."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from flowcontrol.base import FlowDirective, RunContext, Wakeup
from flowcontrol.registry import Registry, Trigger, registry
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.triggers import WaitForTrigger


@pytest.fixture(autouse=True)
def _paid() -> Iterator[None]:
    with registry.temporary(triggers=[Trigger(name="paid", label="Order paid")], plugin="test"):
        yield


def wake(run: RunContext, call: Any, wakeup: Wakeup, **config: Any) -> FlowDirective | None:
    """Let a run wait, and wake it."""
    wait_of(call(WaitForTrigger, **config))
    run.wakeup = wakeup
    directive: FlowDirective | None = call(WaitForTrigger, **config)
    return directive


def wait_of(directive: FlowDirective | None) -> Any:
    assert directive is not None
    assert directive.wait is not None
    return directive.wait


def test_it_waits_for_the_object_of_the_run(call: Any) -> None:
    wait = wait_of(call(WaitForTrigger, trigger="test.paid"))
    assert (wait.trigger, wait.match_object, wait.timeout) == ("test.paid", True, None)


def test_it_can_wait_for_any_object(call: Any) -> None:
    wait = wait_of(call(WaitForTrigger, trigger="test.paid", match="any"))
    assert not wait.match_object


def test_the_trigger_and_its_payload_are_stored(call: Any, run: RunContext) -> None:
    paid = Wakeup(kind="trigger", trigger="test.paid", payload={"amount": 5})
    directive = wake(run, call, paid, trigger="test.paid", result_key="payment")
    assert directive == WaitForTrigger.enter("triggered")
    assert run.state["payment"] == {
        "timed_out": False,
        "trigger": "test.paid",
        "payload": {"amount": 5},
    }


def test_an_event_that_the_condition_refuses_does_not_end_the_waiting(
    call: Any, run: RunContext
) -> None:
    config = {"trigger": "test.paid", "condition": "payload.amount > 10", "at_most": "2"}
    first = wait_of(call(WaitForTrigger, **config))
    assert first.timeout == run.now + timedelta(days=2)
    run.wakeup = Wakeup(kind="trigger", trigger="test.paid", payload={"amount": 5})
    run.now += timedelta(days=1)
    assert wait_of(call(WaitForTrigger, **config)) == first
    run.wakeup = Wakeup(kind="trigger", trigger="test.paid", payload={"amount": 11})
    assert call(WaitForTrigger, **config) == WaitForTrigger.enter("triggered")


def test_the_time_out_is_visible_in_the_state(call: Any, run: RunContext) -> None:
    config = {"trigger": "test.paid", "at_most": "1", "result_key": "payment"}
    directive = wake(run, call, Wakeup(kind="timeout"), **config)
    assert directive == WaitForTrigger.enter("timed_out")
    assert run.state["payment"] == {"timed_out": True, "trigger": "", "payload": {}}


def test_both_branches_lead_after_the_step(call: Any) -> None:
    directive = call(WaitForTrigger, method="return_from_children", trigger="test.paid")
    assert directive == FlowDirective.CONTINUE


def test_an_operator_can_end_the_waiting(call: Any, run: RunContext) -> None:
    directive = wake(run, call, Wakeup(kind="operator"), trigger="test.paid")
    assert directive == FlowDirective.CONTINUE
    assert run.messages == ["An operator ended the wait."]


def test_a_call_that_is_retried_after_an_error_continues_to_wait(
    call: Any, run: RunContext
) -> None:
    run.wakeup = Wakeup(kind="time")
    first = wait_of(call(WaitForTrigger, trigger="test.paid", at_most="1"))
    assert wait_of(call(WaitForTrigger, trigger="test.paid", at_most="1")) == first


def test_days_of_the_time_out_are_calendar_days_of_the_flows_zone(
    call: Any, run: RunContext
) -> None:
    run.now = run.now.replace(month=3, day=30)
    wait = wait_of(call(WaitForTrigger, trigger="test.paid", at_most="1"))
    assert wait.timeout - run.now == timedelta(hours=23)


def test_a_negative_time_out_is_a_clear_error(call: Any) -> None:
    with pytest.raises(ActionError, match="amount of time is -1"):
        call(WaitForTrigger, trigger="test.paid", at_most="-1")


def test_it_says_which_trigger_it_waits_for(bound: Any) -> None:
    assert list(WaitForTrigger().waits_for(bound(WaitForTrigger, trigger="test.paid"))) == [
        "test.paid"
    ]


def test_a_trigger_that_is_not_registered_is_not_offered(errors_of: Any) -> None:
    assert list(errors_of(WaitForTrigger, trigger="test.never")) == ["trigger"]


def test_the_summary_is_a_plain_sentence(bound: Any) -> None:
    config = bound(
        WaitForTrigger, trigger="test.paid", match="any", condition="payload.ok", at_most="3"
    )
    expected = "Wait for “Order paid”, for any object, if payload.ok, at most 3 days"
    assert WaitForTrigger().summary(config) == expected


def test_the_summary_survives_a_trigger_that_is_gone(bound: Any) -> None:
    config = bound(WaitForTrigger, trigger="test.paid")
    with registry.temporary():
        registry.restore(Registry().snapshot())
        assert WaitForTrigger().summary(config) == "Wait for “test.paid”"
