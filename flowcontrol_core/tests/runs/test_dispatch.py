"""What is woken is dispatched after the commit like what is started, as DISPATCH says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from flowcontrol_core.flows.lifecycle import pause
from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.runs.execution import admission
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.operations.interventions import resume_flow
from flowcontrol_core.runs.store import connection as connection_module
from flowcontrol_core.runs.triggers import listeners
from flowcontrol_core.runs.triggers.fire import trigger_flows
from tests import operate

from .conftest import Lab, event, fresh, loop, publish, start, sweep, think, write
from .listeners import KEY

pytestmark = pytest.mark.django_db(transaction=True)

#: What makes a run due: returns the run, and what does it.
Waking = Callable[[Lab], tuple[FlowRun, Callable[[], object]]]


def by_event(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    lab.on("wait", lambda run, obj: run.suspend(trigger=KEY))
    run = start(think("wait"), think("after"))
    run.flow.versions.update(waits_for=KEY)
    listeners.cache.forget()
    sweep()
    return run, lambda: trigger_flows(KEY)


def by_end_of_child(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    lab.on("hold", lambda run, obj: run.suspend(until=timedelta(days=1)))
    lab.on("begin", lambda run, obj: run.suspend(child=create_flowrun("child", parent=run)))
    publish(think("hold"), key="child")
    run = start(write("begin"), think("after"))
    sweep()
    sweep()
    child = FlowRun.objects.get(parent=run)
    return run, lambda: operate.cancel(child)


def by_cancellation_of_parent(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    parent, _ = by_end_of_child(lab)
    return FlowRun.objects.get(parent=parent), lambda: operate.cancel(parent)


def by_slot(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    lab.on("hold", lambda run, obj: run.suspend(until=timedelta(days=1)))
    flow = publish(think("hold"), max_concurrent=1, max_concurrent_policy="queue")
    first, second = create_flowrun(flow), create_flowrun(flow)
    sweep()
    assert fresh(second).queued_at is not None
    lab.behaviours.clear()
    return second, lambda: operate.cancel(first)


def by_resuming(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    run = start(think())
    operate.pause(run)
    return run, lambda: operate.resume(run)


def by_resuming_its_flow(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    flow = publish(think())
    pause(flow)
    run = create_flowrun(flow)
    sweep()
    assert fresh(run).status == Status.PAUSED
    return run, lambda: resume_flow(flow)


def by_run_now(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    run = create_flowrun(publish(think()), at=lab.clock.now() + timedelta(days=1))
    return run, lambda: operate.run_now(run)


def by_going_to_a_step(lab: Lab) -> tuple[FlowRun, Callable[[], object]]:
    lab.on("hold", lambda run, obj: run.suspend(until=timedelta(days=1)))
    run = start(think("hold"), think("after"))
    sweep()
    return run, lambda: operate.go_to_step(run, step="s2")


WAKINGS: tuple[Waking, ...] = (
    *(by_event, by_end_of_child, by_cancellation_of_parent, by_slot, by_resuming),
    *(by_resuming_its_flow, by_run_now, by_going_to_a_step),
)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With DISPATCH = "celery": the keys of the runs that are sent."""
    found: list[int] = []
    monkeypatch.setitem(connection_module.senders, "celery", found.extend)
    return found


@pytest.mark.parametrize("waking", WAKINGS)
def test_what_is_woken_is_executed_at_once_inline(lab: Lab, settings: Any, waking: Waking) -> None:
    run, wake = waking(lab)
    assert fresh(run).status != Status.DONE
    settings.FLOWCONTROL = {"DISPATCH": "inline"}
    wake()
    assert fresh(run).status == Status.DONE


@pytest.mark.parametrize("waking", WAKINGS)
def test_what_is_woken_is_sent_to_celery_after_the_commit(
    lab: Lab, settings: Any, sent: list[int], waking: Waking
) -> None:
    run, wake = waking(lab)
    settings.FLOWCONTROL = {"DISPATCH": "celery"}
    with transaction.atomic():
        wake()
        assert sent == []
    assert run.pk in sent


