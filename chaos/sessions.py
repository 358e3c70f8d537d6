"""F27: steps that break the database session that they are called in, among good neighbours."""

from __future__ import annotations

import itertools
from collections import Counter

from chaos.camp import Camp, call, write
from chaos.network import be_quick
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.models import FlowRun, Outcome, RunEvent
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.effects.models import Effect
from tests.effects.sessions import BREAKS, LEFT

#: Where a step is called: outside of a transaction, in that of its checkpoint, in memory.
SIDES = ("outside", "inside", "memory")
#: What a step may do at some of these places: it does not have to fail for it.
HARMLESS = ("close", "commit", "kill_quietly", "set_read_only")
ATTEMPTS = 3


def kinds(camp: Camp) -> dict[str, tuple[str, str, bool]]:
    """Return by the keys of flows: where, how, and whether at each attempt or at the first."""
    hows = [how for how in BREAKS if not (camp.is_sqlite and "kill" in how)]
    found = itertools.product(SIDES, hows, ("once", "always"))
    return {f"{side}-{how}-{when}": (side, how, when == "always") for side, how, when in found}


@fault("F27", "steps that break their session, among good ones")
def break_sessions(camp: Camp, figures: Figures) -> None:
    """Each kind fails once and is right then; another one fails at every attempt."""
    breaking = kinds(camp)
    for key, (side, how, always) in breaking.items():
        bad = step(
            f"effects.break_{side}",
            label="bad",
            how=how,
            always=always,
            retry={"attempts": ATTEMPTS, "backoff": 0.1},
        )
        publish_flow(flow(write("before"), bad, write("after")), key=key)
    good = flow(call("a"), write("b"), write("c"))
    publish_flow(good)
    count = len(breaking) * camp.dose.pick(10, 1, 1)
    keys = [*breaking] * (count // len(breaking)) + ["flow"] * camp.dose.pick(2 * count, 60, 30)
    camp.random.shuffle(keys)
    runs = [create_flowrun(key) for key in keys]
    workers = camp.fork_workers(3, be_quick, LEASE=30, STEP_TIMEOUT=30, MAX_ATTEMPTS=5)
    camp.wait_until_done(*workers)
    figures.promise(not any(worker.has_ended() for worker in workers), "a worker has ended")
    camp.stop(*workers)
    check_bad(camp, figures, [run for run in runs if run.flow.key != "flow"])
    neighbours = [run for run in runs if run.flow.key == "flow"]
    figures.runs = len(runs)
    figures.lost += FlowRun.objects.filter(flow__key="flow").exclude(outcome="complete").count()
    camp.check_once(figures, neighbours, "a", "b", "c")
    harmed = RunEvent.objects.filter(run__in=neighbours, kind__in=["failed", "recovered"]).count()
    figures.promise(not harmed, f"{harmed} neighbours failed or began again")
    Effect.objects.filter(label=LEFT).delete()
    figures.keys += camp.changed_keys()
    figures.note = f"{len(breaking)} kinds, {len(neighbours)} neighbours"


def check_bad(camp: Camp, figures: Figures, runs: list[FlowRun]) -> None:
    """Count what is lost of the runs that broke their sessions, or is there too often."""
    effects = camp.effects()
    outcomes: Counter[str] = Counter()
    for run in FlowRun.objects.filter(pk__in=[run.pk for run in runs]).select_related("flow"):
        side, how, always = run.flow.key.split("-")
        is_complete, found = run.outcome == Outcome.COMPLETE, Counter[str]()
        for label in ("before", "bad", "after", LEFT):
            found[label] = effects[str(run.uuid), label]
        outcomes[run.outcome] += 1
        # Failed at each attempt, it has ended with its own reason; or else it has completed.
        blamed = run.reason_code == "step_failed"
        may_pass = always == "once" or how in HARMLESS
        is_right = (is_complete and may_pass) or (blamed and always == "always")
        figures.promise(is_right, f"{run.flow.key}: {run.outcome} {run.reason_code}")
        figures.lost += not found["before"] or (is_complete and not found["after"])
        figures.duplicated += max(0, found["before"] - 1) + max(0, found["after"] - is_complete)
        if side == "inside":
            figures.lost += is_complete and not found["bad"]
            figures.duplicated += max(0, found["bad"] - is_complete)
        elif side == "outside":
            figures.lost += not found["bad"]
            most = 2 * ATTEMPTS
            figures.promise(found["bad"] <= most, f"{run.flow.key}: {found['bad']} calls")
        figures.promise(how in HARMLESS or not found[LEFT], f"{run.flow.key}: was left to others")
    figures.promise(len(outcomes) == 2, f"all bad runs ended alike: {dict(outcomes)}")
