"""Tables that are emptied and filled anew: the same primary keys stand for other rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection

from flowcontrol_core.models import Flow, FlowRun, Worker
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.queue.workers import send_heartbeat
from tests import operate

from .conftest import PAID, Lab, counted, fresh, publish, sweep, think
from .listeners import listener

pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)


def flush() -> None:
    """Empty all tables as ``manage.py flush`` does in this process."""
    call_command("flush", verbosity=0, interactive=False, reset_sequences=True)


def flush_elsewhere() -> None:
    """Empty all tables as another process would: nothing here is told."""
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=True)
    )


def swept(target: Flow) -> FlowRun:
    run = create_flowrun(target)
    sweep()
    return fresh(run)


def started_by_key(target: Flow) -> FlowRun:
    return start_flowrun(target.key)


def started(target: Flow) -> FlowRun:
    return start_flowrun(Flow.objects.get(pk=target.pk))


@pytest.mark.parametrize("empty", [flush, flush_elsewhere])
@pytest.mark.parametrize("execute", [swept, started_by_key, started])
def test_a_run_is_executed_by_its_own_version(
    lab: Lab, empty: Callable[[], None], execute: Callable[[Flow], FlowRun]
) -> None:
    before = execute(publish(think("old")))
    empty()
    after = execute(publish(think("new")))
    assert (after.pk, after.version_id) == (before.pk, before.version_id)
    assert lab.calls == ["old", "new"]


@pytest.mark.parametrize("empty", [flush, flush_elsewhere])
def test_an_operator_sends_a_run_to_a_step_of_its_own_version(
    lab: Lab, empty: Callable[[], None]
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    swept(publish(think("wait", id="first"), think("old", id="second")))
    empty()
    run = swept(publish(think("wait", id="first"), think("new", id="third")))
    operate.go_to_step(run, step="third")
    sweep()
    assert lab.calls == ["wait", "wait", "new"]


def test_a_trigger_starts_no_flow_that_is_gone(lab: Lab) -> None:
    listener()
    assert PAID.is_listened_to()
    flush()
    assert not PAID.is_listened_to()
    PAID.fire()
    assert not FlowRun.objects.exists()


def test_a_worker_whose_row_is_gone_writes_it_again(lab: Lab) -> None:
    send_heartbeat()
    flush()
    send_heartbeat()
    assert Worker.objects.count() == 1


@pytest.mark.parametrize("number", range(2))
def test_the_tests_of_a_project_see_their_own_flows_only(lab: Lab, number: int) -> None:
    """Each of these two publishes another flow, under the same primary key."""
    listener(flow=publish(think(f"flow {number}")))
    start_flowrun("flow")
    PAID.fire()
    sweep()
    assert lab.calls == [f"flow {number}"] * 2
    assert FlowRun.objects.count() == 2


def test_a_known_version_costs_no_further_query(lab: Lab) -> None:
    target = publish(think())
    swept(target)
    create_flowrun(target)
    with counted() as first:
        sweep()
    versions = [sql for sql in first.queries if "flowcontrol_core_flowversion" in sql]
    assert len(versions) == 1, versions
    assert "document" not in versions[0]
