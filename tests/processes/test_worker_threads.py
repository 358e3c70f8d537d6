"""A worker with several threads, bulk operations and pruning, beside other processes."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from flowcontrol_core.models import BulkOperation, ConsumedSlot, FlowRun, Outcome, RunEvent, Worker
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations.bulk import start_bulk_operation
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.effects.models import Effect
from tests.processes.site import Site
from tests.shop.models import Customer

pytestmark = pytest.mark.slow
WORK = ("-m", "django", "flowcontrol", "worker", "--interval=0.05", "--concurrency=3")


@pytest.fixture(autouse=True)
def no_workers(site: Site) -> None:
    Worker.objects.all().delete()
    BulkOperation.objects.all().delete()


def create_runs(count: int) -> list[FlowRun]:
    with transaction.atomic():
        return [create_flowrun("flow") for _ in range(count)]


def test_the_threads_of_a_worker_execute_each_run_once_and_stop_on_request(site: Site) -> None:
    publish_flow(flow(step("effects.write", label="a"), step("effects.write", label="b")))
    worker = site.start(*WORK)
    runs = create_runs(120)
    site.wait_for(lambda: Effect.objects.count() > 20, worker)
    assert Worker.objects.get().pid == worker.pid
    worker.signal(signal.SIGTERM)
    assert worker.exit_status() == 0, worker.output
    assert "The worker has stopped." in worker.output
    assert not Worker.objects.exists(), "it has deregistered"
    assert set(FlowRun.objects.live().values_list("attempt", "worker")) <= {(0, "")}
    site.wait_until_done(site.start(*WORK))
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 120
    assert site.effects() == Counter((str(run.uuid), label) for run in runs for label in "ab")


def test_workers_share_a_bulk_operation_and_do_each_run_once(site: Site) -> None:
    publish_flow(flow(step("effects.write", label="a")))
    later = timezone.now() + timedelta(days=1)
    with transaction.atomic():
        for _ in range(150):
            create_flowrun("flow", at=later)
    filters = {"flow__key": "flow"}
    operation = start_bulk_operation("cancel", filters, by="Ada", reason="bulk")
    site.wait_until_done(*site.start_workers(3))
    site.wait_for(lambda: BulkOperation.objects.filter(finished_at__isnull=False).exists())
    operation.refresh_from_db()
    assert (operation.done, operation.refused) == (150, 0)
    recorded = Counter(RunEvent.objects.filter(actor="Ada").values_list("run_id", flat=True))
    assert set(recorded.values()) == {1}
    assert len(recorded) == 150


def test_pruning_beside_workers_lets_no_object_through_twice(site: Site) -> None:
    """Runs are created again and again, and pruned as soon as they have ended."""
    publish_flow(
        flow(step("effects.write", label="a"), object="shop.customer"),
        max_per_object=1,
        retention_runs=0,
    )
    customers = [Customer.objects.create(name=str(number)) for number in range(20)]
    workers = site.start_workers(2)
    with transaction.atomic():
        # All at once: what is checked while creating refuses none of them.
        for customer in customers * 4:
            create_flowrun("flow", customer)

    def all_gone() -> bool:
        prune()
        return not FlowRun.objects.exists()

    site.wait_for(all_gone, *workers)
    assert ConsumedSlot.objects.count() == 20
    assert Effect.objects.count() == 20
