"""F24: a second database goes away while steps ask it, among good runs."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.db import connections

from chaos import proxy
from chaos.camp import Camp, call, create_runs, write
from chaos.hosts import free_port
from chaos.network import be_quick
from chaos.processes import Forked
from chaos.proxy import Chances
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.models import FlowRun, Outcome, RunEvent
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.databases import Database, database_settings, scratch_database
from tests.effects.elsewhere import ARCHIVE
from tests.effects.models import Effect

#: How a site bounds what its other database may take, in seconds.
OPTIONS: dict[Database, dict[str, Any]] = {
    Database.SQLITE_FILE: {"timeout": 0.3},
    Database.POSTGRESQL: {"connect_timeout": 2, "options": "-c lock_timeout=300"},
    Database.MARIADB: {
        "charset": "utf8mb4",
        "connect_timeout": 1,
        "init_command": "SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1",
    },
}
WORKERS = 3
#: Fewer than there are workers: each may have to wait for its time-out.
ASKING = 2
COPIED = ("ask", "copy")
RETRY = {"attempts": 1_000, "backoff": 0.2, "factor": 1}
Outage = Callable[["Second"], AbstractContextManager[None]]


def name_database(alias: str, settings: dict[str, Any]) -> None:
    """Have this process know a database by an alias, as from ``DATABASES``."""
    connections.settings[alias] = {**connections.settings["default"], **settings}


class Second:
    """The second database: the workers reach its server through a process that may go away."""

    def __init__(self, camp: Camp, name: str) -> None:
        self.camp, self.name = camp, name
        kind = camp.scratch.database
        self.direct = database_settings(kind, name)
        self.settings = {**self.direct, "OPTIONS": OPTIONS[kind]}
        self.between: Forked | None = None
        if camp.is_sqlite:
            # With a journal that every write has to create.
            self.direct = self.settings
        else:
            self.settings["PORT"] = str(free_port())

    def open(self) -> None:
        """Let clients through to the server."""
        if self.camp.is_sqlite:
            return
        host, port = self.direct["HOST"], int(self.direct["PORT"])
        serve = partial(proxy.serve, host, port, Chances(), int(self.settings["PORT"]))
        between = self.between = self.camp.fork(serve)
        self.camp.wait_for(lambda: proxy.LISTENING in between.output, between)

    def shut(self) -> None:
        """Hang up on all clients, and refuse others."""
        assert self.between is not None
        self.between.signal(signal.SIGKILL)
        self.between.exit_status()


@contextmanager
def second_database(camp: Camp) -> Iterator[Second]:
    """Create a second database beside the first, which has a table for effects."""
    kind = camp.scratch.database
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_database(kind, Path(folder) / "site", label=ARCHIVE) as scratch,
    ):
        (Path(folder) / "site").mkdir()
        second = Second(camp, scratch.name)
        name_database(ARCHIVE, second.direct)
        try:
            with connections[ARCHIVE].schema_editor() as editor:
                editor.create_model(Effect)
            connections[ARCHIVE].close()
            second.open()
            yield second
        finally:
            camp.end_processes()
            connections[ARCHIVE].close()
            del connections[ARCHIVE], connections.settings[ARCHIVE]


@contextmanager
def down(second: Second) -> Iterator[None]:
    """Its server ends, and hangs up on those that are connected."""
    second.shut()
    yield
    second.open()


@contextmanager
def silent(second: Second) -> Iterator[None]:
    """Its server accepts connections, and answers nothing."""
    second.shut()
    second.open()
    assert second.between is not None
    second.between.signal(signal.SIGSTOP)
    yield
    second.between.signal(signal.SIGCONT)


@contextmanager
def locked(_: Second) -> Iterator[None]:
    """Another session has locked its table: an error in the words of the runs' own database."""
    database = connections[ARCHIVE]
    table = Effect._meta.db_table
    with database.cursor() as cursor:
        if database.vendor == "mysql":
            cursor.execute(f"LOCK TABLES {table} WRITE")
        else:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        cursor.execute("UNLOCK TABLES" if database.vendor == "mysql" else "ROLLBACK")
    database.close()


