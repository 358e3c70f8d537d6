"""Each issue is made to appear, and to disappear again."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from flowcontrol_core import health
from flowcontrol_core.health import (
    HealthIssue,
    check_health,
    is_overdue,
    is_without_worker,
    overdue_runs,
)
from flowcontrol_core.models import FlowRun, Outcome, Status, Worker
from flowcontrol_core.plugins.discovery import PluginSource
from flowcontrol_core.plugins.reports import PluginReport, PluginStatus, make_report
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import workers
from tests import operate
from tests.translation import words

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
    """Have this process send a heartbeat at each sweep."""
    monkeypatch.setattr(workers, "_EVERY", 0)


def codes() -> list[str]:
    return [issue.code for issue in check_health().issues]


def the(code: str) -> HealthIssue:
    (found,) = [issue for issue in check_health().issues if issue.code == code]
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


def test_a_busy_one_is_healthy_and_counts_what_it_does(lab: Lab, works: None) -> None:
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


def test_no_worker_is_needed_where_nothing_is_to_be_done(lab: Lab, works: None) -> None:
    run = waiting(lab)
    lab.clock.advance(days=1)
    assert codes() == ["no_worker"]
    operate.cancel(run)
    assert codes() == []


def make_overdue(lab: Lab) -> FlowRun:
    """Let a run be due for longer than the setting OVERDUE."""
    run = create_flowrun(publish(think(), key="overdue"))
    FlowRun.objects.filter(pk=run.pk).update(due_at=lab.clock.now() - timedelta(hours=1))
    return run


def doctor() -> str:
    """Return what the command says."""
    out = StringIO()
    with suppress(CommandError):
        call_command("flowcontrol", "doctor", stdout=out)
    return out.getvalue()


#: What there is, and whether runs are overdue while no worker appears to be running.
SITUATIONS: dict[str, tuple[set[str], bool]] = {
    "nothing": (set(), False),
    "a run that waits": ({"waiting"}, False),
    "an overdue run": ({"overdue"}, True),
    "an overdue run and a worker": ({"overdue", "worker"}, False),
    "an overdue run and a worker that is gone": ({"overdue", "gone worker"}, True),
    "an overdue run and one that is executed": ({"overdue", "lease"}, False),
    "an overdue run and one whose lease has expired": ({"overdue", "expired lease"}, True),
    "an overdue run, a worker in a long step": ({"overdue", "gone worker", "lease"}, False),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_list_and_the_page_and_the_command_agree_on_whether_a_worker_runs(
    lab: Lab, situation: str
) -> None:
    present, is_alone = SITUATIONS[situation]
    now = lab.clock.now()
    if "waiting" in present:
        waiting(lab)
        Worker.objects.all().delete()
    if "overdue" in present:
        make_overdue(lab)
    for name, at in (("worker", now), ("gone worker", now - timedelta(seconds=121))):
        if name in present:
            Worker.objects.create(name=name, host="h", pid=1, started_at=at, last_sweep_at=at)
    for name, due_at in (("lease", now + timedelta(seconds=1)), ("expired lease", now)):
        if name in present:
            run = create_flowrun(publish(think(), key="executed"))
            FlowRun.objects.filter(pk=run.pk).update(status=Status.RUNNING, due_at=due_at)
    assert is_without_worker() == is_alone
    if "overdue" in present:
        assert ("no_worker" in codes(), "overdue" in codes()) == (is_alone, True)
        assert ("[no_worker]" in doctor(), "[overdue]" in doctor()) == (is_alone, True)
    assert ("no_worker" in codes()) == ("[no_worker]" in doctor())


def test_what_is_overdue_is_measured_by_the_setting_everywhere(
    lab: Lab, works: None, settings: Any
) -> None:
    def found() -> tuple[bool, list[FlowRun], bool, bool]:
        return (
            is_overdue(fresh(run)),
            list(overdue_runs()),
            is_without_worker(),
            "overdue" in codes(),
        )

    run = create_flowrun(publish(think()))
    lab.clock.advance(seconds=100)
    assert found() == (False, [], False, False)
    settings.FLOWCONTROL = {"OVERDUE": 60}
    assert found() == (True, [run], True, True)
    sweep()
    assert found() == (False, [], False, False)


def test_a_database_that_refuses_is_the_issue_that_is_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise OperationalError("server\nclosed the connection")

    monkeypatch.setattr(health, "overdue_runs", fail)
    found = check_health()
    assert not found.is_healthy
    assert [issue.code for issue in found.issues] == ["database"]
    assert "server closed the connection" in found.issues[0].message


def test_issues_are_read_in_the_language_of_the_reader(lab: Lab, works: None) -> None:
    lab.on("print", lambda run, obj: 1 / 0)
    start(think("print"))
    sweep()
    german = {
        "%(count)d run ended with an error within a day.": "%(count)d Lauf scheiterte.",
        "Step %(step)s (%(action)s) failed: %(error)s": "Schritt %(step)s: %(error)s",
    }
    with words(german):
        issue = the("errored")
    assert issue.message == "1 Lauf scheiterte."
    assert issue.reasons == ["Schritt s1: ZeroDivisionError: division by zero"]


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
    assert [issue.code for issue in found.issues] == ["no_worker", "overdue"]
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
    assert "Missing: absent.send." in the("blocked").message
    operate.cancel(run)
    assert codes() == []


def starting_and_awaiting(key: str) -> Any:
    """Return a behaviour that starts a run of a flow, if it has not yet, and waits for it."""

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
    operate.cancel(queued[0])
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
    issue = the("unknown_trigger")
    assert issue.runs == [runs[0].pk]
    assert issue.message == "1 run waits for a trigger that is not registered: gone.paid."
    FlowRun.objects.filter(pk=runs[1].pk).update(wait_trigger="gone.mail")
    assert the("unknown_trigger").message == (
        "2 runs wait for triggers that are not registered: gone.mail, gone.paid."
    )


def test_one_run_is_written_in_the_singular(lab: Lab, works: None) -> None:
    target = publish(think())
    blocked = {"status": Status.BLOCKED, "blocked_on": "absent.send", "due_at": None}
    FlowRun.objects.filter(pk=create_flowrun(target).pk).update(**blocked)
    assert the("blocked").message == "1 run is blocked. Missing: absent.send."
    create_flowrun(target)
    lab.clock.advance(seconds=150)
    assert the("overdue").message == "1 run is overdue, the oldest for 150 seconds."
    FlowRun.objects.update(**blocked)
    assert the("blocked").message == "2 runs are blocked. Missing: absent.send."


def test_runs_that_failed_are_listed_with_their_reasons(
    lab: Lab, works: None, settings: Any
) -> None:
    def fail(run: Any, obj: Any) -> None:
        raise RuntimeError("no paper")

    lab.on("print", fail)
    run = create_flowrun(publish(think("print")))
    sweep()
    issue = the("errored")
    assert issue.runs == [run.pk]
    assert "RuntimeError: no paper" in issue.reasons[0]
    assert check_health().is_healthy, "those who operate the site cannot mend a step"
    long_ago = lab.clock.now() - timedelta(days=2)
    FlowRun.objects.filter(pk=run.pk).update(since=long_ago)
    assert codes() == []


def kill_its_worker_too_often(settings: Any) -> FlowRun:
    settings.FLOWCONTROL = {"MAX_ATTEMPTS": 1}
    run = create_flowrun(publish(think()))
    FlowRun.objects.filter(pk=run.pk).update(attempt=1)
    sweep()
    assert fresh(run).outcome == Outcome.ERRORED
    return run


def test_the_newest_of_many_errors_are_named(lab: Lab, works: None) -> None:
    def fail(run: Any, obj: Any) -> None:
        raise RuntimeError("no paper")

    lab.on("fail", fail)
    flow = publish(think("fail"))
    runs = []
    for _ in range(27):
        runs.append(create_flowrun(flow))
        sweep()
        lab.clock.advance(minutes=1)
    issue = the("errored")
    assert (issue.count, list(issue.runs)) == (27, [run.pk for run in runs[:6:-1]])


def test_runs_that_exhausted_their_attempts(lab: Lab, works: None, settings: Any) -> None:
    run = kill_its_worker_too_often(settings)
    assert the("dead_lettered").runs == [run.pk]
    operate.retry(run)
    assert codes() == []
    sweep()
    assert (codes(), fresh(run).outcome) == ([], Outcome.COMPLETE)


def test_runs_that_exhausted_their_attempts_long_ago_are_history(
    lab: Lab, works: None, settings: Any
) -> None:
    kill_its_worker_too_often(settings)
    lab.clock.advance(hours=25)
    assert codes() == []


@pytest.mark.parametrize("status", [Status.PENDING, Status.WAITING, Status.BLOCKED])
def test_runs_that_nothing_will_wake(lab: Lab, works: None, status: Status) -> None:
    run = create_flowrun(publish(think()))
    sweep()
    run = create_flowrun(run.flow)
    FlowRun.objects.filter(pk=run.pk).update(status=status, due_at=None)
    assert the("no_wake_up").runs == [run.pk]
    operate.run_now(run)
    assert "no_wake_up" not in codes()


def test_runs_that_wait_for_an_event_or_were_paused_are_no_issue(lab: Lab, works: None) -> None:
    lab.on("listen", lambda run, obj: run.suspend(trigger="lab.paid"))
    run = start(think("listen"))
    sweep()
    assert (fresh(run).status, fresh(run).due_at) == (Status.WAITING, None)
    assert codes() == []
    FlowRun.objects.filter(pk=run.pk).update(status=Status.PAUSED, reason_code="paused")
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
    assert codes() == [], "it is about to be delivered"
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
    issue = the("plugin")
    assert (issue.message, issue.remedy) == ("The plugin sms is not loaded: Why.", "Do this.")


def report(name: str, status: PluginStatus) -> PluginReport:
    source = PluginSource(name, f"{name}.plugin")
    return make_report(source, status, reason="Why.", remedy="Do this.")


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
    # Two of them for the migrations of plugins.
    assert few == many <= 18
    assert len(the("blocked").runs) == 20


def test_a_worker_whose_heartbeat_gets_no_connection_is_named(lab: Lab, works: None) -> None:
    sweep()
    assert check_health().is_healthy
    Worker.objects.update(claims=False)
    issue = the("no_heartbeat")
    assert issue.message.startswith("1 worker executes no runs")
    assert "one for its heartbeat" in issue.remedy
    assert [worker["claims"] for worker in check_health().workers] == [False]


def test_a_worker_says_that_its_heartbeat_gets_no_connection(
    lab: Lab, works: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_refused in (False, True, False):
        monkeypatch.setattr(workers, "is_refused", lambda: is_refused)  # noqa: B023
        sweep()
        assert Worker.objects.get().claims is not is_refused


def test_a_worker_inside_of_one_long_step_is_alive(works: None, lab: Lab) -> None:
    run = start(think())
    sweep()
    Worker.objects.update(last_sweep_at=lab.clock.now() - timedelta(seconds=150))
    worker = Worker.objects.get()
    due_at = lab.clock.now() + timedelta(seconds=30)
    name = f"{worker.name}:4711"
    rows = FlowRun.objects.filter(pk=run.pk)
    rows.update(status=Status.RUNNING, outcome="", due_at=due_at, worker=name)
    found = check_health()
    assert (found.is_healthy, [each["gone"] for each in found.workers]) == (True, [False])
    assert [each["gone"] for each in found.as_json()["workers"]] == [False]
    rows.update(worker="elsewhere:1:2")
    assert [each["gone"] for each in check_health().workers] == [True]
    rows.update(worker=name, due_at=lab.clock.now())
    assert codes() == ["no_worker"]
