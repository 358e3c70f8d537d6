"""Several workers at once: the work is shared, and nothing is done twice."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import transaction

from flowcontrol_core.models import FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.effects.models import Effect
from tests.processes.site import Site

pytestmark = pytest.mark.slow


def create_runs(count: int, key: str = "flow") -> list[FlowRun]:
    """Create runs that become visible, and due, all at once."""
    with transaction.atomic():
        return [create_flowrun(key) for _ in range(count)]


@pytest.mark.parametrize(("processes", "count"), [(2, 200), (4, 100)])
def test_overlapping_sweeps_execute_each_run_once_and_share_the_work(
    site: Site, processes: int, count: int
) -> None:
    publish_flow(flow(step("effects.write", label="a"), step("effects.write", label="b")))
    workers = site.start_workers(processes)
    runs = create_runs(count)
    site.wait_until_done(*workers)
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == count
    assert site.effects() == Counter((str(run.uuid), label) for run in runs for label in "ab")
    busy = set(Effect.objects.values_list("worker", flat=True))
    assert busy <= {worker.pid for worker in workers}
    assert len(busy) >= 2, "one worker did all of it"


@pytest.mark.parametrize("processes", [2, 4])
def test_workers_share_slow_runs_evenly(site: Site, processes: int) -> None:
    """None of them claims what the others could do meanwhile."""
    if site.scratch.name.endswith(".sqlite3"):
        pytest.skip("There, one step that writes locks out all others")
    publish_flow(flow(step("effects.write", label="a", linger=0.02)))
    workers = site.start_workers(processes, CLAIM_BATCH=200, LEASE=60, STEP_TIMEOUT=60)
    runs = create_runs(150)
    site.wait_until_done(*workers)
    assert site.effects() == Counter((str(run.uuid), "a") for run in runs)
    shares = Counter(Effect.objects.values_list("worker", flat=True))
    assert len(shares) == processes
    # Exactly, it would be 150 divided by their number.
    assert max(shares.values()) <= 1.5 * 150 / processes, shares


def test_workers_continue_when_the_server_hangs_up_on_them(site: Site) -> None:
    if site.scratch.name.endswith(".sqlite3"):
        pytest.skip("SQLite has no server that could hang up")
    publish_flow(flow(step("effects.write", label="a"), step("effects.write", label="b")))
    workers = site.start_workers(2)
    runs = create_runs(60)
    site.wait_for(lambda: Effect.objects.count() > 10, *workers)
    site.kill_connections()
    site.wait_until_done(*workers)
    assert site.effects() == Counter((str(run.uuid), label) for run in runs for label in "ab")


def test_what_a_stopped_worker_has_not_begun_is_free_at_once(site: Site) -> None:
    publish_flow(flow(step("effects.write", label="a", fault="terminate")))
    worker = site.start_worker(CLAIM_BATCH=20, LEASE=3600)
    runs = create_runs(20)
    assert worker.exit_status() == 0, worker.output
    assert "The worker has stopped." in worker.output
    assert FlowRun.objects.filter(status=Status.DONE).count() == 1, "what was in hand is finished"
    waiting = FlowRun.objects.live()
    assert set(waiting.values_list("attempt", "worker")) == {(0, "")}
    # With a lease of an hour, these are due because they were given back.
    (other,) = site.start_workers(1, LEASE=3600)
    site.wait_for(lambda: FlowRun.objects.live().count() == 18, other)
    assert sum(site.effects().values()) == 2
    assert len(runs) == 20
