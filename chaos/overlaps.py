"""F13 and F18: sweeps that overlap, and workers that are asked to stop."""

from __future__ import annotations

import signal
from collections import Counter

from chaos.camp import Camp, create_runs, write
from chaos.processes import be_sweep
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.models import FlowRun, Outcome
from flowcontrol_core.testing.builder import flow
from flowcontrol_core.testing.helpers import publish_flow
from tests.effects.models import Effect


@fault("F13", "overlapping sweeps of 2, 4 and 8 processes")
def overlap(camp: Camp, figures: Figures) -> None:
    busy = []
    for processes in (2, 4, 8):
        camp.clear()
        publish_flow(flow(write("a", linger=0.005), write("b")))
        runs = create_runs(camp.dose.pick(400, 60, 40))
        sweeps = [camp.fork(be_sweep, LEASE=30) for _ in range(processes)]
        for sweep in sweeps:
            figures.promise(sweep.exit_status() == 0, sweep.output[-300:])
        camp.end_processes()
        figures.runs += len(runs)
        camp.check_complete(figures)
        camp.check_once(figures, runs, "a", "b")
        busy.append(len(set(Effect.objects.values_list("worker", flat=True))))
    figures.note = f"{', '.join(map(str, busy))} processes had a share"


@fault("F18", "SIGTERM with 20 runs in flight")
def terminate(camp: Camp, figures: Figures) -> None:
    """What a stopped worker has not begun is free at once, with a lease of an hour too."""
    publish_flow(flow(write("a", fault="terminate"), write("b")))
    runs = create_runs(20)
    settings = {"CLAIM_BATCH": 20, "LEASE": 3600}
    for left in range(19, 17, -1):
        worker = camp.fork_worker(**settings)
        figures.promise(worker.exit_status() == 0, "SIGTERM was not obeyed")
        figures.kills += 1
        given_back = Counter(FlowRun.objects.live().values_list("attempt", "worker"))
        figures.promise(given_back == {(0, ""): left}, f"given back: {dict(given_back)}")
    calm = publish_flow(flow(write("a"), write("b")), key="calm")
    FlowRun.objects.live().update(flow=calm, version=calm.published)
    worker = camp.fork_worker(**settings)
    camp.wait_until_done(worker)
    worker.signal(signal.SIGTERM)
    figures.promise(worker.exit_status() == 0, "an idle worker does not obey SIGTERM")
    figures.runs = len(runs)
    figures.lost += 20 - FlowRun.objects.filter(outcome=Outcome.COMPLETE).count()
    camp.check_once(figures, runs, "a", "b")
