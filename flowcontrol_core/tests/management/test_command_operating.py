from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError

from flowcontrol_core import health
from flowcontrol_core.flows.edits import edit_draft
from flowcontrol_core.flows.publication import publish
from flowcontrol_core.models import BulkOperation, Flow, FlowRun, Outcome, RunEvent, Status, Worker
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow, run_due

Call = Callable[..., str]
pytestmark = pytest.mark.django_db


def failed_run() -> FlowRun:
    publish_flow(flow(step("test.mark", id="first"), step("test.fail", id="second")))
    create_flowrun("flow")
    run_due()
    return FlowRun.objects.get()


def test_doctor_says_that_all_is_well(call: Call) -> None:
    assert call("doctor").splitlines()[0] == "All is well."


def test_doctor_names_the_trouble_and_what_to_do_and_fails() -> None:
    run = create_flowrun(publish_flow(flow(step("test.mark"))))
    out = StringIO()
    with pytest.raises(CommandError, match="1 issue"):
        call_command("flowcontrol", "doctor", stdout=out)
    assert "[no_worker] No worker has been seen lately" in out.getvalue()
    assert "Live runs: 1 pending. Overdue: 0." in out.getvalue()
    FlowRun.objects.filter(pk=run.pk).update(due_at="2020-01-01T00:00Z")
    with pytest.raises(CommandError, match="2 issues"):
        call_command("flowcontrol", "doctor", stdout=out)
    assert f"    Run {run.pk}" in out.getvalue()


def test_doctor_lists_the_workers(call: Call) -> None:
    publish_flow(flow(step("test.mark")))
    create_flowrun("flow")
    run_due()
    lines = call("doctor").splitlines()
    assert lines[1] == "Live runs: none. Overdue: 0."
    if Worker.objects.exists():
        assert lines[2].startswith(f"Worker {Worker.objects.get().name} (all queues): works")


def test_doctor_writes_json_for_programs(call: Call) -> None:
    answer = json.loads(call("doctor", "--json"))
    assert answer["healthy"] is True
    assert answer["issues"] == []


@pytest.mark.parametrize("error", [OperationalError("refused"), InterfaceError("refused")])
def test_doctor_says_that_the_database_is_away_for_programs_too(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(health, "check_health", fail)
    out = StringIO()
    with pytest.raises(CommandError, match="1 issue") as raised:
        call_command("flowcontrol", "doctor", "--json", stdout=out)
    assert raised.value.returncode == 1
    answer = json.loads(out.getvalue())
    assert answer["healthy"] is False
    (trouble,) = answer["issues"]
    assert trouble["code"] == "database"
    assert "refused" in trouble["message"]
    assert "migrate" in trouble["advice"]


def test_prune_says_what_it_has_deleted(call: Call) -> None:
    publish_flow(flow(step("test.mark")), retention_runs=1)
    assert call("prune") == "There is nothing to delete.\n"
    for _ in range(3):
        create_flowrun("flow")
    run_due()
    assert call("prune", "--batches", "5") == "Deleted: runs 2.\n"
    assert FlowRun.objects.count() == 1


@pytest.mark.parametrize(
    ("verbs", "status"),
    [(["pause"], Status.PAUSED), (["pause", "resume"], Status.DONE), (["run-now"], Status.DONE)],
)
def test_a_verb_is_done_and_noted(call: Call, verbs: list[str], status: Status) -> None:
    run = create_flowrun(publish_flow(flow(step("test.mark"))))
    for verb in verbs:
        call(verb, str(run.pk), "--reason", "because", "--by", "Ada")
    run_due()
    assert FlowRun.objects.get().status == status
    noted = RunEvent.objects.filter(actor="Ada", message="because")
    assert noted.count() == len(verbs)


def test_restart_creates_a_new_run_at_the_step(call: Call) -> None:
    old = failed_run()
    FlowRun.objects.filter(pk=old.pk).update(state={"sound": True})
    said = call("restart", str(old.pk), "second")
    new = FlowRun.objects.get(origin=old)
    assert said == f"Run {new.pk} begins at the step 'second'.\n"
    run_due()
    new.refresh_from_db()
    assert (new.outcome, new.state) == (Outcome.COMPLETE, {"sound": True})


def test_restart_on_the_current_version_takes_its_steps(call: Call) -> None:
    old = failed_run()
    changed = Flow.objects.get()
    third = flow(step("test.mark", id="third"))
    edit_draft(changed, lambda _: third, revision=None, author=None)
    publish(changed)
    with pytest.raises(CommandError, match="third"):
        call("restart", str(old.pk), "third")
    call("restart", str(old.pk), "third", "--current-version")
    assert FlowRun.objects.get(origin=old).version_id == Flow.objects.get().published_id


def test_move_says_why_it_is_not_possible(call: Call) -> None:
    run = create_flowrun(publish_flow(flow(step("test.mark"))))
    with pytest.raises(CommandError, match="it is on the published version already"):
        call("move", str(run.pk))


def test_a_job_is_created_and_done_by_the_sweeps(call: Call) -> None:
    failed_run()
    create_flowrun("flow")
    said = call("job", "cancel", "--flow", "flow", "--status", "pending", "--reason", "too many")
    job = BulkOperation.objects.get()
    assert said == f"Bulk operation {job.pk} was created; the workers do it bit by bit.\n"
    run_due()
    job.refresh_from_db()
    assert (job.done, job.refused) == (1, 0)
    assert FlowRun.objects.filter(outcome=Outcome.CANCELED, reason="too many").count() == 1


def test_a_job_without_a_filter_is_refused(call: Call) -> None:
    with pytest.raises(CommandError, match="A job needs filters"):
        call("job", "cancel")


def test_a_job_for_a_flow_that_does_not_exist_is_refused(call: Call) -> None:
    publish_flow(flow(step("test.mark")), key="orders")
    with pytest.raises(CommandError, match=r"'order'\. Did you mean “orders”"):
        call("job", "cancel", "--flow", "order")
    assert not BulkOperation.objects.exists()


def test_a_job_restarts_runs_at_a_step(call: Call) -> None:
    old = failed_run()
    call("job", "restart", "--outcome", "errored", "--step", "second", "--by", "Ada")
    run_due()
    new = FlowRun.objects.get(origin=old)
    assert RunEvent.objects.filter(run=new, actor="Ada").exists()
    with pytest.raises(CommandError, match="needs 'step'"):
        call("job", "restart", "--outcome", "errored")
    with pytest.raises(CommandError, match="takes no 'step'"):
        call("job", "cancel", "--outcome", "errored", "--step", "second")


def test_a_job_sets_keys_of_states(call: Call) -> None:
    run = failed_run()
    changes = '{"price": {"$decimal": "1.50"}}'
    call("job", "edit-state", "--flow", "flow", "--changes", changes, "--by", "Ada")
    run_due()
    run.refresh_from_db()
    assert run.state["price"] == {"$decimal": "1.50"}
    for wrong in ("{", "[]", '{"a": {"$date": "soon"}}'):
        with pytest.raises(CommandError, match="no JSON object"):
            call("job", "edit-state", "--flow", "flow", "--changes", wrong)
