"""What goes wrong in systems of this kind, and may not here: whole flows, executed in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail

from flowcontrol.base import BaseAction, Effects, FlowDirective, Wakeup
from flowcontrol.registry import Trigger, registry


class Container(BaseAction):
    name = "container"
    effects = Effects.NONE
    has_children = True

    def run(self, **_: Any) -> FlowDirective:
        return self.enter()


@pytest.fixture(autouse=True)
def _test_plugin() -> Iterator[None]:
    trigger = Trigger(name="paid", label="Order paid")
    with registry.temporary(actions=[Container], triggers=[trigger], plugin="test"):
        yield


def count(step: Any, name: str, key: str) -> Any:
    """Give a step that adds 1 to a key of the state."""
    return step(name, "update_state", {"state": {key: f"{key}|add:1"}, "evaluate": True})


def test_a_container_without_a_return_hook_goes_on_after_its_last_child(
    walk: Any, step: Any
) -> None:
    inner = step("in", "update_state", {"state": {"done": True}})
    result = walk([step("c", "test.container", body=[inner]), step("s", "stop_flow")])
    assert result.trail == ["c", "in", "c", "s"]
    assert result.state == {"done": True}


def test_an_empty_branch_counts_as_returned_from(walk: Any, step: Any) -> None:
    empty = step("if", "if", {"condition": "True"}, then=[])
    result = walk([empty, step("s", "update_state", {"state": {"a": 1}})])
    assert (result.outcome, result.state) == ("complete", {"a": 1})


def test_a_loop_with_step_0_fails_instead_of_never_ending(walk: Any, step: Any) -> None:
    loop = step("for", "for", {"end": "3", "step": "step"}, body=[count(step, "n", "n")])
    result = walk([loop], {"step": 0, "n": 0})
    assert result.outcome == "errored"
    assert "never end" in result.stop.reason
    assert result.state["n"] == 0


def test_leaving_a_loop_does_not_leak_its_counter_into_the_next_pass(
    walk: Any, step: Any
) -> None:
    inner = step(
        "inner",
        "for",
        {"end": "10", "variable": "j"},
        body=[count(step, "n", "n"), step("out", "leave_branch", {"condition": "j == 2"})],
    )
    result = walk([step("outer", "for", {"end": "3", "variable": "i"}, body=[inner])], {"n": 0})
    assert result.outcome == "complete"
    # Three passes of the outer loop with 0, 1 and 2 in each; no variable is left.
    assert result.state == {"n": 9}


def test_replacing_the_state_inside_of_a_loop_does_not_kill_it(walk: Any, step: Any) -> None:
    body = [step("set", "set_state", {"state": {"last": "i"}, "evaluate": True})]
    result = walk([step("for", "for", {"end": "4", "variable": "i"}, body=body)], {"n": 0})
    assert (result.outcome, result.state) == ("complete", {"last": 3})
    assert result.trail.count("set") == 4


def test_honest_nested_loops_may_have_more_than_1000_passes(walk: Any, step: Any) -> None:
    inner = step("inner", "for", {"end": "50"}, body=[count(step, "n", "n")])
    result = walk([step("outer", "for", {"end": "50"}, body=[inner])], {"n": 0})
    assert (result.outcome, result.state) == ("complete", {"n": 2500})


@pytest.mark.parametrize(
    ("action", "counted"), [("leave_branch", 2), ("return_to_action", 4)]
)
def test_a_loop_can_be_left_and_continued_from_inside_an_if(
    walk: Any, step: Any, action: str, counted: int
) -> None:
    inside = step(
        "if", "if", {"condition": "i == 2"}, then=[step("out", action, {"to": "loop"})]
    )
    body = [inside, count(step, "n", "n")]
    loop = step("for", "for", {"end": "5", "variable": "i"}, body=body)
    result = walk([loop, count(step, "b", "behind")], {"n": 0, "behind": 0})
    assert result.outcome == "complete"
    assert result.state == {"n": counted, "behind": 1}


def test_leaving_the_branch_of_an_if_goes_on_behind_the_if(walk: Any, step: Any) -> None:
    branch = [step("out", "leave_branch"), count(step, "n", "n")]
    result = walk([step("if", "if", {"condition": "1"}, then=branch), count(step, "b", "b")],
                  {"n": 0, "b": 0})
    assert result.state == {"n": 0, "b": 1}


@pytest.mark.parametrize("action", ["leave_branch", "return_to_action"])
def test_leaving_and_returning_at_the_top_level_complete_the_flow(
    walk: Any, step: Any, action: str
) -> None:
    result = walk([step("out", action), count(step, "n", "n")], {"n": 0})
    assert (result.outcome, result.state) == ("complete", {"n": 0})


def test_stopping_inside_of_a_loop_aborts_the_flow(walk: Any, step: Any) -> None:
    body = [count(step, "n", "n"), step("stop", "stop_flow", {"condition": "n > 2"})]
    result = walk([step("while", "while", {"condition": "True"}, body=body)], {"n": 0})
    assert (result.outcome, result.state) == ("aborted", {"n": 3})


def test_a_while_loop_sees_what_its_body_changed(walk: Any, step: Any) -> None:
    loop = step("while", "while", {"condition": "n < 5"}, body=[count(step, "n", "n")])
    assert walk([loop], {"n": 0}).state == {"n": 5}


def test_counting_goes_on_after_a_wait_inside_of_a_loop(walk: Any, step: Any) -> None:
    body = [step("d", "delay", {"mode": "time", "time_of_day": "09:00:00"}), count(step, "n", "n")]
    result = walk([step("for", "for", {"end": "3", "variable": "i"}, body=body)], {"n": 0})
    waits = []
    while not result.outcome:
        waits.append(result.wait.until.strftime("%d %H:%M"))
        result.wake(Wakeup(kind="time"))
    assert waits == ["04 07:00", "05 07:00", "06 07:00"]
    assert (result.outcome, result.state) == ("complete", {"n": 3})


def test_a_delay_is_reckoned_in_the_flows_zone_over_a_night_of_a_change_of_clocks(
    walk: Any, step: Any
) -> None:
    delay = step("d", "delay", {"mode": "date", "base": "'2030-03-31'", "time_of_day": "02:30:00"})
    result = walk([delay])
    assert result.wait.until.isoformat() == "2030-03-31T01:00:00+00:00"


@pytest.mark.parametrize("base", ["'2030-07-01'", "'2030-07-01T00:00'", "'2030-07-01 00:00+02'"])
def test_a_date_without_time_and_a_text_without_zone_are_dates_too(
    walk: Any, step: Any, base: str
) -> None:
    result = walk([step("d", "delay", {"mode": "date", "base": base})])
    assert result.wait.until.isoformat() == "2030-06-30T22:00:00+00:00"


def test_monday_on_a_monday_whose_time_has_passed_is_next_monday(walk: Any, step: Any) -> None:
    delay = {"mode": "weekday", "weekday": 0, "time_of_day": "09:00:00"}
    result = walk([step("d", "delay", delay), step("s", "stop_flow")])
    assert result.wait.until.isoformat() == "2024-06-10T07:00:00+00:00"
    assert result.wake(Wakeup(kind="time")).trail == ["d", "s"]


WAIT = {"trigger": "test.paid", "result_key": "paid", "timeout": "3"}


def wait_step(step: Any, **config: Any) -> list[Any]:
    return [
        step(
            "w",
            "wait_for_trigger",
            WAIT | config,
            triggered=[step("yes", "update_state", {"state": {"went": "yes"}})],
            timed_out=[step("no", "update_state", {"state": {"went": "no"}})],
        ),
        step("end", "update_state", {"state": {"end": True}}),
    ]


def test_the_payload_of_the_trigger_is_not_dropped(walk: Any, step: Any) -> None:
    result = walk(wait_step(step))
    assert (result.wait.trigger, result.wait.match_object) == ("test.paid", True)
    result.wake(Wakeup(kind="trigger", trigger="test.paid", payload={"amount": 7}))
    assert result.state["paid"]["payload"] == {"amount": 7}
    assert (result.state["went"], result.state["end"]) == ("yes", True)


def test_the_condition_of_a_wait_sees_the_payload_that_arrived(walk: Any, step: Any) -> None:
    result = walk(wait_step(step, condition="payload.amount > 10"))
    end = result.wait.timeout
    result.wake(Wakeup(kind="trigger", trigger="test.paid", payload={"amount": 7}))
    assert result.wait.timeout == end
    result.wake(Wakeup(kind="trigger", trigger="test.paid", payload={"amount": 11}))
    assert result.state["went"] == "yes"


def test_a_wait_has_a_time_out(walk: Any, step: Any) -> None:
    result = walk(wait_step(step))
    assert result.wait.timeout.isoformat() == "2024-06-06T10:00:00+00:00"
    result.wake(Wakeup(kind="timeout"))
    assert result.state["paid"]["timed_out"] is True
    assert (result.state["went"], result.state["end"]) == ("no", True)


def test_only_registered_triggers_are_offered_and_they_are_named_to_the_engine() -> None:
    action = registry.get_action("builtin.wait_for_trigger").action
    choices = dict(action.Config().fields["trigger"].choices)
    assert set(choices) == {"", *registry.triggers}


def test_plain_text_mail_is_not_escaped(walk: Any, step: Any) -> None:
    config = {"to": "a@example.com", "subject": "{{ name }}", "text": "Dear {{ name }}"}
    result = walk([step("m", "send_email", config)], {"name": "Tom & <Jerry>"})
    assert result.outcome == "complete"
    (message,) = mail.outbox
    assert (message.subject, message.body) == ("Tom & <Jerry>", "Dear Tom & <Jerry>")


@pytest.mark.parametrize("managers", [["ann@example.com"], [("Ann", "ann@example.com")]])
def test_managers_in_their_new_form_are_not_taken_for_one_character(
    walk: Any, step: Any, settings: Any, managers: Any
) -> None:
    settings.MANAGERS = managers
    config = {"to_groups": ["managers"], "subject": "Hello", "text": "A text"}
    walk([step("m", "send_email", config)])
    (message,) = mail.outbox
    assert message.to == ["ann@example.com"]
