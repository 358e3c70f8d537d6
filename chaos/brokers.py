"""F14: the broker goes away while runs are started; Celery's messages come twice, late or never."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial

from django.db import transaction

from chaos.camp import Camp, create_runs, write
from chaos.hosts import Server
from chaos.processes import Forked
from chaos.registry import fault
from chaos.results import Figures
from chaos.servers import RabbitMQ, Redis
from flowcontrol_core import tasks  # noqa: F401 - so that DISPATCH may be "celery"
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.testing.builder import flow
from flowcontrol_core.testing.helpers import publish_flow
from tests.celery.site import BEAT, CelerySite

BROKERS: tuple[type[Redis | RabbitMQ], ...] = (Redis, RabbitMQ)
TASK = "run_flowruns_task"
#: How a broker goes away, and how it comes back.
OUTAGES: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "stopped": (Server.stop, Server.start),
    "killed": (Server.kill, Server.start),
    "frozen": (Server.freeze, Server.thaw),
}
#: The longest time in seconds that a start may take, whatever becomes of the broker.
LONGEST = 5.0
SWEEP = re.compile(rf"{BEAT}\[\S+ received")
STARTS = "starts, the longest of "


@fault("F14", "broker away during starts; messages doubled, late, lost")
def lose_brokers(camp: Camp, figures: Figures) -> None:
    for turn, kind in enumerate(BROKERS):
        if why := kind.why_not():
            camp.leave_out(figures, kind.__name__, why)
            continue
        # In the small dose each of them has one kind of outage, and so both together two.
        outages = list(OUTAGES)[turn:] + list(OUTAGES)[:turn]
        camp.clear()
        lose_broker(camp, figures, camp.servers.get(kind), outages[: camp.dose.pick(3, 1, 1)])
        camp.end_processes()
    figures.note = figures.note.removesuffix("; ")


def lose_broker(camp: Camp, figures: Figures, server: Server, outages: list[str]) -> None:
    publish_flow(flow(write("a"), write("b")))
    site = CelerySite(camp.scratch)
    site.use(server.url)
    workers = start_workers(camp, site, camp.dose.pick(4, 2, 2))
    wanted = camp.dose.pick(1000, 90, 60)
    starter = camp.fork(partial(keep_starting, site.broker, site.queue), DISPATCH="celery")

    def wait_for_starts(share: float) -> None:
        camp.wait_for(lambda: FlowRun.objects.count() >= wanted * share, starter, *workers)

    parts = 2 * len(outages) + 1
    for number, outage in enumerate(outages):
        leave, come_back = OUTAGES[outage]
        wait_for_starts((2 * number + 1) / parts)
        leave(server)
        wait_for_starts((2 * number + 2) / parts)
        come_back(server)
    wait_for_starts(1)
    starter.signal(signal.SIGTERM)
    figures.promise(starter.exit_status() == 0, f"a start raised: {starter.output[-500:]}")
    longest = float(starter.output.partition(STARTS)[2].partition(" s.")[0] or "inf")
    figures.promise(longest < LONGEST, f"a start took {longest} s")
    stranded = FlowRun.objects.live().count()
    dealt = spoil(camp, site, wanted // 4)
    camp.wait_until_done(*workers)
    figures.runs += FlowRun.objects.count()
    figures.kills += len(outages) + dealt["lost"]
    camp.check_complete(figures)
    camp.check_once(figures, FlowRun.objects.all(), "a", "b")
    sweeps = sum(len(SWEEP.findall(worker.output)) for worker in workers)
    figures.promise(sweeps == 1, f"{sweeps} sweeps")
    figures.note += (
        f"{type(server).__name__} {', '.join(outages)}: {stranded} runs left to one sweep, "
        f"{', '.join(f'{number} {fate}' for fate, number in dealt.items())}, "
        f"longest start {longest} s; "
    )
    site.app.close()


def spoil(camp: Camp, site: CelerySite, count: int) -> dict[str, int]:
    """Send the messages of runs, badly; then let beat make up for all, once."""
    dealt = {"doubled": 0, "late": 0, "lost": 0}
    late = []
    for run in create_runs(count):
        fate = camp.random.choices([*dealt, "sent"], [20, 20, 20, 40])[0]
        dealt |= {fate: dealt[fate] + 1} if fate in dealt else {}
        if fate == "late":
            late.append(run.pk)
        for _ in range({"sent": 1, "doubled": 2}.get(fate, 0)):
            site.send(TASK, [run.pk])
    time.sleep(0.3)
    for pk in late:
        site.send(TASK, [pk])
    site.send(BEAT)
    return dealt


def start_workers(camp: Camp, site: CelerySite, count: int) -> list[Forked]:
    workers = [
        camp.fork(partial(be_celery_worker, site.broker, site.queue, number))
        for number in range(count)
    ]
    for worker in workers:
        camp.wait_for(lambda: " ready." in worker.output, worker)  # noqa: B023
    return workers


def use_broker(broker: str, queue: str) -> None:
    """Have this process send to a broker, as the package of a project does."""
    os.environ |= {"FLOWCONTROL_TEST_BROKER": broker, "FLOWCONTROL_TEST_QUEUE": queue}
    import tests.celery.app  # noqa: F401, PLC0415 - reads the environment


def be_celery_worker(broker: str, queue: str, number: int) -> None:
    """Do what ``celery worker`` does.

    Not with the pool ``solo``: on RabbitMQ it leaves messages that have arrived alone for seconds
    once it has connected anew.
    """
    use_broker(broker, queue)
    from tests.celery.app import app  # noqa: PLC0415

    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    name = f"--hostname=w{number}@{queue}"
    pool = ["--pool=threads", "--concurrency=1"]
    app.worker_main(["worker", *pool, *quiet, name, "--loglevel=INFO"])


def keep_starting(broker: str, queue: str) -> None:
    """Start runs in all the ways there are, until SIGTERM; say how long a start took at most."""
    use_broker(broker, queue)
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    longest = 0.0
    count = 0
    while not ended:
        begun = time.monotonic()
        WAYS[count % len(WAYS)]()
        longest = max(longest, time.monotonic() - begun)
        count += 1
        time.sleep(0.02)
    print(f"{count} {STARTS}{longest:.2f} s.", flush=True)


def start_in_transaction() -> None:
    with transaction.atomic():
        start_flowrun("flow")


WAYS: tuple[Callable[[], object], ...] = (
    partial(create_flowrun, "flow"),
    start_in_transaction,
    partial(start_flowrun, "flow"),
)
