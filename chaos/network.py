"""F3, F4, F5: the network between workers and their database server fails at a commit."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.db import connections

from chaos import proxy
from chaos.camp import Camp, create_runs, six_steps
from chaos.processes import Forked
from chaos.proxy import Chances
from chaos.registry import SERVERS, fault
from chaos.results import Figures
from flowcontrol_core.management import worker
from flowcontrol_core.runs.execution import batch
from flowcontrol_core.testing.helpers import publish_flow


@fault("F3", "a commit lands, its answer is lost", databases=SERVERS)
def lose_answers(camp: Camp, figures: Figures) -> None:
    spoil(camp, figures, Chances(deaf=0.05))


@fault("F4", "the connection is cut before a commit", databases=SERVERS)
def cut(camp: Camp, figures: Figures) -> None:
    spoil(camp, figures, Chances(cut=0.05))


@fault("F5", "half-open connections", databases=SERVERS)
def half_open(camp: Camp, figures: Figures) -> None:
    spoil(camp, figures, Chances(half_open=0.02))


def spoil(camp: Camp, figures: Figures, chances: Chances) -> None:
    """Have workers execute runs through a proxy; ``kills`` are the commits that it spoiled."""
    document = six_steps(0.01, 0.01)
    publish_flow(document)
    server = connections.settings["default"]
    between = camp.fork(partial(proxy.serve, server["HOST"], int(server["PORT"]), chances))
    camp.wait_for(lambda: "." in between.output.partition(proxy.LISTENING)[2], between)
    workers = camp.fork_workers(4, partial(go_through, port_of(between)))
    runs = create_runs(camp.dose.pick(500, 40, 20))
    camp.wait_until_done(*workers)
    camp.stop(*workers)
    figures.kills = between.output.count(proxy.SPOILED)
    figures.promise(figures.kills, "not one commit was spoiled")
    camp.audit(figures, runs, document)
    figures.note += f"{figures.kills} commits spoiled"


def port_of(between: Forked) -> str:
    return between.output.partition(proxy.LISTENING)[2].partition(".")[0]


def go_through(port: str) -> None:
    """Have this process reach its database through a proxy, and try again soon."""
    connections.settings["default"]["PORT"] = port
    be_quick()


def be_quick() -> None:
    """Have this process try again soon what its database has failed at."""
    batch.POSTPONED = timedelta(seconds=0.3)
    worker.LONGEST_PAUSE = 0.2
