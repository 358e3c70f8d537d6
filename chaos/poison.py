"""F8 and F17: runs that kill their worker, and runs that are broken in front of good ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from io import StringIO

from django.core.management import CommandError, call_command

from chaos.camp import Camp, call, create_runs, write
from chaos.processes import be_sweep
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.document.tree import Step
from flowcontrol_core.models import FlowRun, FlowVersion, Outcome
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.shop.models import Customer

DEATHS = 2


@fault("F8", "poison steps that kill their worker")
def poison(camp: Camp, figures: Figures) -> None:
    count, bad = camp.dose.pick(200, 60, 30), camp.dose.pick(8, 4, 2)
    publish_flow(flow(write("a")))
    publish_flow(flow(write("a", fault="poison")), key="poison")
    poisoned = set(camp.random.sample(range(count), bad))
    runs = [create_flowrun("poison" if n in poisoned else "flow") for n in range(count)]
    settings = {"MAX_ATTEMPTS": DEATHS, "LEASE": 0.3, "CLAIM_BATCH": 10}
    workers = camp.fork_workers(2, **settings)

    def is_done() -> bool:
        for place, worker in enumerate(workers):
            if worker.has_ended():
                figures.kills += 1
                workers[place] = camp.fork_worker(**settings)
        return camp.is_done()

    camp.wait_for(is_done)
    good = [run for number, run in enumerate(runs) if number not in poisoned]
    figures.runs = count
    dead = FlowRun.objects.filter(outcome=Outcome.ERRORED, flow__key="poison")
    figures.lost += bad - dead.count()
    figures.lost += len(good) - FlowRun.objects.filter(outcome=Outcome.COMPLETE).count()
    camp.check_once(figures, good, "a")
    figures.promise(len(camp.effects()) == len(good), "a poison step left an effect")
    # A run that was claimed together with one that killed their worker has an attempt less.
    figures.promise(bad <= figures.kills <= bad * DEATHS, f"{figures.kills} workers died")
    figures.note = f"{dead.count()} dead-lettered"


def changed(**values: object) -> Callable[[str], None]:
    """Return what makes a run whose row is damaged."""

    def make(key: str) -> None:
        publish_flow(flow(write("a"), write("b")), key=key)
        FlowRun.objects.filter(pk=create_flowrun(key).pk).update(**values)

    return make


def of(*steps: Step, guard: str = "") -> Callable[[str], None]:
    """Return what makes a run of these steps."""

    def make(key: str) -> None:
        publish_flow(flow(*steps, guard=guard), key=key)
        create_flowrun(key, state={"text": "x" * 20_000})

    return make


def without_version(key: str) -> None:
    publish_flow(flow(write("a")), key=key)
    run = create_flowrun(key)
    FlowVersion.objects.filter(pk=run.version_id).update(document={"format": "nonsense"})


def with_stale_type(key: str) -> None:
    publish_flow(flow(step("builtin.if", condition="object.name")), key=key)
    FlowRun.objects.filter(pk=create_flowrun(key).pk).update(
        object_type="gone.thing", object_key="1"
    )


def with_gone_object(key: str) -> None:
    customer = Customer.objects.create(name="Ada")
    publish_flow(flow(step("effects.tell", label="a"), object="shop.customer"), key=key)
    create_flowrun(key, customer)
    customer.delete()


def with_gone_action(key: str) -> None:
    publish_flow(flow(write("a")), key=key)
    run = create_flowrun(key)
    document = run.version.document
    document["steps"][0]["action"] = "gone.action"
    FlowVersion.objects.filter(pk=run.version_id).update(document=document)


BAD: dict[str, Callable[[str], None]] = {
    "state-no-object": changed(state=[1, 2]),
    "cursor-nonsense": changed(cursor=[{"step": 3}]),
    "step-gone": changed(cursor=[{"step": "nowhere", "phase": "run"}]),
    "flow-gone": changed(flow_id=999_999),
    "version-gone": changed(version_id=999_999),
    "version-damaged": without_version,
    "type-stale": with_stale_type,
    "object-gone": with_gone_object,
    "action-gone": with_gone_action,
    "guard-raises": of(write("a"), guard="state.text|upper"),
    "action-raises": of(write("a", fault="raise")),
    "call-raises": of(call("a", fault="raise")),
}


@fault("F17", "ten kinds of bad run in front of good ones")
def bad_runs(camp: Camp, figures: Figures) -> None:
    for key, make in BAD.items():
        make(key)
    bad = list(FlowRun.objects.values_list("pk", flat=True))
    publish_flow(flow(write("a"), write("b")))
    runs = create_runs(100)
    sweep = camp.fork(be_sweep, CLAIM_BATCH=50, LEASE=60)
    figures.promise(sweep.exit_status() == 0, f"the sweep ended with {sweep.output[-300:]}")
    figures.runs = len(bad) + len(runs)
    good = FlowRun.objects.exclude(pk__in=bad)
    figures.lost = good.exclude(outcome=Outcome.COMPLETE).count()
    camp.check_once(figures, runs, "a", "b")
    check_visible(figures, bad)
    figures.note = f"{len(bad)} kinds"


def check_visible(figures: Figures, bad: list[int]) -> None:
    """Search for broken runs where an operator does: each has its reason, and is in the health.

    One whose object is gone has ended as it should: it is obsolete, and says so itself.
    """
    found = FlowRun.objects.filter(pk__in=bad)
    silent = found.filter(reason_code="").values_list("flow__key", "status")
    figures.promise(not silent, f"bad runs without a reason: {list(silent)}")
    output = StringIO()
    with suppress(SystemExit, CommandError):
        call_command("flowcontrol", "doctor", stdout=output)
    shown = {int(pk) for pk in re.findall(r"Run (\d+): ", output.getvalue())}
    unseen = FlowRun.objects.filter(pk__in=set(bad) - shown).exclude(outcome=Outcome.OBSOLETE)
    rows = unseen.values_list("flow__key", "status", "outcome", "reason_code")
    figures.promise(not rows, f"bad runs that the doctor does not list: {list(rows)}")
