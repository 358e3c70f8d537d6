"""Promise 11: loops end; and what has no effects is held to it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import Flow, FlowRun, Message, Status
from flowcontrol_core.runs.execution import activation
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    Lab,
    events,
    fresh,
    loop,
    publish,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_loop_that_never_ends_is_ended_with_the_reason(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_ITERATIONS": 50}
    run = start(loop(1_000_000, think()))
    sweep()
    row = fresh(run)
    assert (row.outcome, len(lab.calls)) == ("errored", 50)
    assert "entered its branch more than 50 times (setting MAX_ITERATIONS)" in row.reason


def test_honest_nested_loops_are_counted_apart(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_ITERATIONS": 10}
    run = start(loop(10, loop(10, think())))
    sweep()
    assert (fresh(run).outcome, len(lab.calls)) == ("complete", 100)


def test_long_activation_writes_a_checkpoint_and_lets_others_go_first(
    lab: Lab, settings: Any
) -> None:
    def take_time(run: Any, obj: Any) -> None:
        lab.clock.advance(seconds=1)
        run.state["n"] = run.state.get("n", 0) + 1

    settings.FLOWCONTROL = {"STEPS_PER_ACTIVATION": 10, "CLAIM_BATCH": 1}
    lab.on("long", take_time)
    long, short = start(loop(10, think("long")), key="a"), start(think("short"), key="b")
    continue_flowruns(limit=2)
    assert fresh(short).outcome == "complete"
    row = fresh(long)
    assert (row.status, row.due_at, row.attempt) == (Status.WAITING, lab.clock.now(), 0)
    assert row.state["n"] > 0
    sweep()
    assert (fresh(long).outcome, fresh(long).state) == ("complete", {"n": 10})
    assert lab.calls.count("long") == 10


def test_activation_that_takes_long_yields_after_each_step(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 100_000, 20))

    class Time:
        perf_counter = staticmethod(time.perf_counter)
        monotonic = staticmethod(lambda: next(seconds))

    monkeypatch.setattr(activation, "time", Time)
    run = start(*[think() for _ in range(3)])
    assert sweep() == 3
    assert fresh(run).state == {"n": 3}
    assert len(events(run)) == 3


def test_runs_of_one_batch_have_their_time_each(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]

    class Time:
        perf_counter = staticmethod(time.perf_counter)
        monotonic = staticmethod(lambda: seconds[0])

    def take_all_of_it(run: Any, obj: Any) -> None:
        seconds[0] += get_settings().LEASE / 4 + 1

    monkeypatch.setattr(activation, "time", Time)
    lab.on("long", take_all_of_it)
    first = start(write("long"), key="a")
    second = start(write("b"), write("c"), key="b")
    continue_flowruns(limit=2)
    assert [fresh(first).outcome, fresh(second).outcome] == ["complete", "complete"]


def test_flow_that_starts_itself_ends_at_the_greatest_depth(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_DEPTH": 5}
    lab.on("again", lambda run, obj: create_flowrun("flow"))
    start(write("again"))
    sweep()
    assert FlowRun.objects.count() == 6
    last = FlowRun.objects.get(depth=5)
    assert last.outcome == "errored"
    assert "have started each other 6 times (setting MAX_DEPTH)" in last.reason


def test_flow_that_starts_itself_inline_does_not_exhaust_the_interpreter(
    lab: Lab, settings: Any
) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "inline", "MAX_DEPTH": 100}
    lab.on("again", lambda run, obj: create_flowrun("flow"))
    start_flowrun(publish(write("again")))
    assert FlowRun.objects.count() == 101
    assert FlowRun.objects.filter(status=Status.DONE).count() == 101
    assert FlowRun.objects.filter(outcome="errored").get().depth == 100


def test_run_starts_no_more_others_than_allowed(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_FAN_OUT": 3}
    publish(think("child"), key="child")
    lab.on("spawn", lambda run, obj: create_flowrun("child"))
    run = start(loop(10, write("spawn")))
    sweep()
    row = fresh(run)
    assert row.outcome == "errored"
    assert "One run has started 3 others (setting MAX_FAN_OUT)" in row.reason
    assert FlowRun.objects.filter(parent_id=run.pk).count() == 3


def test_children_have_a_state_of_their_own(lab: Lab) -> None:
    publish(think("child"), key="child")
    shared = {"list": [1]}

    def spawn(run: Any, obj: Any) -> None:
        run.state["mine"] = shared
        for _ in range(2):
            create_flowrun("child", state={"mine": run.state["mine"]})

    lab.on("spawn", spawn)
    lab.on("child", lambda run, obj: run.state["mine"]["list"].append(run.pk))
    run = start(write("spawn"))
    sweep()
    assert fresh(run).state == {"mine": {"list": [1]}}
    children = FlowRun.objects.filter(parent_id=run.pk)
    assert [child.state["mine"]["list"] for child in children] == [
        [1, child.pk] for child in children
    ]


# Effects


@pytest.mark.parametrize(
    "write_something",
    [
        lambda: Customer.objects.create(name="x"),
        lambda: Customer.objects.update(name="x"),
        lambda: Customer.objects.all().delete(),
        lambda: Customer.objects.bulk_create([Customer(name="x")]),
    ],
)
def test_write_under_no_effects_is_refused(lab: Lab, write_something: Any) -> None:
    Customer.objects.create(name="Ada")
    lab.on("sneak", lambda run, obj: write_something())
    run = start(think("sneak"))
    sweep()
    row = fresh(run)
    assert (row.outcome, Customer.objects.get().name) == ("errored", "Ada")
    assert "An action with Effects.NONE wrote to the database" in row.reason


def test_write_under_no_effects_is_refused_in_the_transaction_of_others(lab: Lab) -> None:
    lab.on("sneak", lambda run, obj: Customer.objects.create(name="x"))
    run = start(write("before"), think("sneak"))
    sweep()
    assert fresh(run).outcome == "errored"
    assert [one.name for one in Customer.objects.all()] == ["before"]


def test_reading_under_no_effects_is_fine(lab: Lab) -> None:
    Customer.objects.create(name="Ada")
    lab.on("read", lambda run, obj: run.state.update(n=Customer.objects.count()))
    run = start(think("read"))
    sweep()
    assert fresh(run).state == {"n": 1}


def test_external_action_may_write_and_is_in_no_transaction(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        run.state["atomic"] = connection.in_atomic_block
        Customer.objects.create(name="x")

    lab.on("work", work)
    run = start(send("work"))
    sweep()
    assert (fresh(run).state, Customer.objects.count()) == ({"atomic": False}, 1)


# The guard


@pytest.fixture
def ada(db: None) -> Customer:
    return Customer.objects.create(name="Ada")


@pytest.mark.parametrize("step", [think, write, send])
def test_guard_is_checked_between_steps(lab: Lab, step: Any) -> None:
    lab.on("stop", lambda run, obj: run.state.update(stop=True))
    run = create_flowrun(publish(step("stop"), write("after"), guard="not state.stop"))
    sweep()
    row = fresh(run)
    assert (row.outcome, lab.calls) == ("obsolete", ["stop"])
    assert row.reason == "The guard condition is false: not state.stop"
    assert row.state == {"stop": True}


def test_guard_sees_the_object_as_the_steps_before_left_it(lab: Lab, ada: Customer) -> None:
    def leave(run: Any, obj: Any) -> None:
        obj.is_active = False
        obj.save()

    lab.on("leave", leave)
    flow = publish(write("leave"), write("after"), guard="object.is_active", object="shop.customer")
    run = create_flowrun(flow, ada)
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("obsolete", ["leave"])
    ada.refresh_from_db()
    assert not ada.is_active


def test_false_guard_keeps_a_run_from_beginning(lab: Lab) -> None:
    run = create_flowrun(publish(write("a"), guard="state.go"))
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("obsolete", [])


def test_inactive_flow_starts_nothing_and_lets_its_runs_continue(lab: Lab) -> None:
    flow = publish(think())
    run = create_flowrun(flow)
    Flow.objects.update(active=False)
    with pytest.raises(NotStartedError, match="not active"):
        create_flowrun("flow")
    sweep()
    assert fresh(run).outcome == "complete"


def test_request_of_a_run_that_has_ended_leaves_nothing(lab: Lab) -> None:
    lab.on("last", lambda run, obj: operate.pause(run.pk))
    run = start(send("last"))
    for _ in range(3):
        sweep()
    row = fresh(run)
    assert (row.outcome, row.request) == ("complete", "")
    assert not Message.objects.exists()
