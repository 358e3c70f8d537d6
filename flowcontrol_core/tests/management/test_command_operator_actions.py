from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError

from flowcontrol_core import health
from flowcontrol_core.flows.edits import edit_draft
from flowcontrol_core.flows.publication import publish
from flowcontrol_core.management.commands.flowcontrol import Command
from flowcontrol_core.models import BulkOperation, Flow, FlowRun, Outcome, RunEvent, Status, Worker
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow, run_due

Call = Callable[..., str]
pytestmark = pytest.mark.django_db


def failed_run() -> FlowRun:
    publish_flow(flow(step("test.mark", id="first"), step("test.fail", id="second")))
    create_flowrun("flow")
    run_due()
    return FlowRun.objects.get()


def test_doctor_says_that_the_site_is_healthy(call: Call) -> None:
    assert call("doctor").splitlines()[0] == "Healthy."


def test_doctor_names_the_issue_and_the_remedy_and_fails() -> None:
    run = create_flowrun(publish_flow(flow(step("test.mark"))))
    out = StringIO()
    with pytest.raises(CommandError, match="1 issue"):
        call_command("flowcontrol", "doctor", stdout=out)
    assert "[no_worker] No worker appears to be running" in out.getvalue()
    assert "    Start `manage.py flowcontrol worker`" in out.getvalue()
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
        assert lines[2].startswith(f"Worker {Worker.objects.get().name} (all queues): alive")


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

    monkeypatch.setattr(health, "_check", fail)
    out = StringIO()
    with pytest.raises(CommandError, match="1 issue") as raised:
        call_command("flowcontrol", "doctor", "--json", stdout=out)
    assert raised.value.returncode == 1
    answer = json.loads(out.getvalue())
    assert answer["healthy"] is False
    (issue,) = answer["issues"]
    assert issue["code"] == "database"
    assert "refused" in issue["message"]
    assert "migrate" in issue["remedy"]


def test_prune_says_what_it_has_deleted(call: Call) -> None:
    publish_flow(flow(step("test.mark")), retention_runs=1)
    assert call("prune") == "There is nothing to delete.\n"
    for _ in range(3):
        create_flowrun("flow")
    run_due()
    assert call("prune", "--batches", "5") == "Deleted: runs 2.\n"
    assert FlowRun.objects.count() == 1


def test_each_operator_action_is_a_command_with_its_arguments(call: Call) -> None:
    for action in OPERATOR_ACTIONS.values():
        parser = Command().create_parser("manage.py", "flowcontrol")
        options = [f"--{each.name.replace('_', '-')}" for each in action.arguments if each.for_one]
        values = {"step": ["id"], "flag": [], "values": ["{}"], "time": ["2030-01-31T09:00"]}
        given = [
            part
            for each in action.arguments
            if each.for_one
            for part in (f"--{each.name.replace('_', '-')}", *values[each.kind])
        ]
        found = parser.parse_args([action.slug, "7", *given])
        assert (found.action, found.run) == (action, "7")
        assert [vars(found)[name[2:].replace("-", "_")] for name in options].count(None) == 0
        for name in options:
            assert name in parser_of(action.slug).format_help()


def parser_of(slug: str) -> ArgumentParser:
    """Return the parser of a subcommand."""
    parser = Command().create_parser("manage.py", "flowcontrol")
    (commands,) = [each for each in parser._actions if each.dest == "subcommand"]
    assert isinstance(commands.choices, dict)
    found = commands.choices[slug]
    assert isinstance(found, ArgumentParser)
    return found


def test_a_command_takes_no_argument_of_bulk_operations_and_the_other_way_round(
    call: Call,
) -> None:
    run = failed_run()
    with pytest.raises(CommandError, match="unrecognized arguments: --changes"):
        call("edit-state", str(run.pk), "--state", "{}", "--changes", "{}")
    with pytest.raises(CommandError, match="unrecognized arguments: --state"):
        call("bulk", "edit-state", "--outcome", "errored", "--state", "{}")


@pytest.mark.parametrize(
    ("slugs", "status"),
    [(["pause"], Status.PAUSED), (["pause", "resume"], Status.DONE), (["run-now"], Status.DONE)],
)
def test_an_operator_action_is_done_and_recorded(
    call: Call, slugs: list[str], status: Status
) -> None:
    run = create_flowrun(publish_flow(flow(step("test.mark"))))
    for slug in slugs:
        call(slug, str(run.pk), "--reason", "because", "--by", "Ada")
    run_due()
    assert FlowRun.objects.get().status == status
    recorded = RunEvent.objects.filter(actor="Ada")
    assert [event.values["note"] for event in recorded] == ["because"] * len(slugs)


def test_a_failed_run_is_retried_skipped_or_sent_to_a_step(call: Call) -> None:
    run = failed_run()
    FlowRun.objects.update(state={"sound": True})
    assert call("retry", str(run.pk)) == f"Run {run.pk} is waiting.\n"
    run_due()
    assert FlowRun.objects.get().outcome == Outcome.COMPLETE
    for slug, arguments in {"skip": [], "go-to-step": ["--step", "first"]}.items():
        FlowRun.objects.all().delete()
        Flow.objects.all().delete()
        run = failed_run()
        call(slug, str(run.uuid), *arguments)
        FlowRun.objects.update(state={"sound": True})
        run_due()
        assert FlowRun.objects.get().outcome == Outcome.COMPLETE


