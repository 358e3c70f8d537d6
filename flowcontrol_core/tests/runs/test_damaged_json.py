"""One row with JSON that is nested too deeply harms its own run only."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from flowcontrol import runs as public_runs
from flowcontrol.engine import trigger_flows
from flowcontrol.errors import IllegalChangeError
from flowcontrol.health import check_health
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.flows.flow_triggers import associate_trigger
from flowcontrol_core.models import BulkOperation, FlowRun, FlowVersion, Message, RunEvent, Status
from flowcontrol_core.models.columns import JsonField
from flowcontrol_core.runs.operations.bulk import start_bulk_operation, work_on_bulk_operations
from tests import operate

from .conftest import Lab, event, fresh, publish, start, sweep, think

pytestmark = pytest.mark.django_db


def json_columns(model: Any) -> list[str]:
    return [field.name for field in model._meta.concrete_fields if isinstance(field, JsonField)]


def damage(row: Any, column: str) -> None:
    """Write deep JSON as another program would; SQLite refuses what is deeper than 1,000 levels."""
    depth = 900 if connection.vendor == "sqlite" else 3_000
    table = connection.ops.quote_name(row._meta.db_table)
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(column)
        cursor.execute(
            f"UPDATE {table} SET {name} = %s WHERE id = %s", ["[" * depth + "]" * depth, row.pk]
        )


@pytest.fixture
def good(lab: Lab) -> list[FlowRun]:
    return [start(think(), key=f"good-{number}") for number in range(3)]


@pytest.mark.parametrize("column", json_columns(FlowRun))
def test_run_is_errored_with_the_reason_and_all_else_works(
    lab: Lab, good: list[FlowRun], column: str
) -> None:
    run = start(think(), key="bad")
    damage(run, column)
    assert sweep() == 4
    row = fresh(run)
    assert (row.outcome, row.reason_code) == ("errored", "damaged")
    assert f"nested too deeply to be read: {column}." in row.reason
    assert {fresh(one).outcome for one in good} == {"complete"}
    assert [issue.runs for issue in check_health().issues if issue.code == "errored"] == [[run.pk]]
    assert public_runs.get(run.pk).reason_code == "damaged"
    assert len(public_runs.find()) == 4
    if column == "cursor":
        with pytest.raises(IllegalChangeError, match="cursor"):
            operate.retry(run)
    elif column != "reason_values":
        operate.retry(run)
        sweep()
        assert fresh(run).reason_code == "damaged"


@pytest.mark.parametrize("column", json_columns(FlowRun))
def test_run_can_be_canceled_and_keeps_what_is_damaged(lab: Lab, column: str) -> None:
    run = start(think())
    damage(run, column)
    operate.cancel(run)
    assert fresh(run).outcome == "canceled"
    if column != "reason_values":
        with connection.cursor() as cursor:
            name, table = map(connection.ops.quote_name, (column, FlowRun._meta.db_table))
            cursor.execute(f"SELECT {name} FROM {table} WHERE id = %s", [run.pk])
            assert len(str(cursor.fetchone()[0])) > 1_000


def test_state_that_is_damaged_is_repaired_by_editing_it(lab: Lab) -> None:
    run = start(think())
    damage(run, "state")
    sweep()
    with pytest.raises(IllegalChangeError, match="cannot be read"):
        operate.restart(run, "s1")
    operate.edit_state(run, {"n": 1})
    operate.retry(run)
    sweep()
    assert (fresh(run).outcome, fresh(run).state) == ("complete", {"n": 2})


@pytest.mark.parametrize("column", json_columns(RunEvent))
def test_history_that_is_damaged_harms_nothing(lab: Lab, column: str) -> None:
    run = start(think())
    sweep()
    damage(RunEvent.objects.get(run=run), column)
    assert RunEvent.objects.get(run=run).message in ("", " {}")
    operate.restart(run, "s1")
    assert sweep() == 1


def test_message_and_event_that_are_damaged_harm_nothing(lab: Lab, good: list[FlowRun]) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    run = start(think("wait"), key="bad")
    sweep()
    damage(event(), "payload")
    operate.go_to_step(run, "s1")
    damage(Message.objects.get(run=run), "data")
    for _ in range(2):
        sweep()
    assert fresh(run).outcome == "complete"


def test_version_that_is_damaged_blocks_its_runs_and_spares_the_others(
    lab: Lab, good: list[FlowRun]
) -> None:
    run = start(think(), key="bad")
    damage(FlowVersion.objects.get(flow__key="bad"), "document")
    sweep()
    run = fresh(run)
    assert (run.status, run.reason_code) == (Status.BLOCKED, "unusable_version")
    assert {fresh(one).outcome for one in good} == {"complete"}
    assert "good-1" in export_flows([good[1].flow])


def test_bulk_operation_whose_filters_are_damaged_chooses_no_run(
    lab: Lab, good: list[FlowRun]
) -> None:
    operation = start_bulk_operation("cancel", {"flow__key": "nothing"})
    damage(operation, "filters")
    work_on_bulk_operations()
    operation = BulkOperation.objects.get(pk=operation.pk)
    assert operation.finished_at is not None
    assert operation.refusals[0]["code"] == "stopped"
    assert {fresh(one).status for one in good} == {Status.PENDING}


def test_trigger_with_a_damaged_configuration_harms_no_other(lab: Lab) -> None:
    damage(associate_trigger(publish(think(), key="bad"), "lab.paid"), "config")
    associate_trigger(publish(think(), key="good"), "lab.paid")
    assert "good" in [run.flow.key for run in trigger_flows("lab.paid")]
