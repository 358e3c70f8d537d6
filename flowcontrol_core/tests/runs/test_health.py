"""Each trouble is made to appear, and to disappear again."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flowcontrol_core import health
from flowcontrol_core.health import HealthIssue, check_health
from flowcontrol_core.models import FlowRun, Outcome, Status, Worker
from flowcontrol_core.plugins.reports import PluginStatus
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations.control import cancel_flowrun, retry_flowrun, run_now
from flowcontrol_core.runs.queue import workers

from .conftest import (
    Lab,
    counted,
    fresh,
    publish,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def works(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process say at each sweep that it works."""
    monkeypatch.setattr(workers, "_EVERY", 0)


def codes() -> list[str]:
    return [trouble.code for trouble in check_health().issues]


def the(code: str) -> HealthIssue:
    (found,) = [trouble for trouble in check_health().issues if trouble.code == code]
    return found


def waiting(lab: Lab, **fields: Any) -> FlowRun:
    """Let a run wait for a month."""
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=30)))
    run = start(think("wait"), think(), **fields)
    sweep()
    return fresh(run)


def test_a_new_installation_is_healthy(lab: Lab) -> None:
    found = check_health()
    assert found.is_healthy
    assert (found.live, found.workers, found.overdue) == ({}, [], 0)


def test_a_busy_one_is_healthy_and_says_what_is_going_on(lab: Lab, works: None) -> None:
    waiting(lab)
    create_flowrun(publish(think(), key="other"))
    found = check_health()
    assert found.is_healthy, found.issues
    assert found.live == {"waiting": 1, "pending": 1}
    (worker,) = found.workers
    assert worker["gone"] is False
    assert json.loads(json.dumps(found.as_json()))["healthy"] is True


def test_no_worker(lab: Lab, works: None) -> None:
    waiting(lab)
    lab.clock.advance(seconds=120)
    assert codes() == []
    lab.clock.advance(seconds=1)
    assert codes() == ["no_worker"]
    assert check_health().workers[0]["gone"] is True
    sweep()
    assert codes() == []


def test_no_worker_is_no_trouble_where_nothing_is_to_be_done(lab: Lab, works: None) -> None:
    run = waiting(lab)
    lab.clock.advance(days=1)
    assert codes() == ["no_worker"]
    cancel_flowrun(run)
    assert codes() == []


def test_workers_with_different_plugins(lab: Lab, works: None) -> None:
    sweep()
    now = lab.clock.now()
    other = Worker.objects.create(
        name="x", host="x", pid=1, plugins={"sms": "1"}, started_at=now, last_sweep_at=now
    )
    assert codes() == ["plugins_differ"]
    Worker.objects.filter(pk=other.pk).update(last_sweep_at=now - timedelta(minutes=5))
    assert codes() == []


def test_overdue_runs(lab: Lab, works: None) -> None:
    create_flowrun(publish(think()))
    lab.clock.advance(seconds=119)
    assert codes() == ["no_worker"]
    lab.clock.advance(seconds=31)
    found = check_health()
    assert [trouble.code for trouble in found.issues] == ["no_worker", "overdue"]
    assert (found.overdue, found.oldest_overdue) == (1, 150.0)
    assert "the oldest for 150 seconds" in the("overdue").message
    sweep()
    assert codes() == []


def test_stuck_runs(lab: Lab, works: None) -> None:
    run = create_flowrun(publish(think()))
    sweep()
    run = create_flowrun(run.flow)
    FlowRun.objects.filter(pk=run.pk).update(
        status=Status.RUNNING, due_at=lab.clock.now() + timedelta(seconds=60)
    )
    lab.clock.advance(seconds=100)
    assert codes() == [], "its lease may just have expired"
    lab.clock.advance(seconds=100)
    assert the("stuck").runs == [run.pk]
    sweep()
    assert codes() == []


