"""What goes wrong in systems of this kind, and may not here: whole flows, executed in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core import mail

from flowcontrol.base import BaseAction, Effects, FlowDirective
from flowcontrol.flows import check_document
from flowcontrol.registry import Trigger, registry
from flowcontrol.testing import MemoryRun, flow, run_flow, step, temporary_registry

# A Monday, 12:00 in Berlin.
NOON = datetime(2024, 6, 3, 10, tzinfo=UTC)


class Container(BaseAction):
    name = "container"
    effects = Effects.NONE
    has_children = True

    def run(self, **_: Any) -> FlowDirective:
        return self.enter()


@pytest.fixture(autouse=True)
def _test_plugin() -> Iterator[None]:
    with temporary_registry(Container, triggers=[Trigger(name="paid", label="Order paid")]):
        yield


def execute(*steps: Any, **state: Any) -> MemoryRun:
    """Execute a flow in Berlin on a Monday at noon."""
    return run_flow(flow(*steps, time_zone="Europe/Berlin"), state=state, now=NOON)


def count(key: str) -> Any:
    """Return a step that adds 1 to a key of the state."""
    return step("builtin.update_state", state={key: f"{key}|add:1"}, evaluate=True)


def store(**values: Any) -> Any:
    return step("builtin.update_state", state=values)


def wakes_at(run: MemoryRun) -> str:
    assert run.wait is not None
    assert run.wait.due_at is not None
    return run.wait.due_at.isoformat(timespec="minutes")


# A container action that defines no return hook ends in an error after its last child.


def test_a_container_without_a_return_hook_continues_after_its_last_child() -> None:
    run = execute(step("test.container", body=[store(inside=True)]), store(after=True))
    assert run.outcome == "complete"
    assert run.state == {"inside": True, "after": True}


def test_an_empty_branch_counts_as_returned_from() -> None:
    run = execute(step("builtin.if", condition="True"), store(after=True))
    assert (run.outcome, run.state) == ("complete", {"after": True})


# Loop: step 0 never ends; leaving a loop leaks its counter into the next pass; replacing the state
# inside a loop kills it; a fixed cap of 1000 hits honest nested loops.


def test_a_loop_with_step_0_fails_instead_of_never_ending() -> None:
    run = execute(step("builtin.for", end="3", step="step", body=[count("n")]), step=0, n=0)
    assert run.outcome == "errored"
    assert "never end" in run.reason
    assert run.state["n"] == 0


def test_leaving_a_loop_does_not_leak_its_counter_into_the_next_pass() -> None:
    leave = step("builtin.leave_branch", condition="j == 2")
    inner = step("builtin.for", end="10", variable="j", body=[count("n"), leave])
    run = execute(step("builtin.for", end="3", variable="i", body=[inner]), n=0)
    # 0, 1 and 2 in each of three passes; no variable is left over.
    assert (run.outcome, run.state) == ("complete", {"n": 9})


def test_replacing_the_state_inside_of_a_loop_does_not_kill_it() -> None:
    replace = step("builtin.set_state", state={"last": "i"}, evaluate=True)
    run = execute(step("builtin.for", end="4", variable="i", body=[replace]), n=0)
    assert (run.outcome, run.state) == ("complete", {"last": 3})


def test_honest_nested_loops_may_have_more_than_1000_passes() -> None:
    inner = step("builtin.for", end="50", body=[count("n")])
    run = execute(step("builtin.for", end="50", body=[inner]), n=0)
    assert (run.outcome, run.state) == ("complete", {"n": 2500})


def test_a_while_loop_sees_what_its_body_changed() -> None:
    run = execute(step("builtin.while", condition="n < 5", body=[count("n")]), n=0)
    assert (run.outcome, run.state) == ("complete", {"n": 5})


def test_counting_continues_after_a_wait_inside_of_a_loop() -> None:
    body = [step("builtin.delay", mode="time", time_of_day="09:00:00"), count("n")]
    run = execute(step("builtin.for", end="3", variable="i", body=body), n=0)
    waits = []
    while run.status == "waiting":
        waits.append(wakes_at(run))
        run.advance(days=1)
    assert waits == [f"2024-06-0{day}T07:00+00:00" for day in (4, 5, 6)]
    assert (run.outcome, run.state) == ("complete", {"n": 3})


# Break and return reach one level only: a loop cannot be left from inside an If.


@pytest.mark.parametrize(
    ("action", "counted"), [("builtin.leave_branch", 2), ("builtin.return_to_action", 4)]
)
def test_a_loop_can_be_left_or_continued_from_inside_an_if(action: str, counted: int) -> None:
    inside = step("builtin.if", condition="i == 2", then=[step(action, to="loop")])
    loop = step("builtin.for", end="5", variable="i", body=[inside, count("n")])
    run = execute(loop, count("after"), n=0, after=0)
    assert run.outcome == "complete"
    assert run.state == {"n": counted, "after": 1}


def test_leaving_the_branch_of_an_if_continues_after_the_if() -> None:
    branch = [step("builtin.leave_branch"), count("n")]
    run = execute(step("builtin.if", condition="1", then=branch), count("m"), n=0, m=0)
    assert run.state == {"n": 0, "m": 1}


@pytest.mark.parametrize("action", ["builtin.leave_branch", "builtin.return_to_action"])
def test_leaving_and_returning_at_the_top_level_complete_the_flow(action: str) -> None:
    run = execute(step(action), count("n"), n=0)
    assert (run.outcome, run.state) == ("complete", {"n": 0})


def test_stopping_inside_of_a_loop_aborts_the_flow() -> None:
    body = [count("n"), step("builtin.stop_flow", condition="n > 2", reason="{{ n }} is enough")]
    run = execute(step("builtin.while", condition="True", body=body), n=0)
    assert (run.outcome, run.state) == ("aborted", {"n": 3})
    assert run.reason == "Step s3 (builtin.stop_flow) stopped the flow. 3 is enough"


# Delay: computed in UTC; "Monday" on a Monday whose time has passed continues immediately; a date
# without time, or a date string without zone, errors; DST nights skip or double.


def test_a_delay_is_computed_in_the_flows_zone_and_not_in_utc() -> None:
    run = execute(step("builtin.delay", mode="time", time_of_day="13:00:00"))
    assert wakes_at(run) == "2024-06-03T11:00+00:00"


def test_monday_on_a_monday_whose_time_has_passed_is_next_monday() -> None:
    run = execute(step("builtin.delay", mode="weekday", weekday=0, time_of_day="09:00:00"))
    assert wakes_at(run) == "2024-06-10T07:00+00:00"


@pytest.mark.parametrize("base", ["'2030-07-01'", "'2030-07-01T00:00'", "'2030-07-01 00:00+02'"])
def test_a_date_without_time_and_a_text_without_zone_are_dates_too(base: str) -> None:
    run = execute(step("builtin.delay", mode="date", base=base))
    assert wakes_at(run) == "2030-06-30T22:00+00:00"


def test_a_night_when_the_clocks_change_neither_skips_nor_doubles_a_delay() -> None:
    body = [step("builtin.delay", mode="time", time_of_day="02:30:00"), count("n")]
    run = run_flow(
        flow(step("builtin.while", condition="n < 4", body=body), time_zone="Europe/Berlin"),
        state={"n": 0},
        now=datetime(2024, 10, 25, 10, tzinfo=UTC),
    )
    waits = []
    while run.status == "waiting":
        waits.append(wakes_at(run))
        run.advance(run.wait.due_at - run.clock.now())  # type: ignore[union-attr, operator]
    assert waits == [
        "2024-10-26T00:30+00:00",
        "2024-10-27T00:30+00:00",
        "2024-10-28T01:30+00:00",
        "2024-10-29T01:30+00:00",
    ]


# Wait for trigger: offers triggers that never wake it; drops the payload; loses the event that came
# first (tested with the database); has no time-out.


def waiting(**config: Any) -> MemoryRun:
    wait = step(
        "builtin.wait_for_trigger",
        config={"trigger": "test.paid", "result_key": "paid", "at_most": "3", **config},
        triggered=[store(went="triggered")],
        timed_out=[store(went="timed_out")],
    )
    return execute(wait, store(after=True))


def test_only_registered_triggers_are_offered() -> None:
    action = registry.get_action("builtin.wait_for_trigger").action
    field = action.Config().fields["trigger"]
    assert {key for key, _ in field.choices} == {"", *registry.triggers}  # type: ignore[attr-defined]


def test_the_payload_of_the_trigger_is_not_dropped() -> None:
    run = waiting().fire("test.paid", {"amount": 7})
    assert run.state == {
        "paid": {"timed_out": False, "trigger": "test.paid", "payload": {"amount": 7}},
        "went": "triggered",
        "after": True,
    }


def test_the_condition_of_a_wait_sees_the_payload_that_arrived() -> None:
    run = waiting(condition="payload.amount > 10")
    end = wakes_at(run)
    run.advance(days=1)
    run.fire("test.paid", {"amount": 7})
    assert (run.status, wakes_at(run)) == ("waiting", end)
    run.fire("test.paid", {"amount": 11})
    assert run.state["went"] == "triggered"


def test_a_wait_has_a_time_out() -> None:
    run = waiting().advance(days=3)
    assert run.outcome == "complete"
    assert run.state["paid"]["timed_out"] is True
    assert (run.state["went"], run.state["after"]) == ("timed_out", True)


# Mail: plain text is HTML-escaped; MANAGERS in its new form gives one character.


def test_plain_text_mail_is_not_escaped() -> None:
    mailing = step(
        "builtin.send_email", to="a@example.com", subject="{{ name }}", text="Dear {{ name }}"
    )
    assert execute(mailing, name="Tom & <Jerry>").outcome == "complete"
    (message,) = mail.outbox
    assert (message.subject, message.body) == ("Tom & <Jerry>", "Dear Tom & <Jerry>")


@pytest.mark.parametrize("managers", [["ann@example.com"], [("Ann", "ann@example.com")]])
def test_managers_in_their_new_form_are_not_taken_for_one_character(
    settings: Any, managers: Any
) -> None:
    settings.MANAGERS = managers
    execute(step("builtin.send_email", to_groups=["managers"], subject="Hello", text="A text"))
    (message,) = mail.outbox
    assert message.to == ["ann@example.com"]


# Nested loops share a variable: the outer body sees the inner one's last value.


def test_nested_loops_with_one_variable_are_refused_at_publish() -> None:
    def nested(inner: str) -> Any:
        around = step(
            "builtin.if", condition="True", then=[step("builtin.for", end="2", variable=inner)]
        )
        return flow(step("builtin.for", end="2", variable="i", body=[around]))

    assert check_document(nested("j")) == []
    assert check_document(nested("")) == []
    (problem,) = check_document(nested("i"))
    assert problem.step == "s3"
    assert "Its variable 'i' is the one of the step 's1' around it too." in problem.message


def test_loops_one_after_the_other_may_have_one_variable() -> None:
    one, two = (step("builtin.for", end="2", variable="i", body=[count("n")]) for _ in "ab")
    assert check_document(flow(one, two)) == []
    assert execute(one, two, n=0, i="kept").state == {"n": 4, "i": "kept"}


# A date in the past stops the flow, and nothing says which step, which date, and why.


def test_a_flow_that_a_past_date_stops_names_the_step_the_date_and_the_choice() -> None:
    run = execute(step("builtin.delay", mode="date", base="'2024-05-01'", if_past="abort"))
    assert run.outcome == "aborted"
    assert run.reason == (
        "Step s1 (builtin.delay) stopped the flow. 2024-05-01 00:00+02:00 is in the past, and "
        "“stop the flow” is chosen for that case."
    )


# An endless loop without steps keeps a worker busy for a minute.


def test_an_endless_loop_without_steps_costs_about_a_second() -> None:
    begun = time.process_time()
    run = execute(step("builtin.while", condition="True"))
    assert (run.outcome, len(run.steps)) == ("errored", 10_000)
    assert time.process_time() - begun < 5
