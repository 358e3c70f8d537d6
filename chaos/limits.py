"""F9: several processes start runs of one flow, for the same objects, at once."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel

from chaos.camp import Camp, write
from chaos.processes import Work
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.runs.execution.start import start_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.databases import Database
from tests.effects.models import Effect
from tests.shop.models import Customer

LEVELS: dict[Database, dict[str, Any]] = {
    Database.SQLITE_FILE: {"the only one": None},
    Database.POSTGRESQL: {
        "read committed": IsolationLevel.READ_COMMITTED,
        "repeatable read": IsolationLevel.REPEATABLE_READ,
        "serializable": IsolationLevel.SERIALIZABLE,
    },
    Database.MARIADB: {
        name: name for name in ("read committed", "repeatable read", "serializable")
    },
}


def isolate(level: Any) -> None:
    """Have this process's connections use an isolation level."""
    if level is not None:
        connections.close_all()
        connections["default"].settings_dict["OPTIONS"]["isolation_level"] = level


def start_for_all(keys: list[int], level: Any, begin: float) -> None:
    """Start a run for each object, when all processes do."""
    isolate(level)
    customers = list(Customer.objects.filter(pk__in=keys))
    time.sleep(max(0, begin - time.monotonic()))
    for customer in customers:
        with suppress(NotStartedError):
            start_flowrun("flow", customer)


@fault("F9", "limit race")
def race(camp: Camp, figures: Figures) -> None:
    processes, objects = camp.dose.pick(6, 4, 3), camp.dose.pick(60, 8, 5)
    levels = LEVELS[camp.scratch.database]
    for name, level in levels.items():
        for most in (1, 3):
            camp.clear()
            publish_flow(
                flow(write("begun"), step("effects.hold"), object="shop.customer"),
                max_concurrent_per_object=most,
            )
            begun = race_once(camp, processes, objects, level)
            figures.runs += processes * objects
            over = sum(max(0, count - most) for count in begun.values())
            under = most * objects - sum(min(most, count) for count in begun.values())
            figures.duplicated += over
            figures.lost += under
            figures.promise(
                not over and not under, f"limit {most}, {name}: {over} over, {under} under"
            )
    figures.note = f"limits 1 and 3; {', '.join(levels)}"


def race_once(camp: Camp, processes: int, objects: int, level: Any) -> Counter[str]:
    """Let the processes race; count the runs that began, by object."""
    keys = [Customer.objects.create(name=str(number)).pk for number in range(objects)]
    begin = time.monotonic() + 0.1
    starters: list[Work] = [partial(start_for_all, keys, level, begin) for _ in range(processes)]
    forked = [camp.fork(starter, LEASE=30) for starter in starters]
    for process in forked:
        assert process.exit_status() == 0, process.output
    (worker,) = camp.fork_workers(1, LEASE=30)
    undecided = FlowRun.objects.filter(status__in=[Status.PENDING, Status.RUNNING])
    camp.wait_for(lambda: not undecided.exists(), worker)
    camp.end_processes()
    return Counter(Effect.objects.values_list("object_key", flat=True))
