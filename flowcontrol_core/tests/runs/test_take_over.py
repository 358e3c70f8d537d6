"""Runs that another system has executed so far, taken over where they stand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from flowcontrol import runs
from flowcontrol.errors import NotStartedError
from flowcontrol.testing import flow, publish_flow, step
from flowcontrol_core.models import FlowRun, Status

from .conftest import Lab, events, publish, sweep, think

pytestmark = pytest.mark.django_db


def row(info: runs.RunInfo) -> FlowRun:
    return FlowRun.objects.get(pk=info.pk)


def test_run_begins_at_a_step(lab: Lab) -> None:
    publish(think("a", id="a"), think("b", id="b"), think("c", id="c"))
    info = runs.create("flow", step="b", state={"n": 5}, by="ann", reason="migration")
    assert (info.status, info.step) == (Status.PENDING, "b")
    sweep()
    assert (row(info).outcome, row(info).state, lab.calls) == ("complete", {"n": 7}, ["b", "c"])
    taken = events(row(info))[0]
    assert (taken.code, taken.actor) == ("taken_over", "ann")
    assert taken.message == "Taken over from elsewhere, at the step b. migration"


@pytest.mark.parametrize("limits", [{}, {"max_concurrent": 1}])
def test_run_waits_for_the_rest_of_a_delay_and_continues_after_it(lab: Lab, limits: Any) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=30)))
    publish(think("wait", id="w"), think("b", id="b"), **limits)
    until = lab.clock.now() + timedelta(days=3)
    info = runs.create("flow", step="w", after=True, until=until)
    sweep()
    assert (row(info).status, row(info).due_at) == (Status.WAITING, until)
    assert (row(info).slot is not None) == bool(limits)
    lab.clock.advance(days=2)
    assert sweep() == 0
    lab.clock.advance(days=1)
    sweep()
    assert (row(info).outcome, lab.calls) == ("complete", ["b"])


def test_run_begins_at_a_step_later_and_is_woken_by_nothing(lab: Lab) -> None:
    seen: list[Any] = []
    lab.on("b", lambda run, obj: seen.append((run.wakeup, dict(run.memo))))
    publish(think("a", id="a"), think("b", id="b"))
    info = runs.create(
        "flow", step="b", until=lab.clock.now() + timedelta(days=1), memo={"b": {"tries": 3}}
    )
    assert sweep() == 0
    lab.clock.advance(days=1)
    sweep()
    assert (row(info).outcome, seen) == ("complete", [(None, {"tries": 3})])


def test_run_is_taken_over_inside_of_a_loop_if_it_is_known_where_it_is(lab: Lab) -> None:
    seen: list[Any] = []
    lab.on("in", lambda run, obj: seen.append(run.state["i"]))
    body = [step("builtin.if", id="if", condition="True", then=[think("wait", id="w")])]
    loop = step("builtin.for", id="loop", end="5", variable="i", body=[*body, think("in", id="in")])
    publish_flow(flow(loop, think("last", id="last")))
    with pytest.raises(NotStartedError, match="inside of the loop 'loop'") as refused:
        runs.create("flow", step="w", after=True)
    assert refused.value.reason == "step"
    memo = {"loop": {"value": 3, "end": 5, "step": 1}}
    info = runs.create("flow", step="w", after=True, memo=memo, state={"i": 3})
    sweep()
    assert (row(info).outcome, seen, row(info).state) == ("complete", [3, 4], {"n": 2})


@pytest.mark.parametrize(
    ("memo", "message"),
    [
        ({}, "“value” has to be a whole number"),
        ({"value": "x", "end": 5, "step": 1}, "“value” has to be a whole number"),
        ({"value": 0, "end": True, "step": 1}, "“end” has to be a whole number"),
        ({"value": 0, "end": 5, "step": 0}, "The step of the loop is 0"),
        (5, "has to be a mapping"),
    ],
)
def test_loop_that_cannot_go_on_is_refused(lab: Lab, memo: Any, message: str) -> None:
    loop = step("builtin.for", id="loop", end="5", variable="i", body=[think("in", id="in")])
    publish_flow(flow(loop))
    with pytest.raises(NotStartedError, match=f"memo of the step 'loop' .*{message}") as refused:
        runs.create("flow", step="in", memo={"loop": memo})
    assert refused.value.reason == "step"
    assert FlowRun.objects.count() == 0


def test_wait_is_taken_over_with_its_time_out(lab: Lab) -> None:
    waits = step("builtin.wait_for_trigger", id="w", trigger="lab.paid", at_most="30")
    publish_flow(flow(waits))
    until = lab.clock.now() + timedelta(days=2)
    info = runs.create("flow", step="w", memo={"w": {"timeout": until}})
    sweep()
    assert row(info).wait_timeout == until


@pytest.mark.parametrize(
    ("taken", "memo", "message"),
    [
        (step("builtin.wait_for_trigger", id="w", trigger="lab.paid"), {"timeout": 5}, "a time"),
        (step("builtin.start_flow", id="w", flow="flow", wait=True), {"child": "x"}, "the UUID"),
        (step("builtin.start_flow", id="w", flow="flow", wait=True), {"child": 5}, "the UUID"),
    ],
)
def test_wait_with_a_memo_that_it_cannot_use_is_refused(
    lab: Lab, taken: Any, memo: Any, message: str
) -> None:
    publish_flow(flow(taken))
    with pytest.raises(NotStartedError, match=f"memo of the step 'w' .*{message}"):
        runs.create("flow", step="w", memo={"w": memo})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": "gone"}, "no enabled step 'gone'"),
        ({"step": "b", "memo": {"a": {}}}, "'b' is not inside of a, which the memo names"),
    ],
)
def test_place_that_is_not_there_is_refused(lab: Lab, arguments: Any, message: str) -> None:
    publish(think("a", id="a"), think("b", id="b"))
    with pytest.raises(NotStartedError, match=message):
        runs.create("flow", **arguments)
    assert FlowRun.objects.count() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"after": True},
        {"memo": {"a": {}}},
        {"until": datetime(2030, 1, 1)},
        {"step": "a", "at": datetime(2030, 1, 1)},
        {"step": "a", "until": datetime(2030, 1, 1)},
    ],
)
def test_arguments_that_mean_nothing_together_are_refused(lab: Lab, arguments: Any) -> None:
    publish(think("a", id="a"))
    with pytest.raises(ValueError, match=r"need a step|make it aware"):
        runs.create("flow", **arguments)