def test_the_state_of_a_run_is_replaced(call: Call) -> None:
    run = failed_run()
    call("edit-state", str(run.pk), "--state", '{"price": {"$decimal": "1.50"}}', "--by", "Ada")
    run.refresh_from_db()
    assert run.state == {"price": {"$decimal": "1.50"}}
    with pytest.raises(CommandError, match="is not a JSON object"):
        call("edit-state", str(run.pk), "--state", "[]")


def test_a_state_that_is_no_object_is_one_line_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["edit-state", "2", "--state", "[1]"]
    with pytest.raises(SystemExit):
        Command().run_from_argv(["manage.py", "flowcontrol", *arguments])
    assert "'[1]' is not a JSON object such as {\"key\": 1}." in capsys.readouterr().err


def test_a_waiting_run_is_not_said_to_be_executed(call: Call) -> None:
    run = create_flowrun(
        publish_flow(flow(step("builtin.delay", id="wait", amount=1, unit="days")))
    )
    run_due()
    assert "is waiting" in call("go-to-step", str(run.pk), "--step", "wait")


def test_a_run_that_does_not_exist_or_is_not_named_is_a_clear_error(call: Call) -> None:
    with pytest.raises(CommandError, match=r"There is no run 77\."):
        call("cancel", "77")
    with pytest.raises(CommandError, match="'first' is not a run: give its number, which"):
        call("cancel", "first")


def test_restart_creates_a_new_run_at_the_step(call: Call) -> None:
    old = failed_run()
    FlowRun.objects.filter(pk=old.pk).update(state={"sound": True})
    said = call("restart", str(old.pk), "--step", "second")
    new = FlowRun.objects.get(origin=old)
    assert said == f"Run {new.pk} is pending.\n"
    run_due()
    new.refresh_from_db()
    assert (new.outcome, new.state) == (Outcome.COMPLETE, {"sound": True})
    with pytest.raises(CommandError, match="the following arguments are required: --step"):
        call("restart", str(old.pk))


def test_restart_on_the_current_version_takes_its_steps(call: Call) -> None:
    old = failed_run()
    changed = Flow.objects.get()
    third = flow(step("test.mark", id="third"))
    edit_draft(changed, lambda _: third, revision=None, author=None)
    publish(changed)
    with pytest.raises(CommandError, match="third"):
        call("restart", str(old.pk), "--step", "third")
    call("restart", str(old.pk), "--step", "third", "--current-version")
    assert FlowRun.objects.get(origin=old).version_id == Flow.objects.get().published_id


def test_move_says_why_it_is_not_possible(call: Call) -> None:
    run = create_flowrun(publish_flow(flow(step("test.mark"))))
    with pytest.raises(CommandError, match="it is on the published version already"):
        call("move", str(run.pk))


def test_a_bulk_operation_is_created_and_done_by_the_sweeps(call: Call) -> None:
    failed_run()
    create_flowrun("flow")
    said = call("bulk", "cancel", "--flow", "flow", "--status", "pending", "--reason", "too many")
    operation = BulkOperation.objects.get()
    assert said == f"Bulk operation {operation.pk} was created; the workers do it in chunks.\n"
    run_due()
    operation.refresh_from_db()
    assert (operation.done, operation.refused) == (1, 0)
    run = FlowRun.objects.get(outcome=Outcome.CANCELED)
    assert (run.reason_code, run.reason) == ("canceled", "Canceled. too many")


def test_each_operator_action_is_a_bulk_operation(call: Call) -> None:
    failed_run()
    arguments = {"restart": ["--step", "first"], "go-to-step": ["--step", "first"]}
    arguments["edit-state"] = ["--changes", '{"a": 1}']
    for action in OPERATOR_ACTIONS.values():
        call("bulk", action.slug, "--outcome", "errored", *arguments.get(action.slug, []))
    created = BulkOperation.objects.order_by("pk").values_list("operator_action", flat=True)
    assert list(created) == list(OPERATOR_ACTIONS)


def test_a_bulk_operation_without_a_filter_is_refused(call: Call) -> None:
    with pytest.raises(CommandError, match="A bulk operation needs filters"):
        call("bulk", "cancel")


def test_a_bulk_operation_for_a_flow_that_does_not_exist_is_refused(call: Call) -> None:
    publish_flow(flow(step("test.mark")), key="orders")
    with pytest.raises(CommandError, match=r"'order'\. Did you mean “orders”"):
        call("bulk", "cancel", "--flow", "order")
    assert not BulkOperation.objects.exists()


def test_a_bulk_operation_restarts_runs_at_a_step(call: Call) -> None:
    old = failed_run()
    call("bulk", "restart", "--outcome", "errored", "--step", "second", "--by", "Ada")
    run_due()
    new = FlowRun.objects.get(origin=old)
    assert RunEvent.objects.filter(run=new, actor="Ada").exists()
    with pytest.raises(CommandError, match="“step” has to be the id of a step"):
        call("bulk", "restart", "--outcome", "errored")
    with pytest.raises(CommandError, match="“cancel” takes no argument “step”"):
        call("bulk", "cancel", "--outcome", "errored", "--step", "second")


def test_a_bulk_operation_sets_keys_of_states(call: Call) -> None:
    run = failed_run()
    changes = '{"price": {"$decimal": "1.50"}}'
    call("bulk", "edit-state", "--flow", "flow", "--changes", changes, "--by", "Ada")
    run_due()
    run.refresh_from_db()
    assert run.state["price"] == {"$decimal": "1.50"}
    for wrong in ("{", "[]", '{"a": {"$date": "soon"}}'):
        with pytest.raises(CommandError, match="is not a JSON object"):
            call("bulk", "edit-state", "--flow", "flow", "--changes", wrong)
