"""F10: people cancel and pause runs at random times while workers execute them."""

from __future__ import annotations

import time

from chaos.camp import Camp, create_runs, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.errors import IllegalChangeError
from flowcontrol_core.models import FlowRun, Outcome, Status
from flowcontrol_core.testing.builder import flow
from flowcontrol_core.testing.helpers import publish_flow
from tests import operate
from tests.effects.models import Effect

STEPS = 80


@fault("F10", "cancel and pause at random times")
def meddle(camp: Camp, figures: Figures) -> None:
    publish_flow(flow(*(write(str(number), linger=0.004) for number in range(STEPS))))
    workers = camp.fork_workers(3, LEASE=5, COALESCE=camp.random.choice([0, 0.05]))
    wanted = camp.dose.pick(500, 40, 20)
    frozen: list[tuple[FlowRun, int]] = []
    late = 0
    for number in range(wanted):
        (run,) = create_runs(1)
        time.sleep(camp.random.uniform(0, 0.1))
        try:
            if number % 2:
                operate.cancel(run)
            else:
                operate.pause(run)
                # The step in hand is finished first.
                camp.wait_for(lambda: is_at_rest(run), *workers)  # noqa: B023
        except IllegalChangeError:
            late += 1
            continue
        frozen.append((run, effects_of(run)))
    moving = FlowRun.objects.filter(status__in=[Status.PENDING, Status.RUNNING, Status.WAITING])
    camp.wait_for(lambda: not moving.exists(), *workers)
    figures.runs = wanted
    grown = [run.pk for run, count in frozen if effects_of(run) != count]
    figures.promise(not grown, f"effects after the operator action had returned: {len(grown)} runs")
    for run in FlowRun.objects.filter(status=Status.PAUSED):
        operate.resume(run)
    camp.wait_until_done(*workers)
    done = list(FlowRun.objects.filter(outcome=Outcome.COMPLETE))
    canceled = FlowRun.objects.filter(outcome=Outcome.CANCELED).count()
    figures.lost += wanted - len(done) - canceled
    camp.check_once(figures, done, *map(str, range(STEPS)))
    figures.note = f"{canceled} canceled, {len(frozen) - canceled} paused, {late} had ended"


def is_at_rest(run: FlowRun) -> bool:
    run.refresh_from_db()
    return run.status in (Status.PAUSED, Status.DONE)


def effects_of(run: FlowRun) -> int:
    return Effect.objects.filter(run=run.uuid).count()
