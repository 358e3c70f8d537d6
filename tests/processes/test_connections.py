"""How many connections each kind of process needs: with a pool of exactly that size all works.

The figures are those of ``docs/how-to/connections-and-pools.md``.
"""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import transaction

from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.models import Worker as WorkerRow
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.databases import Database
from tests.effects.models import Effect
from tests.processes.site import Site, Worker

pytestmark = pytest.mark.slow
#: Longer than a lease of a second: without a heartbeat, calls would be made again.
LONG = 2.5
WAITS = {"LEASE": 1, "STEP_TIMEOUT": 60}


@pytest.fixture(autouse=True)
def only_with_pools(site: Site) -> None:
    if site.scratch.database is not Database.POSTGRESQL:
        pytest.skip("Django has pools for PostgreSQL only")
    WorkerRow.objects.all().delete()
    publish_flow(flow(step("effects.call", label="a", linger=LONG)))


def start(site: Site, size: int, *arguments: str, **settings: object) -> Worker:
    """Start a process whose pool has exactly so many connections."""
    environment = site.environment(**WAITS | settings) | {"FLOWCONTROL_TEST_POOL": str(size)}
    worker = Worker(arguments, environment)
    site.processes.append(worker)
    return worker


def create_runs(count: int) -> list[FlowRun]:
    with transaction.atomic():
        return [create_flowrun("flow") for _ in range(count)]


def check_once(site: Site, runs: list[FlowRun]) -> None:
    """Each call was made, and no call twice."""
    assert site.effects() == Counter((str(run.uuid), "a") for run in runs)
    assert set(Effect.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.parametrize("threads", [1, 3])
def test_a_worker_needs_one_connection_more_than_it_has_threads(site: Site, threads: int) -> None:
    command = ("-m", "django", "flowcontrol", "worker", "--interval=0.05")
    worker = start(site, threads + 1, *command, f"--concurrency={threads}")
    runs = create_runs(3 * threads)
    site.wait_until_done(worker)
    check_once(site, runs)
    assert "pool lacks" not in worker.output
    assert "gets no connection" not in worker.output


def test_a_sweep_by_cron_needs_two(site: Site) -> None:
    runs = create_runs(2)
    assert start(site, 2, "-m", "django", "flowcontrol", "run").exit_status() == 0
    check_once(site, runs)


WEB = """
import django, threading; django.setup()
from django.db import connections
from flowcontrol.engine import create_flowrun
def request():
    create_flowrun("flow")
    connections.close_all()
requests = [threading.Thread(target=request) for _ in range({threads})]
[each.start() for each in requests]
[each.join() for each in requests]
"""


@pytest.mark.parametrize(("dispatch", "more"), [("inline", 1), ("sweep", 0)])
def test_a_web_process_needs_one_more_where_it_executes_runs(
    site: Site, dispatch: str, more: int
) -> None:
    process = start(site, 3 + more, "-c", WEB.format(threads=3), DISPATCH=dispatch)
    assert process.exit_status() == 0, process.output
    assert "wait for the next sweep" not in process.output
    runs = list(FlowRun.objects.all())
    assert len(runs) == 3
    if dispatch == "inline":
        check_once(site, runs)


def test_a_worker_without_a_connection_for_its_heartbeat_claims_nothing_and_stays_up(
    site: Site,
) -> None:
    command = ("-m", "django", "flowcontrol", "worker", "--interval=0.05")
    create_runs(2)
    worker = start(site, 1, *command)
    site.wait_for(lambda: worker.output.count("No runs are claimed") >= 2, worker)
    assert "The connection pool lacks 1 connection" in worker.output
    assert "one connection more than it has threads" in worker.output
    assert set(FlowRun.objects.values_list("status", "attempt")) == {(Status.PENDING, 0)}
    other = start(site, 2, *command)
    site.wait_until_done(worker, other)
    check_once(site, list(FlowRun.objects.all()))
