"""F19: the database is locked, can only be read, or has no room left, for some seconds."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager

from django.db import connections, transaction

from chaos.camp import Camp, create_runs, six_steps
from chaos.registry import fault
from chaos.results import Figures
from chaos.servers import MariaDB
from flowcontrol_core.models import FlowRun
from flowcontrol_core.testing.helpers import publish_flow
from tests.databases import Database
from tests.effects.models import Effect

TABLE = FlowRun._meta.db_table


def be_impatient() -> None:
    """Have this process wait for a lock for half a second, or one on MariaDB."""
    settings = connections.settings["default"]
    options = settings.setdefault("OPTIONS", {})
    engine = settings["ENGINE"]
    if engine.endswith("sqlite3"):
        options["timeout"] = 0.5
    elif engine.endswith("mysql"):
        options["init_command"] = (
            "SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1"
        )
    else:
        options["options"] = "-c lock_timeout=500"


@contextmanager
def lock_sqlite(camp: Camp) -> Iterator[None]:
    connections.close_all()
    with closing(sqlite3.connect(camp.scratch.name, timeout=20, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def lock_postgresql(_camp: Camp) -> Iterator[None]:
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def read_only_postgresql(camp: Camp) -> Iterator[None]:
    """As after a fail-over to a standby: all are thrown out and may only read then."""
    name = camp.scratch.name
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        camp.kill_connections()
        yield
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    camp.kill_connections()


@contextmanager
def full_disk_sqlite(camp: Camp) -> Iterator[None]:
    """Have the system refuse all that the workers write, as where there is no room left."""
    pids = [process.pid for process in camp.processes]
    no_room = (0, resource.RLIM_INFINITY)
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE, no_room) for pid in pids]
    yield
    for pid, limits in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only_mariadb(camp: Camp) -> Iterator[None]:
    """As on a replica: the account of a site is none of those that may write nevertheless."""
    server = camp.servers.get(MariaDB)
    server.execute("SET GLOBAL read_only = 1")
    yield
    server.execute("SET GLOBAL read_only = 0")


@contextmanager
def lock_mariadb(_camp: Camp) -> Iterator[None]:
    with connections["default"].cursor() as cursor:
        cursor.execute(f"LOCK TABLES {TABLE} WRITE")
        yield
        cursor.execute("UNLOCK TABLES")


LOCKS: dict[Database, list[Callable[[Camp], AbstractContextManager[None]]]] = {
    Database.SQLITE_FILE: [lock_sqlite, full_disk_sqlite],
    Database.POSTGRESQL: [lock_postgresql, read_only_postgresql],
    Database.MARIADB: [lock_mariadb, read_only_mariadb],
}


def effects_now() -> int:
    """Count over a connection of its own: a thread has one, and this process's may hold a lock."""

    def count() -> int:
        try:
            return Effect.objects.count()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as other:
        return other.submit(count).result()


@fault("F19", "database locked, read-only or full for a while")
def lock(camp: Camp, figures: Figures) -> None:
    document = six_steps(0.02, 0.01)
    publish_flow(document)
    workers = camp.fork_workers(3, be_impatient)
    runs = create_runs(camp.dose.pick(200, 60, 40))
    seconds = camp.dose.pick(30, 2, 2)
    issues = LOCKS[camp.scratch.database]
    if camp.scratch.database is Database.MARIADB and camp.server is None:
        camp.leave_out(figures, "read only", MariaDB.why_not())
        issues = [lock_mariadb]
    for enter in issues:
        seen = Effect.objects.count()
        camp.wait_for(lambda: Effect.objects.count() > seen + 20, *workers)  # noqa: B023
        with enter(camp):
            # Inside: a server needs a while to change, and the workers go on until it has.
            before = effects_now()
            time.sleep(seconds)
            made = effects_now() - before
        # What each worker was about to do.
        figures.promise(made <= len(workers), f"{made} effects during {enter.__name__}")
    camp.wait_until_done(*workers)
    figures.promise(not any(worker.has_ended() for worker in workers), "a worker has ended")
    camp.stop(*workers)
    camp.audit(figures, runs, document)
    names = [enter.__name__.rpartition("_")[0].replace("_", " ") for enter in issues]
    figures.note += f"{', '.join(names)}, {seconds} s each"
