"""Flows that start others or wait for events, executed by the real engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from flowcontrol.engine import start_flowrun
from flowcontrol.flows import check_document
from flowcontrol.models import FlowRun
from flowcontrol.registry import Trigger
from flowcontrol.testing import (
    ManualClock,
    flow,
    manual_clock,
    publish_flow,
    run_due,
    step,
    temporary_registry,
)
from tests import operate
from tests.cases import each
from tests.shop.models import Customer

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Iterator[ManualClock]:
    with manual_clock() as clock:
        yield clock


@pytest.fixture
def paid() -> Iterator[Trigger]:
    trigger = Trigger(name="paid", label="Order paid")
    with temporary_registry(triggers=[trigger]):
        yield trigger


def start(key: str, obj: Any = None, state: Any = None) -> FlowRun:
    run = start_flowrun(key, obj, state)
    run_due()
    run.refresh_from_db()
    return run


def publish_starter(**config: Any) -> None:
    """Publish the flow ``main``, which starts the flow ``sub``."""
    started = step("builtin.start_flow", flow="sub", result_key="sub", config=config)
    publish_flow(flow(started, step("builtin.update_state", state={"after": True})), key="main")


def publish_adder(**fields: Any) -> Any:
    """Publish the flow ``sub``, which adds 1 to ``n``."""
    adding = step("builtin.update_state", state={"n": "n|add:1"}, evaluate=True)
    return publish_flow(flow(adding), key="sub", **fields)


def test_the_result_of_a_started_flow_arrives_after_waiting_for_its_end() -> None:
    publish_adder()
    publish_starter(wait=True, state="copy")
    run = start("main", state={"n": 1})
    child = FlowRun.objects.get(flow__key="sub")
    assert run.outcome == "complete"
    assert run.state == {
        "n": 1,
        "after": True,
        "sub": {
            "started": True,
            "run": str(child.uuid),
            "outcome": "complete",
            "state": {"n": 2},
        },
    }
    assert (child.parent_id, child.depth) == (run.pk, 1)


def test_values_of_the_child_become_keys_that_a_condition_of_the_parent_sees() -> None:
    publish_adder()
    asks = step(
        "builtin.if",
        condition="ended == 'complete' and total > 1",
        then=[step("builtin.update_state", state={"seen": True})],
    )
    started = step(
        "builtin.start_flow",
        flow="sub",
        state="copy",
        wait=True,
        output={"total": "result.n", "ended": "outcome"},
    )
    publish_flow(flow(started, asks), key="main")
    run = start("main", state={"n": 1})
    assert (run.outcome, run.reason) == ("complete", "")
    assert run.state == {"n": 1, "total": 2, "ended": "complete", "seen": True}


def test_a_child_that_fails_can_fail_the_step_and_both_can_be_retried() -> None:
    publish_flow(flow(step("builtin.delay", amount="n")), key="sub")
    publish_starter(wait=True, on_failed="fail", output={"waited": "result.n"})
    run = start("main")
    child = FlowRun.objects.get(parent=run)
    assert (child.outcome, run.outcome) == ("errored", "errored")
    assert f"The run {child.uuid} of the flow “sub” ended as errored." in run.reason
    operate.edit_state(child, {"n": 0})
    operate.retry(child)
    run_due()
    operate.retry(run)
    run_due()
    run.refresh_from_db()
    assert (run.outcome, run.state["waited"]) == ("complete", 0), run.reason
    assert FlowRun.objects.filter(parent=run).count() == 1


def test_a_value_that_cannot_be_computed_fails_the_step_and_sets_nothing() -> None:
    publish_adder()
    publish_starter(wait=True, output={"a": "outcome", "b": "result|ljust:99999"})
    run = start("main", state={"n": 1})
    assert run.outcome == "errored"
    assert run.state["n"] == 1
    assert "a" not in run.state
    assert "outcome" not in run.state["sub"]


@each(
    ("output", "said"),
    [
        ({"a": "result.n", "b": "result.n ||"}, "Line 2: "),
        ({"a": "object.nmae"}, '"nmae" in object.nmae is not a field of shop.customer'),
    ],
)
def test_wrong_expressions_are_found_before_publishing_with_their_place(
    output: dict[str, str], said: str
) -> None:
    started = step("builtin.start_flow", id="s", flow="sub", wait=True, output=output)
    found = check_document(flow(started, object="shop.customer"))
    (problem,) = [problem for problem in found if problem.field]
    assert (problem.path, problem.field) == ("steps[0].config.output", "output")
    assert said in problem.message


def test_waiting_for_a_flow_that_starts_later_lasts_until_its_end(clock: ManualClock) -> None:
    publish_adder()
    publish_starter(wait=True, when="delay", delay="2", delay_unit="hours")
    run = start("main", state={"n": 1})
    assert run.status == "waiting"
    assert FlowRun.objects.get(flow__key="sub").due_at == clock.now() + timedelta(hours=2)
    clock.advance(hours=2)
    run_due()
    run.refresh_from_db()
    assert run.state["sub"]["outcome"] == "complete"


def test_without_waiting_the_run_continues_immediately() -> None:
    publish_adder()
    publish_starter()
    run = start("main")
    child = FlowRun.objects.get(flow__key="sub")
    assert run.state == {"after": True, "sub": {"started": True, "run": str(child.uuid)}}
    assert child.status == "done"


def test_the_object_is_passed_unless_the_step_excludes_it() -> None:
    customer = Customer.objects.create(name="Ann")
    publish_flow(
        flow(
            step("builtin.update_state", state={"name": "object.name"}, evaluate=True),
            object="shop.customer",
        ),
        key="sub",
    )
    publish_starter(wait=True)
    assert start("main", customer).state["sub"]["state"] == {"name": "Ann"}


def test_an_inactive_flow_is_not_swallowed_silently() -> None:
    sub = publish_adder()
    sub.active = False
    sub.save(update_fields=["active"])
    publish_starter(wait=True)
    run = start("main")
    assert (run.outcome, run.state["after"]) == ("complete", True)
    assert run.state["sub"]["started"] is False
    assert run.state["sub"]["reason"] == "inactive"
    assert "not active" in run.state["sub"]["message"]


def test_an_inactive_flow_can_fail_the_step() -> None:
    sub = publish_adder()
    sub.active = False
    sub.save(update_fields=["active"])
    publish_starter(on_refused="fail")
    run = start("main")
    assert run.outcome == "errored"
    assert "not active" in run.reason


def test_a_limited_flow_is_not_swallowed_silently(clock: ManualClock) -> None:
    publish_flow(flow(step("builtin.delay", amount="1")), key="sub", max_concurrent=1)
    publish_starter()
    assert start("main").state["sub"]["started"] is True
    refused = start("main").state["sub"]
    assert (refused["started"], refused["reason"]) == (False, "limit")


def test_a_flow_that_starts_itself_ends_at_the_greatest_depth(settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_DEPTH": 3}
    again = step("builtin.start_flow", flow="sub", result_key="sub")
    publish_flow(flow(again), key="sub")
    start("sub")
    runs = FlowRun.objects.order_by("depth")
    assert [run.depth for run in runs] == [0, 1, 2, 3]
    assert runs[3].state["sub"]["reason"] == "depth"


def publish_waiter(**config: Any) -> None:
    publish_flow(
        flow(
            step("builtin.delay", amount="1", unit="hours"),
            step("builtin.wait_for_trigger", trigger="test.paid", result_key="paid", config=config),
        ),
        key="waiter",
    )


def test_a_trigger_wakes_the_run_of_its_object_only(clock: ManualClock, paid: Trigger) -> None:
    ann, bob = (Customer.objects.create(name=name) for name in ("Ann", "Bob"))
    publish_waiter()
    runs = [start("waiter", customer) for customer in (ann, bob)]
    clock.advance(hours=1)
    run_due()
    paid(ann, {"amount": 5})
    run_due()
    for run in runs:
        run.refresh_from_db()
    assert [run.status for run in runs] == ["done", "waiting"]
    assert runs[0].state["paid"]["payload"] == {"amount": 5}


def test_the_event_that_came_before_the_wait_is_not_lost(clock: ManualClock, paid: Trigger) -> None:
    ann = Customer.objects.create(name="Ann")
    publish_waiter()
    run = start("waiter", ann)
    clock.advance(minutes=1)
    paid(ann, {"amount": 5})
    clock.advance(hours=1)
    run_due()
    run.refresh_from_db()
    assert (run.outcome, run.state["paid"]["payload"]) == ("complete", {"amount": 5})


def test_the_trigger_of_any_object_wakes_where_that_is_wanted(
    clock: ManualClock, paid: Trigger
) -> None:
    ann, bob = (Customer.objects.create(name=name) for name in ("Ann", "Bob"))
    publish_waiter(match="any")
    run = start("waiter", ann)
    clock.advance(hours=1)
    run_due()
    paid(bob)
    run_due()
    run.refresh_from_db()
    assert run.outcome == "complete"


def test_waiting_ends_with_its_time_out(clock: ManualClock, paid: Trigger) -> None:
    publish_waiter(at_most="2", at_most_unit="hours")
    run = start("waiter")
    clock.advance(hours=1)
    run_due()
    clock.advance(hours=2)
    run_due()
    run.refresh_from_db()
    assert run.state["paid"] == {"timed_out": True, "trigger": "", "payload": {}}


def test_a_mail_is_sent_once_and_its_key_is_that_of_the_step(mailoutbox: Any) -> None:
    publish_flow(
        flow(
            step("builtin.send_email", to="a@example.com", subject="Hello", text="A text"),
            step("builtin.delay", amount="1"),
        )
    )
    start("flow")
    run_due()
    (message,) = mailoutbox
    key = message.message()["Message-ID"].strip("<>").partition("@")[0]
    assert uuid.UUID(key).version == 5
