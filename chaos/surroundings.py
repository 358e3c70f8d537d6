"""The surroundings of a site: what stands between it and its database, and beside it.

F22 a connection pool of exactly the documented size; F23 pgbouncer in transaction mode.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from django.db import connections

from chaos.camp import Camp, call, create_runs, six_steps, write
from chaos.network import go_through
from chaos.pgbouncer import PgBouncer
from chaos.processes import report_nothing
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.management.worker import stopping_on_signals, work
from flowcontrol_core.testing.builder import flow
from flowcontrol_core.testing.helpers import publish_flow
from tests.databases import Database
from tests.effects.models import Effect

THREADS = 3
#: A step may take longer than a lease: the heartbeat extends it.
PATIENT: dict[str, Any] = {"STEP_TIMEOUT": 60.0}


def use_database(**settings: Any) -> None:
    """Have this process reach its database in another way."""
    connections.settings["default"].update(settings)


def be_threaded_worker(threads: int) -> None:
    """Do what ``manage.py flowcontrol worker --concurrency`` does."""
    with stopping_on_signals():
        work(interval=0.02, concurrency=threads, report=report_nothing)


def be_pooled_worker() -> None:
    pool = {"min_size": 0, "max_size": THREADS + 1, "timeout": 5}
    use_database(OPTIONS={"pool": pool})
    be_threaded_worker(THREADS)


@fault("F22", "connection pool of exactly the documented size", databases=(Database.POSTGRESQL,))
def fill_pool(camp: Camp, figures: Figures) -> None:
    """Calls outlast their leases: were one not extended, its call would be made twice."""
    document = flow(call("a", linger=1.5), write("b"))
    publish_flow(document)
    workers = [camp.fork(be_pooled_worker, **PATIENT) for _ in range(2)]
    runs = create_runs(camp.dose.pick(120, 12, 12))
    camp.wait_until_done(*workers)
    camp.stop(*workers)
    camp.audit(figures, runs, document)
    again = Effect.objects.filter(attempt__gt=1).count()
    figures.promise(not again, f"{again} calls were made again")
    refused = sum(worker.output.count("gets no connection") for worker in workers)
    figures.promise(not refused, f"{refused} times without a connection for the heartbeat")
    figures.note = f"2 processes, {THREADS} threads and {THREADS + 1} connections each"


@fault("F23", "pgbouncer in transaction mode, and its restart", databases=(Database.POSTGRESQL,))
def share_sessions(camp: Camp, figures: Figures) -> None:
    """Three workers with their heartbeats share fewer sessions of the server than they are."""
    if why := PgBouncer.why_not():
        camp.leave_out(figures, "pgbouncer", why)
        return
    document = six_steps(0.02, 0.01)
    publish_flow(document)
    bouncer = camp.servers.get(PgBouncer)
    workers = camp.fork_workers(THREADS, partial(go_through_pgbouncer, bouncer.port), **PATIENT)
    runs = create_runs(camp.dose.pick(500, 30, 30))
    camp.wait_for(lambda: Effect.objects.count() > len(runs), *workers)
    sessions = count_sessions()
    figures.promise(0 < sessions <= bouncer.size, f"{sessions} sessions for {bouncer.size}")
    bouncer.stop()
    bouncer.start()
    figures.kills = 1
    camp.wait_until_done(*workers)
    camp.stop(*workers)
    camp.audit(figures, runs, document)
    figures.note += f"{sessions} sessions for {THREADS} workers and their heartbeats"


def go_through_pgbouncer(port: int) -> None:
    # pgbouncer refuses what is to be set for a session.
    os.environ.pop("PGOPTIONS", None)
    use_database(DISABLE_SERVER_SIDE_CURSORS=True)
    go_through(str(port))


def count_sessions() -> int:
    """Return how many sessions others have with the database."""
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])
