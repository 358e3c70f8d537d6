"""The site that a campaign has on one database."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from django.db import DatabaseError, connections, transaction
from django.db.models import Count

from chaos.hosts import Server
from chaos.processes import Forked, Work, be_worker
from chaos.results import Figures
from chaos.servers import DATABASES, Servers
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.models import FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from tests.databases import Database, ScratchDatabase
from tests.effects.models import Effect
from tests.processes.site import Process, Site

#: Leases so short that what a dead worker had is taken while the storm is on.
SETTINGS: dict[str, Any] = {
    "LEASE": 0.5,
    "STEP_TIMEOUT": 0.5,
    "CLAIM_BATCH": 4,
    "MAX_ATTEMPTS": 10_000,
    "COALESCE": 0,
    "TRIGGER_CACHE_SECONDS": 0,
}
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Dose:
    """How much of each fault: ``ci`` for every test run, ``full`` on demand."""

    name: str
    database: Database

    def pick(self, full: Number, ci: Number, small: Number) -> Number:
        """Return a number by the dose; ``small`` is that of CI where PostgreSQL is not used."""
        if self.name == "full":
            return full
        return ci if self.database is Database.POSTGRESQL else small


class Camp(Site):
    """A site whose processes are forked."""

    def __init__(
        self, scratch: ScratchDatabase, dose: Dose, *, seed: str, servers: Servers
    ) -> None:
        super().__init__(scratch)
        self.dose = dose
        self.servers = servers
        self.random = random.Random(seed)

    @property
    def server(self) -> Server | None:
        """The server that the database is on, if it is one of the campaign's own."""
        kind = DATABASES.get(self.scratch.database)
        return self.servers.running(kind) if kind else None

    @property
    def is_sqlite(self) -> bool:
        return self.scratch.database is Database.SQLITE_FILE

    def fork(self, what: Work, **settings: Any) -> Forked:
        process = Forked(what, SETTINGS | settings)
        self.processes.append(process)
        return process

    def fork_worker(self, *changes: Work, **settings: Any) -> Forked:
        """Fork a worker; ``changes`` are made to it before it begins."""
        return self.fork(partial(be_worker, *changes), **settings)

    def fork_workers(self, count: int, *changes: Work, **settings: Any) -> list[Forked]:
        return [self.fork_worker(*changes, **settings) for _ in range(count)]

    def stop(self, *processes: Process) -> None:
        """Have workers stop as they should, and wait for them: what they do late is done then."""
        for process in processes:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        for process in processes:
            process.exit_status()

    def reconnect(self) -> None:
        """Connect anew, as soon as the server answers."""

        def answers() -> bool:
            connections.close_all()
            try:
                connections["default"].ensure_connection()
            except DatabaseError:
                return False
            return True

        self.wait_for(answers)

    def leave_out(self, figures: Figures, what: str, why: str) -> None:
        """Return what is not tried here: a broken promise where all services are required."""
        figures.note += f"without {what}: {why}; "
        required = os.environ.get("FLOWCONTROL_REQUIRE_SERVICES") == "1"
        figures.promise(not required, f"{what} left out")

    def show_outputs(self) -> None:
        """Write what the processes have written to standard error: a promise was broken."""
        for process in self.processes:
            if output := process.output.strip():
                sys.stderr.write(f"--- {process.pid}\n{output[-6000:]}\n")

    def audit(self, figures: Figures, runs: Iterable[FlowRun], document: Document) -> None:
        """Count what is lost or there too often, of complete runs of a document."""
        runs = list(runs)
        figures.runs += len(runs)
        ids = [run.pk for run in runs]
        ended = FlowRun.objects.filter(pk__in=ids, status=Status.DONE, outcome=Outcome.COMPLETE)
        missing = len(ids) - ended.count()
        if missing:
            figures.note += f"not complete: {self.describe_runs()} "
        effects = self.effects()
        wanted = {(str(run.uuid), label) for run in runs for label in labels_of(document)}
        figures.lost += missing + sum(key not in effects for key in wanted)
        figures.promise(effects.keys() <= wanted, "effects that no run asked for")
        calls = set(labels_of(document, "effects.call"))
        figures.duplicated += sum(n - 1 for (_, label), n in effects.items() if label not in calls)
        figures.keys += self.changed_keys()

    def is_done(self) -> bool:
        return not FlowRun.objects.live().exists()

    def check_complete(self, figures: Figures) -> None:
        """Count the runs that are not complete as lost."""
        others = FlowRun.objects.exclude(outcome=Outcome.COMPLETE).count()
        if others:
            figures.lost += others
            figures.note += f"not complete: {self.describe_runs()} "

    def check_once(self, figures: Figures, runs: Iterable[FlowRun], *labels: str) -> None:
        """Count the database effects that are missing, and those that are there too often."""
        effects = self.effects()
        for run in runs:
            for label in labels:
                count = effects[str(run.uuid), label]
                figures.lost += count == 0
                figures.duplicated += max(0, count - 1)

    def changed_keys(self, using: str | None = None) -> int:
        """Count the steps that were made with several keys, and the keys of several steps."""
        effects = Effect.objects.using(using)
        of_step = effects.values("run", "label").annotate(
            found=Count("idempotency_key", distinct=True)
        )
        of_key = effects.values("idempotency_key").annotate(found=Count("label", distinct=True))
        several = (of_step.filter(found__gt=1).count(), of_key.filter(found__gt=1).count())
        return sum(several)


def labels_of(document: Document, action: str = "") -> list[str]:
    """Return the labels of a flow's steps."""
    steps = [one for one in document.steps if "label" in one.config]
    return [str(one.config["label"]) for one in steps if action in ("", one.action)]


def write(label: str, **config: Any) -> Step:
    return step("effects.write", label=label, **config)


def call(label: str, **config: Any) -> Step:
    return step("effects.call", label=label, **config)


def six_steps(calls: float, writes: float, **options: Any) -> Document:
    """Return the flow of the storms: calls outside and effects in the database, and their times."""
    return flow(
        call("a", linger=calls, **options),
        write("b", linger=writes, **options),
        write("c", linger=writes, **options),
        call("d", linger=calls, **options),
        write("e", linger=writes, **options),
        write("f", linger=writes, **options),
    )


def create_runs(count: int, key: str = "flow", **fields: Any) -> list[FlowRun]:
    """Create runs that become visible, and due, all at once."""
    with transaction.atomic():
        return [create_flowrun(key, **fields) for _ in range(count)]


def times(number: int, seconds: float, chance: random.Random) -> list[float]:
    """Return random monotonic times within the next seconds, in order."""
    now = time.monotonic()
    return sorted(now + chance.uniform(0, seconds) for _ in range(number))