@contextmanager
def gone_file(second: Second) -> Iterator[None]:
    """The folder of the file is not mounted any more."""
    folder = Path(second.name).parent
    shutil.move(folder, f"{folder}.away")
    yield
    shutil.move(f"{folder}.away", folder)


@contextmanager
def locked_file(second: Second) -> Iterator[None]:
    with closing(sqlite3.connect(second.name, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


OUTAGES: dict[Database, tuple[Outage, ...]] = {
    Database.SQLITE_FILE: (gone_file, locked_file),
    Database.POSTGRESQL: (down, silent, locked),
    Database.MARIADB: (down, silent, locked),
}


@fault("F24", "a second database is away while steps ask it")
def lose_second(camp: Camp, figures: Figures) -> None:
    with second_database(camp) as second:
        ask = step("effects.ask", label="ask", retry=RETRY)
        copy = step("effects.copy", label="copy", retry=RETRY)
        publish_flow(flow(ask, copy, write("then")), key="asking")
        publish_flow(flow(copy, ask, write("then")), key="copying")
        publish_flow(flow(call("a"), write("b"), write("c")), key="good")
        change = partial(name_database, ARCHIVE, second.settings)
        workers = camp.fork_workers(WORKERS, be_quick, change, LEASE=10, STEP_TIMEOUT=10)
        # From now on the workers have sessions there.
        asking = create_runs(2 * WORKERS, "asking")
        camp.wait_until_done(*workers)
        good: list[FlowRun] = []
        longest = 0.0
        outages = OUTAGES[camp.scratch.database]
        for outage in outages:
            with outage(second):
                asking += create_runs(1, "asking") + create_runs(ASKING - 1, "copying")
                new = create_runs(camp.dose.pick(300, 20, 10), "good")
                longest = max(longest, wait_for_good(camp, new, workers))
            camp.wait_until_done(*workers)
            good += new
        figures.promise(not any(worker.has_ended() for worker in workers), "a worker has ended")
        camp.stop(*workers)
        figures.runs, figures.kills = len(good) + len(asking), len(outages)
        check(camp, figures, good, asking)
        names = ", ".join(outage.__name__.replace("_", " ") for outage in outages)
        figures.note += f"{names}; good runs took {longest:.1f} s at most meanwhile"


def check(camp: Camp, figures: Figures, good: list[FlowRun], asking: list[FlowRun]) -> None:
    """Count what is lost or there too often, here and in the second database.

    There it may be more than once, with the same key.
    """
    camp.check_complete(figures)
    camp.check_once(figures, good, "a", "b", "c")
    camp.check_once(figures, asking, "copy", "then")
    here, there = camp.effects(), set(Effect.objects.using(ARCHIVE).values_list("run", "label"))
    figures.lost += sum(not here[str(run.uuid), "ask"] for run in asking)
    figures.lost += sum((run.uuid, label) not in there for run in asking for label in COPIED)
    harmed = RunEvent.objects.filter(run__in=good, kind__in=["failed", "recovered"])
    figures.promise(not harmed.exists(), f"{harmed.count()} good runs failed or began again")
    figures.keys += camp.changed_keys() + camp.changed_keys(ARCHIVE)


def wait_for_good(camp: Camp, good: list[FlowRun], workers: list[Forked]) -> float:
    """Wait until good runs are done, and the others have failed; return how long the good took."""
    begun = time.monotonic()
    ids = [run.pk for run in good]
    done = FlowRun.objects.filter(pk__in=ids, outcome=Outcome.COMPLETE)
    camp.wait_for(lambda: done.count() == len(ids), *workers)
    seconds = time.monotonic() - begun
    retried = RunEvent.objects.filter(code="step_retried", run__in=FlowRun.objects.live())
    camp.wait_for(lambda: retried.values("run").distinct().count() == ASKING, *workers)
    return seconds
