"""Re-entry: what becomes of a run for an object that has, or had, one already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import EventKind, Flow, FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import limits
from flowcontrol_core.runs.triggers.fire import trigger_flows
from tests import operate
from tests.shop.models import Customer

from .conftest import Lab, events, fresh, publish, sweep, think
from .listeners import KEY, listener, refusals

pytestmark = pytest.mark.django_db(transaction=True)
ONCE_AT_A_TIME = {"max_concurrent_per_object": 1}
ONCE_EVER = {"max_per_object": 1}


@pytest.fixture
def ada(lab: Lab) -> Customer:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    return Customer.objects.create(name="Ada")


def limited(**fields: Any) -> Flow:
    return publish(think("wait", id="wait"), think(id="last"), object="shop.customer", **fields)


def create(flow: Flow, obj: Any) -> FlowRun:
    """Create a run past the check that spares most refused rows, as two at once would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "reached", lambda limits: "")
        return create_flowrun(flow, obj)


def settle() -> None:
    for _ in range(4):
        sweep()


def enter(flow: Flow, *objects: Any) -> list[FlowRun]:
    """Create one run after the other, each executed as far as it goes."""
    runs = []
    for obj in objects:
        runs.append(create(flow, obj))
        settle()
    return runs


def statuses(*runs: FlowRun) -> list[str]:
    return [fresh(run).outcome or fresh(run).status for run in runs]


def refusal(run: FlowRun) -> list[str]:
    return [event.message for event in events(run) if event.kind == EventKind.REFUSED]


def test_at_any_time_an_object_has_any_number_of_runs(lab: Lab, ada: Customer) -> None:
    assert statuses(*enter(limited(), ada, ada, ada)) == ["waiting"] * 3


def test_once_at_a_time_skip_records_the_reason(lab: Lab, ada: Customer) -> None:
    flow = limited(**ONCE_AT_A_TIME, max_concurrent_per_object_policy="skip")
    first, second = enter(flow, ada, ada)
    assert statuses(first, second) == ["waiting", "canceled"]
    said = "The limit max_concurrent_per_object of the flow is reached (1)."
    assert (fresh(second).reason, refusal(second)) == (said, [said])
    operate.cancel(first)
    assert statuses(*enter(flow, ada)) == ["waiting"]


def test_once_at_a_time_queue_waits_for_the_end_of_the_first(lab: Lab, ada: Customer) -> None:
    flow = limited(**ONCE_AT_A_TIME, max_concurrent_per_object_policy="queue")
    first, second = enter(flow, ada, ada)
    assert statuses(first, second) == ["waiting", "pending"]
    assert fresh(second).reason.startswith("Queued: the limit max_concurrent_per_object")
    lab.clock.advance(days=1)
    settle()
    assert statuses(first, second) == ["complete", "waiting"]


def test_once_at_a_time_replace_cancels_the_first(lab: Lab, ada: Customer) -> None:
    flow = limited(**ONCE_AT_A_TIME, max_concurrent_per_object_policy="replace")
    first, second = enter(flow, ada, ada)
    assert statuses(first, second) == ["canceled", "waiting"]
    assert fresh(first).reason == f"Replaced by run {second.pk}."


@pytest.mark.parametrize("policy", ["skip", "queue", "replace"])
def test_once_ever_is_skipped_with_the_reason_whatever_the_other_policies(
    lab: Lab, ada: Customer, policy: str
) -> None:
    policies = {"max_concurrent_policy": policy, "max_concurrent_per_object_policy": policy}
    flow = limited(**ONCE_EVER, max_concurrent=5, max_concurrent_per_object=5, **policies)
    first, second = enter(flow, ada, ada)
    lab.clock.advance(days=1)
    settle()
    assert statuses(first, second) == ["complete", "canceled"]
    assert refusal(second) == ["The limit max_per_object of the flow is reached (1)."]
    with pytest.raises(NotStartedError, match="max_per_object"):
        create_flowrun(flow, ada)


def test_another_object_and_none_are_no_reentry(lab: Lab, ada: Customer) -> None:
    eve = Customer.objects.create(name="Eve")
    flow = limited(**ONCE_AT_A_TIME, **ONCE_EVER)
    assert statuses(*enter(flow, ada, eve, None, None)) == ["waiting"] * 4


@pytest.mark.parametrize(
    ("fields", "created", "recorded"),
    [
        ({}, 1, []),
        (ONCE_EVER, 0, ["limit"]),
        (ONCE_AT_A_TIME, 0, ["limit"]),
        ({**ONCE_AT_A_TIME, "max_concurrent_per_object_policy": "queue"}, 1, []),
        ({**ONCE_AT_A_TIME, "max_concurrent_per_object_policy": "replace"}, 1, []),
        (
            {**ONCE_AT_A_TIME, **ONCE_EVER, "max_concurrent_per_object_policy": "queue"},
            0,
            ["limit"],
        ),
        ({**ONCE_AT_A_TIME, "max_concurrent_policy": "queue"}, 0, ["limit"]),
        ({"max_concurrent": 1, "max_concurrent_policy": "queue"}, 1, []),
        ({"max_concurrent": 1, "max_concurrent_per_object_policy": "queue"}, 0, ["limit"]),
    ],
    ids=str,
)
def test_a_trigger_that_is_refused_records_the_reason(
    lab: Lab, ada: Customer, fields: dict[str, Any], created: int, recorded: list[str]
) -> None:
    lab.on("think", lambda run, obj: run.suspend(until=timedelta(days=1)))
    association = listener(**fields)
    enter(association.flow, ada)
    assert len(trigger_flows(KEY, ada)) == created
    assert refusals() == recorded


def test_each_limit_has_a_policy_of_its_own(lab: Lab, ada: Customer) -> None:
    """All runs queue for the one worker; a second one for the same object is not wanted."""
    eve = Customer.objects.create(name="Eve")
    flow = limited(max_concurrent=1, max_concurrent_policy="queue", **ONCE_AT_A_TIME)
    first, second, other = enter(flow, ada, ada, eve)
    assert statuses(first, second, other) == ["waiting", "canceled", "pending"]
    assert "max_concurrent_per_object" in refusal(second)[0]


@pytest.mark.parametrize(
    ("whole", "per_object", "expected"),
    [
        ("queue", "skip", ["waiting", "canceled"]),
        ("skip", "queue", ["waiting", "canceled"]),
        ("queue", "replace", ["waiting", "pending"]),
        ("replace", "queue", ["waiting", "pending"]),
        ("replace", "replace", ["canceled", "waiting"]),
        ("skip", "replace", ["waiting", "canceled"]),
    ],
)
def test_of_two_limits_that_are_reached_the_one_that_does_less_decides(
    lab: Lab, ada: Customer, whole: str, per_object: str, expected: list[str]
) -> None:
    """To cancel a run for a slot, and wait for the other slot then, would be of no use."""
    flow = limited(
        max_concurrent=1,
        max_concurrent_policy=whole,
        max_concurrent_per_object_policy=per_object,
        **ONCE_AT_A_TIME,
    )
    assert statuses(*enter(flow, ada, ada)) == expected


def test_a_restarted_run_queues_where_the_policy_says_so(lab: Lab, ada: Customer) -> None:
    flow = limited(**ONCE_AT_A_TIME, max_concurrent_per_object_policy="queue")
    (old,) = enter(flow, ada)
    operate.cancel(old)
    (present,) = enter(flow, ada)
    new = operate.restart(old, "last")
    settle()
    assert statuses(present, new) == ["waiting", "pending"]
    lab.clock.advance(days=1)
    settle()
    assert statuses(present, new) == ["complete", "complete"]