@pytest.mark.parametrize("waking", WAKINGS)
def test_what_is_woken_waits_for_the_sweep_where_that_dispatches(
    lab: Lab, sent: list[int], waking: Waking
) -> None:
    run, wake = waking(lab)
    wake()
    assert (fresh(run).status == Status.DONE, sent) == (False, [])
    for _ in range(2):
        sweep()
    assert fresh(run).status == Status.DONE


def test_what_happens_while_a_run_begins_to_wait_is_dispatched_by_its_own_worker(
    lab: Lab, settings: Any
) -> None:
    """No one else wakes it: the event exists before the run waits for it."""
    settings.FLOWCONTROL = {"DISPATCH": "inline"}

    def wait(run: Any, obj: Any) -> Any:
        event()
        return run.suspend(trigger=KEY)

    lab.on("wait", wait)
    run = start_flowrun(publish(write("wait"), think("after")))
    assert (run.status, lab.calls) == (Status.DONE, ["wait", "after"])


def test_children_that_were_paused_with_their_parent_continue_with_it_inline(
    lab: Lab, settings: Any
) -> None:
    lab.on("hold", lambda run, obj: run.suspend(until=timedelta(days=1)))
    lab.on("begin", lambda run, obj: run.suspend(child=create_flowrun("child", parent=run)))
    publish(think("hold"), key="child")
    parent = start(write("begin"), think("after"))
    for _ in range(2):
        sweep()
    operate.pause(parent)
    sweep()
    child = FlowRun.objects.get(parent=parent)
    assert fresh(child).status == Status.PAUSED
    lab.clock.advance(days=1)
    settings.FLOWCONTROL = {"DISPATCH": "inline"}
    operate.resume(parent)
    assert [fresh(run).status for run in (child, parent)] == [Status.DONE] * 2


def test_run_whose_flow_is_resumed_while_it_is_paused_is_dispatched(
    lab: Lab, sent: list[int], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = publish(think())
    run = create_flowrun(flow)
    pause(flow)
    put_paused = admission._put_paused

    def resume_meanwhile(*arguments: Any) -> None:
        resume_flow(flow)
        put_paused(*arguments)

    monkeypatch.setattr(admission, "_put_paused", resume_meanwhile)
    settings.FLOWCONTROL = {"DISPATCH": "celery"}
    sweep()
    assert run.pk in sent


def test_a_run_that_starts_children_and_waits_for_them_ends_inline(lab: Lab, settings: Any) -> None:
    """One after the other, not inside of each other: far more than the interpreter can nest."""
    settings.FLOWCONTROL = {"DISPATCH": "inline", "MAX_FAN_OUT": 200}
    publish(think("child"), key="child")
    lab.on("begin", lambda run, obj: run.suspend(child=create_flowrun("child", parent=run)))
    run = start_flowrun(publish(loop(60, write("begin"))))
    assert run.status == Status.DONE
    assert lab.calls.count("child") == 60


def test_what_wakes_itself_without_end_is_left_to_the_sweep(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "inline", "MAX_FAN_OUT": 5}

    def wait(run: Any, obj: Any) -> Any:
        event()
        return run.suspend(trigger=KEY, repeat=True)

    lab.on("wait", wait)
    run = start_flowrun(publish(write("wait")))
    assert run.status == Status.WAITING
    assert 5 <= len(lab.calls) <= 8
    assert continue_flowruns(limit=1).executed == 1


def test_a_sweep_takes_what_is_dispatched_inline_meanwhile_in_its_turn(
    lab: Lab, settings: Any
) -> None:
    """Not inside of the run that starts or wakes it, whose batch would wait for it."""
    settings.FLOWCONTROL = {"DISPATCH": "inline"}

    def spawn(run: Any, obj: Any) -> Any:
        return run.suspend(child=create_flowrun("child", parent=run))

    lab.on("spawn", spawn)
    publish(think("child"), key="child")
    at = lab.clock.now() + timedelta(days=1)
    flow = publish(write("spawn"), think("after"))
    parents = [create_flowrun(flow, at=at) for _ in range(2)]
    lab.clock.advance(days=1)
    sweep()
    assert lab.calls[:2] == ["spawn", "spawn"]
    assert [fresh(run).status for run in parents] == [Status.DONE] * 2
