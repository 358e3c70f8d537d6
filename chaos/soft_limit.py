"""F28: Celery's soft time limit ends tasks while they execute runs."""

from __future__ import annotations

from functools import partial

from chaos.brokers import BROKERS, TASK, use_broker
from chaos.camp import Camp, create_runs, write
from chaos.hosts import Server
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.models import FlowRun, RunEvent
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.celery.site import CelerySite

#: In seconds; each nap is shorter, and all naps of a run are longer.
LIMIT = 0.5
NAPS, NAP = "abc", 0.25
INTERRUPTED = "soft time limit interrupted a step"
#: Leases that outlast the fault: what is executed again was given back.
SETTINGS = {"LEASE": 300, "STEP_TIMEOUT": 300, "MAX_ATTEMPTS": 5, "CELERY_CHUNK": 10}


def be_limited_worker(broker: str, queue: str, children: int) -> None:
    """Do what ``celery worker`` does with a soft time limit, which the pool "prefork" has."""
    use_broker(broker, queue)
    from tests.celery.app import app  # noqa: PLC0415

    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    pool = ["--pool=prefork", f"--concurrency={children}", f"--soft-time-limit={LIMIT}"]
    app.worker_main(["worker", *pool, *quiet, f"--hostname=limited@{queue}", "--loglevel=INFO"])


@fault("F28", "Celery's soft time limit ends tasks")
def limit_tasks(camp: Camp, figures: Figures) -> None:
    for kind in camp.random.sample(BROKERS, camp.dose.pick(2, 1, 1)):
        if why := kind.why_not():
            camp.leave_out(figures, kind.__name__, why)
            continue
        camp.clear()
        limit(camp, figures, camp.servers.get(kind))
        camp.end_processes()
    figures.note = figures.note.removesuffix("; ")


def limit(camp: Camp, figures: Figures, server: Server) -> None:
    """Execute chunks of long runs and short ones: whatever is interrupted goes back, and is done.

    A deaf step goes on in spite of the limit: the rest of its chunk goes back all the same.
    """
    naps = [step("effects.nap", label=label, seconds=NAP) for label in NAPS]
    publish_flow(flow(*naps, write("d")), key="long")
    deaf = step("effects.nap", label="a", seconds=2 * LIMIT, deaf=True)
    publish_flow(flow(deaf, write("d")), key="deaf")
    publish_flow(flow(write("d")), key="short")
    site = CelerySite(camp.scratch)
    site.use(server.url)
    children = camp.dose.pick(4, 3, 3)
    worker = camp.fork(partial(be_limited_worker, site.broker, site.queue, children), **SETTINGS)
    camp.wait_for(lambda: " ready." in worker.output, worker)
    count = camp.dose.pick(40, 4, 3)
    shares = {"long": count, "deaf": camp.dose.pick(10, 1, 1), "short": 2 * count}
    runs = [run for key, number in shares.items() for run in create_runs(number, key)]
    camp.random.shuffle(runs)
    for begin in range(0, len(runs), 6):
        site.send(TASK, [run.pk for run in runs[begin : begin + 6]])
    camp.wait_until_done(worker)
    figures.runs += len(runs)
    camp.check_complete(figures)
    camp.check_once(figures, runs, "d")
    effects = camp.effects()
    wanted = {run.pk: NAPS if run.flow.key == "long" else "a" for run in runs}
    called = [run for run in runs if run.flow.key != "short"]
    figures.lost += sum(not effects[str(run.uuid), at] for run in called for at in wanted[run.pk])
    figures.keys += camp.changed_keys()
    failed = RunEvent.objects.filter(kind="failed").count()
    figures.promise(not failed, f"{failed} steps were said to have failed")
    short = FlowRun.objects.filter(flow__key="short")
    again = RunEvent.objects.filter(kind="recovered", run__in=short).count()
    figures.promise(not again, f"{again} short runs began again")
    interrupted = worker.output.count(INTERRUPTED)
    figures.promise(interrupted, "no step was interrupted")
    figures.kills += interrupted
    figures.note += f"{type(server).__name__}: {interrupted} steps interrupted; "
    site.app.close()
