"""A message is a hint: lost, repeated or not even sent, it costs latency and never a run."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from django.db import transaction

from flowcontrol_core.models import FlowRun, Outcome, RunEvent, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.celery.site import BEAT, CLOSED, CelerySite
from tests.effects.models import Effect

pytestmark = [pytest.mark.slow, pytest.mark.celery, pytest.mark.postgresql]

HANDED_OUT = re.compile(rf"{BEAT}\[\S+ succeeded in \S+: (\d+)")


#: Leases that outlast the test: what is executed again was given back.
PATIENT = {"LEASE": 300, "STEP_TIMEOUT": 300}


def create_runs(count: int) -> list[FlowRun]:
    with transaction.atomic():
        return [create_flowrun("flow") for _ in range(count)]


def effects_once(runs: list[FlowRun], labels: str = "a") -> Counter[tuple[str, str]]:
    return Counter((str(run.uuid), label) for run in runs for label in labels)


def test_a_thousand_waiting_runs_are_executed_once_each_by_two_workers(site: CelerySite) -> None:
    publish_flow(flow(step("effects.hold"), step("effects.write", label="a")))
    runs = create_runs(1_000)
    sweep = site.start("-m", "django", "flowcontrol", "run", CLAIM_BATCH=200)
    assert sweep.exit_status() == 0, sweep.output
    now = clock().now()
    assert FlowRun.objects.filter(status=Status.WAITING).update(wait_until=now, due_at=now) == 1000
    workers = site.start_celery_workers(2, "--prefetch-multiplier=4")
    site.send(BEAT)
    site.wait_until_done(*workers)
    assert site.effects() == effects_once(runs)
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 1_000
    busy = set(Effect.objects.values_list("worker", flat=True))
    assert busy == {worker.pid for worker in workers}


def test_messages_that_come_twice_do_no_harm(site: CelerySite) -> None:
    publish_flow(flow(step("effects.write", label="a")))
    runs = create_runs(200)
    ids = [run.pk for run in runs]
    for start in range(0, 200, 25):
        site.send("run_flowruns_task", ids[start : start + 50])
        site.send("run_flowruns_task", ids[start : start + 25])
    for _ in range(3):
        site.send(BEAT)
    workers = site.start_celery_workers(2)
    site.wait_until_done(*workers)
    site.wait_for(lambda: sum(worker.output.count(" succeeded in ") for worker in workers) >= 19)
    assert site.effects() == effects_once(runs)


def test_the_next_sweep_makes_up_for_messages_that_are_lost(site: CelerySite) -> None:
    publish_flow(flow(step("effects.write", label="a")))
    runs = create_runs(50)
    for run in runs:
        site.send("run_flowruns_task", [run.pk])
    assert site.lose_messages() == 50
    workers = site.start_celery_workers(2)
    site.send(BEAT)
    site.wait_until_done(*workers)
    assert site.effects() == effects_once(runs)


def test_a_broker_that_is_down_strands_no_run_and_lets_no_caller_wait(site: CelerySite) -> None:
    publish_flow(flow(step("effects.write", label="a")))
    down = CLOSED[site.broker.partition(":")[0]]
    process = site.start("-m", "tests.celery.enqueue", "30", "0", DISPATCH="celery", broker=down)
    assert process.exit_status() == 0, process.output
    assert "The broker cannot be reached" in process.output
    assert float(process.output.partition("seconds: ")[2]) < 4
    assert FlowRun.objects.filter(status=Status.PENDING).count() == 30
    workers = site.start_celery_workers(1)
    site.send(BEAT)
    site.wait_until_done(*workers)
    assert site.effects() == effects_once(list(FlowRun.objects.all()))


def test_what_was_committed_is_executed_without_a_sweep_and_nothing_else(site: CelerySite) -> None:
    publish_flow(flow(step("effects.write", label="a")))
    workers = site.start_celery_workers(1)
    process = site.start("-m", "tests.celery.enqueue", "20", "5", DISPATCH="celery")
    assert process.exit_status() == 0, process.output
    site.wait_until_done(*workers)
    runs = list(FlowRun.objects.all())
    assert len(runs) == 20
    assert site.effects() == effects_once(runs)
    assert BEAT not in workers[0].output.partition(" ready.")[2]


def test_beat_without_workers_makes_no_flood_and_its_messages_no_delay(site: CelerySite) -> None:
    """Five minutes of beat, every ten seconds, while no worker runs and 200 runs are due."""
    publish_flow(flow(step("effects.write", label="a")))
    runs = create_runs(200)
    for _ in range(30):
        site.send(BEAT)
    (worker,) = site.start_celery_workers(1, CELERY_CHUNK=10)
    site.wait_until_done(worker)
    assert site.effects() == effects_once(runs)
    # What each message of beat has handed out: all of it the first one.
    assert [int(number) for number in HANDED_OUT.findall(worker.output)] == [200, *[0] * 29]


def test_what_was_handed_out_and_lost_is_handed_out_again_at_the_next_tick(
    site: CelerySite,
) -> None:
    publish_flow(flow(step("effects.write", label="a")))
    runs = create_runs(50)
    tick = "from flowcontrol.tasks import continue_flowruns_task as t; print('sent', t())"
    command = ("-c", f"import django; django.setup(); import tests.celery.app; {tick}")
    for _ in range(3):
        assert site.start(*command).exit_status() == 0
    assert site.lose_messages() == 1
    workers = site.start_celery_workers(1)
    site.send(BEAT)
    site.wait_until_done(*workers)
    assert site.effects() == effects_once(runs)


def test_the_soft_time_limit_ends_a_chunk_and_harms_no_run(site: CelerySite) -> None:
    # The steps of one run: those of the others would have a turn of their own.
    publish_flow(flow(*(step("effects.nap", label=label, seconds=0.7) for label in "abc")))
    runs = create_runs(3)
    limited = ["--concurrency=1", "--soft-time-limit=2"]
    workers = site.start_celery_workers(1, *limited, pool="prefork", **PATIENT)
    site.send("run_flowruns_task", [run.pk for run in runs])
    site.wait_until_done(*workers)
    assert site.effects() == effects_once(runs, "abc")
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 3
    assert "soft time limit interrupted a step" in workers[0].output
    assert not RunEvent.objects.filter(kind="failed").exists()


def test_the_rest_of_a_chunk_goes_back_even_if_a_step_does_not_mind(site: CelerySite) -> None:
    publish_flow(flow(step("effects.nap", label="a", seconds=1.5, deaf=True)))
    runs = create_runs(3)
    limited = ["--concurrency=1", "--soft-time-limit=1"]
    workers = site.start_celery_workers(1, *limited, pool="prefork", **PATIENT)
    site.send("run_flowruns_task", [run.pk for run in runs])
    site.wait_until_done(*workers)
    assert site.effects() == effects_once(runs)
    assert workers[0].output.count(" succeeded in ") >= 2, "a message for the rest"


def test_a_step_that_never_ends_within_the_limit_is_not_repeated_for_ever(
    site: CelerySite,
) -> None:
    publish_flow(flow(step("effects.nap", label="a", seconds=20)))
    (run,) = create_runs(1)
    limited = ["--concurrency=1", "--soft-time-limit=1"]
    workers = site.start_celery_workers(1, *limited, pool="prefork", MAX_ATTEMPTS=2, **PATIENT)
    site.send("run_flowruns_task", [run.pk])
    site.wait_until_done(*workers)
    run.refresh_from_db()
    assert (run.outcome, run.reason_code) == (Outcome.ERRORED, "dead_lettered")
