"""A claimed run is written by its primary key, whatever the statistics say of the other indexes.

They are those of a table of finished runs, none of which is running: an index of the statuses then
looks as good as the primary key, and has to be searched past the entries of all recent runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue.claim import claim, renew
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.release import release
from flowcontrol_core.runs.store.rows import write_end, write_guarded
from tests.many_runs import analyze
from tests.plans import plan, reading

from .conftest import Lab, counted, publish, sweep, think

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lab")]
#: How a plan says that the table is read by its primary key, and nothing of it in another way.
BY_PRIMARY_KEY = {
    "postgresql": r"Index (Only )?Scan using flowcontrol_core_flowrun_pkey",
    "mysql": r"flowcontrol_core_flowrun \S*\s*(range|const|eq_ref) .*?PRIMARY",
    "sqlite": r"USING INTEGER PRIMARY KEY",
}
READ = {
    "postgresql": r"(Index|Seq|Bitmap).* (on|using) flowcontrol_\S+",
    "mysql": r"flowcontrol_core_flowrun .*",
    "sqlite": r"(SCAN|SEARCH) .*",
}


@pytest.fixture
def claimed(lab: Lab) -> FlowRun:
    """A claimed run beside thousands of finished ones, when the statistics are fresh."""
    target = publish(think())
    create_flowrun(target)
    sweep()
    template = FlowRun.objects.get()
    copied = [each for each in FlowRun._meta.concrete_fields if each.name not in ("id", "uuid")]
    values = {each.attname: getattr(template, each.attname) for each in copied}
    FlowRun.objects.bulk_create(FlowRun(**values) for _ in range(3_000))
    analyze()
    create_flowrun(target)
    (run,) = claim(1)
    run.status = Status.RUNNING
    return run


def end(run: FlowRun) -> None:
    run.status, run.outcome, run.due_at = Status.DONE, "complete", None
    assert write_end(run)


def extend(run: FlowRun) -> None:
    heartbeat = Heartbeat()
    heartbeat._fences[run.pk] = run.fence
    heartbeat.extend()


@pytest.mark.parametrize(
    "write",
    [lambda run: write_guarded([run]), end, renew, release, extend],
    ids=["checkpoint", "end", "renew", "release", "heartbeat"],
)
def test_a_claimed_run_is_written_by_its_primary_key(
    claimed: FlowRun, write: Callable[[FlowRun], Any]
) -> None:
    with counted() as counts:
        write(claimed)
    (sql,) = [sql for sql in counts.queries if "UPDATE" in sql]
    assert_by_primary_key(sql)


def test_a_claim_writes_by_primary_key(claimed: FlowRun, lab: Lab) -> None:
    lab.clock.advance(timedelta(minutes=2))
    with counted() as counts:
        assert claim(1)
    (sql,) = [sql for sql in counts.queries if sql.startswith("UPDATE")]
    assert_by_primary_key(sql)


def test_a_checkpoint_reads_one_row(claimed: FlowRun) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Only PostgreSQL counts what it has read")
    with counted() as counts:
        write_guarded([claimed])
    assert reading(counts.queries[0]).runs == 1


def assert_by_primary_key(sql: str) -> None:
    answer = plan(sql)
    reads = [match[0] for match in re.finditer(READ[connection.vendor], answer)]
    assert reads, answer
    assert all(re.search(BY_PRIMARY_KEY[connection.vendor], read) for read in reads), answer