def test_blocked_runs(lab: Lab, works: None) -> None:
    run = waiting(lab)
    FlowRun.objects.filter(pk=run.pk).update(
        status=Status.BLOCKED, blocked_on="absent.send", due_at=None
    )
    assert codes() == ["blocked"]
    assert "Missing actions: absent.send." in the("blocked").message
    cancel_flowrun(run)
    assert codes() == []


def starting_and_awaiting(key: str) -> Any:
    """Give a behaviour that starts a run of a flow, if it was not started so, and waits for it."""

    def work(run: Any, obj: Any) -> Any:
        if run.wakeup or run.depth:
            return None
        return run.suspend(child=create_flowrun(key, parent=run), repeat=True)

    return work


def test_runs_that_queue_for_each_other(lab: Lab, works: None, settings: Any) -> None:
    limit: dict[str, Any] = {"max_concurrent": 1, "max_concurrent_policy": "queue"}
    lab.on("start b", starting_and_awaiting("b"))
    lab.on("start a", starting_and_awaiting("a"))
    one = create_flowrun(publish(write("start b"), key="a", **limit))
    other = create_flowrun(publish(write("start a"), key="b", **limit))
    sweep()
    lab.clock.advance(hours=5)
    sweep()
    assert codes() == []
    lab.clock.advance(hours=2)
    sweep()
    queued = FlowRun.objects.filter(parent__in=[one, other])
    assert sorted(the("queued").runs) == sorted(queued.values_list("pk", flat=True))
    assert codes() == ["queued"]
    settings.FLOWCONTROL = {"QUEUED_LONG": 8 * 3600}
    assert codes() == []
    del settings.FLOWCONTROL
    cancel_flowrun(queued[0])
    for _ in range(5):
        sweep()
    assert (codes(), FlowRun.objects.live().count()) == ([], 0)


def test_runs_that_wait_for_a_trigger_of_a_plugin_that_has_gone(lab: Lab, works: None) -> None:
    lab.on("listen", lambda run, obj: run.suspend(trigger="lab.paid"))
    target = publish(think("listen"))
    runs = [create_flowrun(target) for _ in range(2)]
    sweep()
    assert codes() == []
    FlowRun.objects.filter(pk=runs[0].pk).update(wait_trigger="gone.paid")
    trouble = the("unknown_trigger")
    assert trouble.runs == [runs[0].pk]
    assert trouble.message == "1 run waits for a trigger that is not registered: gone.paid."
    FlowRun.objects.filter(pk=runs[1].pk).update(wait_trigger="gone.mail")
    assert the("unknown_trigger").message == (
        "2 runs wait for triggers that are not registered: gone.mail, gone.paid."
    )


def test_one_run_is_not_spoken_of_as_several(lab: Lab, works: None) -> None:
    target = publish(think())
    blocked = {"status": Status.BLOCKED, "blocked_on": "absent.send", "due_at": None}
    FlowRun.objects.filter(pk=create_flowrun(target).pk).update(**blocked)
    assert the("blocked").message == "1 run is blocked. Missing actions: absent.send."
    create_flowrun(target)
    lab.clock.advance(seconds=150)
    assert the("overdue").message == "1 run is overdue, the oldest for 150 seconds."
    FlowRun.objects.update(**blocked)
    assert the("blocked").message == "2 runs are blocked. Missing actions: absent.send."


def test_runs_that_failed_are_listed_with_their_reasons(
    lab: Lab, works: None, settings: Any
) -> None:
    def fail(run: Any, obj: Any) -> None:
        raise RuntimeError("no paper")

    lab.on("print", fail)
    run = create_flowrun(publish(think("print")))
    sweep()
    trouble = the("errored")
    assert trouble.runs == [run.pk]
    assert "RuntimeError: no paper" in trouble.reasons[0]
    assert check_health().is_healthy, "nobody who operates the site can mend a step"
    long_ago = lab.clock.now() - timedelta(days=2)
    FlowRun.objects.filter(pk=run.pk).update(since=long_ago)
    assert codes() == []


