"""Speed, as counts: queries, commits, and the plans of what is polled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from flowcontrol_core.models import FlowRun, Message, MessageKind, Status, TriggerEvent
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.queue import claim, workers
from tests.many_runs import analyze
from tests.plans import plan, whole_tables

from .conftest import (
    Counts,
    Lab,
    counted,
    customers,
    loop,
    publish,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_heartbeat_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count no heartbeat of this process, however slow the machine is."""
    monkeypatch.setattr(workers, "_EVERY", 3600.0)


def starting(*steps: Any, key: str = "flow") -> Counts:
    """Count what a run costs from its start to its end, when its version is compiled."""
    publish(*steps, key=key)
    start_flowrun(key)
    with counted() as counts:
        run = start_flowrun(key)
    assert run.outcome == "complete"
    return counts


def test_run_of_five_state_steps_costs_three_queries_and_one_commit(lab: Lab) -> None:
    counts = starting(*[think() for _ in range(5)])
    assert len(counts.queries) <= 3, counts.queries
    assert counts.commits == 1


def test_loop_of_a_thousand_passes_costs_no_more(lab: Lab) -> None:
    few = starting(*[think() for _ in range(5)], key="few")
    many = starting(loop(1000, think("a"), think("b"), think("c")), key="many")
    assert (len(many.queries), many.commits) == (len(few.queries), few.commits)


def test_consecutive_database_steps_cost_one_commit(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {"COALESCE": 3600.0}
    counts = starting(*[write() for _ in range(5)])
    assert counts.commits == 1
    # The flow, the row of the run, the five writes, the checkpoint and its history.
    assert len(counts.queries) <= 9, counts.queries


COPIED = [field for field in FlowRun._meta.concrete_fields if field.name not in ("id", "uuid")]


def wait_for_all(lab: Lab, number: int, *after: Any) -> None:
    """Let runs wait, and their time come."""
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    start(think("wait"), *after)
    sweep()
    template = FlowRun.objects.get()
    values = {field.attname: getattr(template, field.attname) for field in COPIED}
    FlowRun.objects.bulk_create(FlowRun(**values) for _ in range(number - 1))
    lab.clock.advance(days=1)


def test_two_thousand_due_runs_cost_a_twentieth_of_a_query_each(lab: Lab) -> None:
    wait_for_all(lab, 2000, think())
    with counted() as counts:
        assert sweep() == 2000
    assert not FlowRun.objects.live().exists()
    assert len(counts.queries) <= 0.05 * 2000, counts.queries[:20]
    assert counts.commits <= 0.02 * 2000


def test_runs_with_a_database_step_cost_what_it_needs_and_their_checkpoint(lab: Lab) -> None:
    wait_for_all(lab, 100, write())
    with counted() as counts:
        sweep()
    assert len(customers()) == 100
    # The insert of the step, the checkpoint and its history.
    assert len(counts.queries) <= 100 * (3 + 0.2)


def test_sweep_with_nothing_to_do_costs_one_query(lab: Lab) -> None:
    wait_for_all(lab, 5)
    lab.clock.advance(days=-1)
    with counted() as counts:
        assert sweep() == 0
    assert (len(counts.queries), counts.commits) == (1, 0), counts.queries


def test_what_waits_for_days_makes_no_sweep_slow(lab: Lab) -> None:
    """Runs that miss a plugin cost two probes; messages to runs that are paused cost nothing."""
    wait_for_all(lab, 1000)
    lab.clock.advance(days=-1)
    runs = FlowRun.objects.all()
    runs.update(status=Status.PAUSED, due_at=None)
    now = lab.clock.now()
    Message.objects.bulk_create(
        Message(run=run, kind=MessageKind.GO_TO, created_at=now, undelivered_since=now)
        for run in runs
    )
    for _ in range(2):
        sweep()
    with counted() as counts:
        sweep()
    assert len(counts.queries) == 1, counts.queries
    runs.update(status=Status.BLOCKED, blocked_on="gone.action")
    with counted() as counts:
        sweep()
    assert len(counts.queries) == 3, counts.queries


# Plans


@contextmanager
def only_indexes() -> Iterator[None]:
    """Let PostgreSQL read a whole table only where no index would do."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET enable_seqscan")


def many_rows(lab: Lab) -> None:
    """Fill the table, so that no planner finds it too small for an index."""
    wait_for_all(lab, 1500)
    FlowRun.objects.update(due_at=None)
    lab.clock.advance(days=-1)
    TriggerEvent.objects.bulk_create(
        TriggerEvent(key="lab.paid", created_at=lab.clock.now()) for _ in range(1500)
    )
    first = FlowRun.objects.order_by("pk").first()
    assert first is not None
    FlowRun.objects.filter(pk=first.pk).update(due_at=lab.clock.now())
    analyze()


def test_claim_reads_the_due_runs_by_their_index(lab: Lab) -> None:
    many_rows(lab)
    with counted() as counts:
        assert len(claim.claim(10)) == 1
    (sql,) = [one for one in counts.queries if "database_now" in one]
    with only_indexes():
        found = plan(sql)
    assert "flowcontrol_run_due" in found, found
    assert "filesort" not in found.lower(), found
    assert "TEMP B-TREE" not in found, found


def test_idle_sweep_reads_no_table_as_a_whole(lab: Lab) -> None:
    many_rows(lab)
    FlowRun.objects.update(due_at=None, status=Status.WAITING)
    with counted() as counts:
        assert sweep() == 0
    for sql in counts.queries:
        with only_indexes():
            found = plan(sql)
        assert not whole_tables(found, FlowRun, TriggerEvent), f"{sql}\n{found}"


def test_a_worker_with_debug_does_not_keep_its_statements(lab: Lab, settings: Any) -> None:
    settings.DEBUG = True
    target = publish(write())
    for _ in range(3):
        for _ in range(5):
            create_flowrun(target)
        sweep()
        assert 0 < len(connection.queries) < 60
    sweep()
    assert len(connection.queries) == 1
