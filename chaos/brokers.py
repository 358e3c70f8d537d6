"""F14: Celery messages that come twice, late or never, and a broker that is down."""

from __future__ import annotations

import time

from chaos.camp import Camp, create_runs, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.models import FlowRun
from flowcontrol_core.testing.building import flow
from flowcontrol_core.testing.helpers import publish_flow
from tests.celery.site import BEAT, CLOSED, CelerySite
from tests.databases import Database
from tests.services import RABBITMQ_URL, REDIS_URL, why_unreachable

BROKERS = {"rabbitmq": RABBITMQ_URL, "redis": REDIS_URL}
TASK = "run_flowruns_task"


@fault("F14", "Celery messages doubled, late and lost", databases=(Database.POSTGRESQL,))
def spoil_messages(camp: Camp, figures: Figures) -> None:
    notes = []
    for name, url in BROKERS.items():
        if problem := why_unreachable(name):
            notes.append(f"without {problem}")
            continue
        site = CelerySite(camp.scratch)
        site.use(url)
        camp.clear()
        try:
            notes.append(f"{name}: {spoil(camp, site, figures)}")
        finally:
            site.end_processes()
            site.close()
    figures.note = "; ".join(notes)


def spoil(camp: Camp, site: CelerySite, figures: Figures) -> str:
    """Send the messages of runs, badly; then let beat make up for it, once."""
    publish_flow(flow(write("a"), write("b")))
    down = CLOSED[site.broker.partition(":")[0]]
    count = camp.dose.pick(400, 60, 60)
    enqueue = site.start(
        *("-m", "tests.celery.enqueue", str(count // 3), "0"), DISPATCH="celery", broker=down
    )
    workers = site.start_celery_workers(camp.dose.pick(4, 2, 2))
    figures.promise(enqueue.exit_status() == 0, f"without its broker: {enqueue.output[-200:]}")
    runs = create_runs(count)
    dealt = {"doubled": 0, "late": 0, "lost": 0}
    late = []
    for run in runs:
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
    site.wait_until_done(*workers)
    figures.runs += FlowRun.objects.count()
    figures.kills += dealt["lost"]
    camp.check_complete(figures)
    camp.check_once(figures, FlowRun.objects.all(), "a", "b")
    return ", ".join(f"{number} {fate}" for fate, number in dealt.items())