def end_errored(settings: Any) -> FlowRun:
    settings.FLOWCONTROL = {"MAX_ATTEMPTS": 1}
    run = create_flowrun(publish(think()))
    FlowRun.objects.filter(pk=run.pk).update(attempt=1)
    sweep()
    assert fresh(run).outcome == Outcome.ERRORED
    return run


def test_runs_that_were_set_aside(lab: Lab, works: None, settings: Any) -> None:
    run = end_errored(settings)
    assert the("end_errored").runs == [run.pk]
    retry_flowrun(run)
    assert codes() == []
    sweep()
    assert (codes(), fresh(run).outcome) == ([], Outcome.COMPLETE)


def test_runs_that_were_set_aside_long_ago_are_history(
    lab: Lab, works: None, settings: Any
) -> None:
    end_errored(settings)
    lab.clock.advance(hours=25)
    assert codes() == []


@pytest.mark.parametrize("status", [Status.PENDING, Status.WAITING, Status.BLOCKED])
def test_runs_that_nothing_will_wake(lab: Lab, works: None, status: Status) -> None:
    run = create_flowrun(publish(think()))
    sweep()
    run = create_flowrun(run.flow)
    FlowRun.objects.filter(pk=run.pk).update(status=status, due_at=None)
    assert the("no_wake_up").runs == [run.pk]
    run_now(run)
    assert "no_wake_up" not in codes()


def test_runs_that_wait_for_an_event_or_were_paused_are_no_trouble(lab: Lab, works: None) -> None:
    lab.on("listen", lambda run, obj: run.suspend(trigger="lab.paid"))
    run = start(think("listen"))
    sweep()
    assert (fresh(run).status, fresh(run).due_at) == (Status.WAITING, None)
    assert codes() == []
    FlowRun.objects.filter(pk=run.pk).update(status=Status.PAUSED)
    assert codes() == []


def test_runs_that_wait_for_one_that_has_ended(lab: Lab, works: None) -> None:
    child = waiting(lab, key="child")
    lab.on("await", lambda run, obj: run.suspend(child=child))
    parent = start(think("await"))
    sweep()
    assert codes() == []
    FlowRun.objects.filter(pk=child.pk).update(
        status=Status.DONE, outcome=Outcome.COMPLETE, finished_at=lab.clock.now(), due_at=None
    )
    assert codes() == [], "it is about to be told"
    lab.clock.advance(seconds=121)
    assert the("ended_child").runs == [parent.pk]
    FlowRun.objects.filter(pk=child.pk).update(undelivered_since=lab.clock.now())
    sweep()
    assert codes() == []


def test_a_plugin_that_is_not_loaded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [report("a", PluginStatus.ACTIVE), report("b", PluginStatus.DISABLED)]
    monkeypatch.setattr(health, "plugin_manager", SimpleNamespace(reports=reports))
    assert codes() == []
    broken = [each for each in PluginStatus if each.value not in ("active", "disabled")]
    reports.append(report("sms", broken[0]))
    trouble = the("plugin")
    assert (trouble.message, trouble.advice) == ("The plugin sms is not loaded: Why.", "Do this.")


def report(name: str, status: PluginStatus) -> SimpleNamespace:
    return SimpleNamespace(name=name, status=status, reason="Why.", remedy="Do this.")


def test_the_number_of_queries_does_not_depend_on_the_number_of_runs(lab: Lab, works: None) -> None:
    flow = publish(think())

    def add(number: int) -> int:
        for _ in range(number):
            run = create_flowrun(flow)
            FlowRun.objects.filter(pk=run.pk).update(
                status=Status.BLOCKED, blocked_on="absent.send", due_at=None
            )
        with counted() as counts:
            assert the("blocked").count == FlowRun.objects.count()
        return len(counts.queries)

    few, many = add(1), add(40)
    assert few == many <= 15
    assert len(the("blocked").runs) == 20
