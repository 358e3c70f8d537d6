"""F25: the site reads from a replica that is late, and writes to the primary."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connections, router, transaction

from chaos.camp import Camp, call, write
from chaos.registry import fault
from chaos.results import Figures
from chaos.second_database import name_database
from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import FlowRun, Outcome
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests import operate
from tests.databases import Database
from tests.effects.actions import TOLD
from tests.shop.models import Customer

REPLICA, STAGE = "flowcontrol_replica", "flowcontrol_stage"
#: The replica shows what was this many seconds ago, or twice as many: longer than a lease.
LATE = 1.0
SETTINGS: dict[str, Any] = {"STEP_TIMEOUT": 3.0}
#: It refuses to write, as the replica of a server does.
OPTIONS: dict[Database, dict[str, Any]] = {
    Database.SQLITE_FILE: {"init_command": "PRAGMA query_only = ON", "timeout": 20},
    Database.POSTGRESQL: {
        "options": f"-c search_path={REPLICA} -c default_transaction_read_only=on"
    },
    Database.MARIADB: {
        "charset": "utf8mb4",
        "init_command": "SET SESSION TRANSACTION READ ONLY",
    },
}


class Replicated:
    """The router that each guide to replicas shows."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "replica" if model._meta.app_label in LABELS else None

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return "default" if model._meta.app_label in LABELS else None


LABELS = ("flowcontrol_core", "effects", "shop")


def read_from_replica(settings: dict[str, Any]) -> None:
    """Have this process read from the replica, and write to the primary."""
    name_database("replica", settings)
    router.routers = [Replicated()]


class Replica:
    """Copies of all tables beside them: of some time ago, and of what they will be."""

    def __init__(self, camp: Camp) -> None:
        self.kind = camp.scratch.database
        self.file = Path(camp.scratch.name)
        self.settings: dict[str, Any] = {"OPTIONS": OPTIONS[self.kind]}
        if self.kind is Database.SQLITE_FILE:
            self.settings["NAME"] = str(self._file(REPLICA))
        elif self.kind is Database.MARIADB:
            self.settings["NAME"] = REPLICA

    def _file(self, name: str) -> Path:
        return self.file.with_name(f"{name}.sqlite3")

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the copies, empty ones; drop them at the end."""
        self.drop()
        self.attach()
        for name in (REPLICA, STAGE):
            if self.kind is Database.POSTGRESQL:
                self.execute(f"CREATE SCHEMA {name}")
            elif self.kind is Database.MARIADB:
                self.execute(f"CREATE DATABASE {name}")
            for table in tables():
                self.execute(f"CREATE TABLE {name}.{table} AS SELECT * FROM {table} WHERE 1 = 0")
        connections["default"].close()
        try:
            yield
        finally:
            self.drop()

    def drop(self) -> None:
        connections["default"].close()
        for name in (REPLICA, STAGE):
            if self.kind is Database.POSTGRESQL:
                self.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            elif self.kind is Database.MARIADB:
                self.execute(f"DROP DATABASE IF EXISTS {name}")
            else:
                self._file(name).unlink(missing_ok=True)

    def attach(self) -> None:
        if self.kind is Database.SQLITE_FILE:
            for name in (REPLICA, STAGE):
                self.execute(f"ATTACH DATABASE '{self._file(name)}' AS {name}")

    def execute(self, sql: str) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql)

    def keep_late(self) -> None:
        """Copy all tables again and again, until killed."""
        self.attach()
        while True:
            self.copy(f"{STAGE}.", f"{REPLICA}.")
            self.copy("", f"{STAGE}.")
            time.sleep(LATE)

    def copy(self, source: str, target: str) -> None:
        with transaction.atomic():
            for table in tables():
                self.execute(f"DELETE FROM {target}{table}")
                self.execute(f"INSERT INTO {target}{table} SELECT * FROM {source}{table}")


def tables() -> list[str]:
    return [
        model._meta.db_table
        for label in LABELS
        for model in apps.get_app_config(label).get_models()
    ]


#: What becomes of the customers of the site: each is new, and renamed.
FATES = ("told", "canceled", "paused", "deleted", "twice")


def be_site(count: int, number: int) -> None:
    """Start runs and what they wait for, at once: nothing of it is in the replica."""
    for turn in range(count):
        fate = FATES[(turn + number) % len(FATES)]
        customer = Customer.objects.create(name="old", email=fate)
        Customer.objects.filter(pk=customer.pk).update(name="new")
        later = clock().now() + timedelta(seconds=LATE / 2)
        run = create_flowrun("flow", customer, at=later if fate == "deleted" else None)
        if fate == "deleted":
            customer.delete()
            continue
        if fate == "canceled":
            operate.cancel(run)
        elif fate == "paused":
            operate.pause(run)
            operate.resume(run)
        elif fate == "twice":
            # One too many, which is refused now or when it is to begin.
            with suppress(NotStartedError):
                create_flowrun("flow", customer)
        TOLD.fire(customer)


@fault("F25", "a replica that is late is read from")
def read_what_was(camp: Camp, figures: Figures) -> None:
    replica = Replica(camp)
    with replica.made():
        try:
            run_site(camp, figures, replica)
        finally:
            camp.end_processes()


def run_site(camp: Camp, figures: Figures, replica: Replica) -> None:
    copier = camp.fork(replica.keep_late)
    reads = partial(read_from_replica, replica.settings)
    workers = camp.fork_workers(3, reads, **SETTINGS)
    publish_flow(flow(write("child"), object="shop.customer"), key="child")
    publish_flow(flow(write("started")), key="started").flow_triggers.create(trigger=TOLD.key)
    publish_flow(
        flow(
            write("a"),
            step("builtin.if", condition="object.name == 'new'", then=[write("new")]),
            call("b"),
            step("effects.listen"),
            step("builtin.start_flow", flow="child", wait=True),
            write("c"),
            object="shop.customer",
            guard="object.name == 'new'",
        ),
        max_per_object=1,
    )
    processes = 2
    count = camp.dose.pick(400, 30, 15) // processes
    sites = [camp.fork(partial(start, reads, count, number)) for number in range(processes)]
    kills = camp.dose.pick(10, 2, 1)
    for turn in range(kills):
        wanted = processes * count * (turn + 1) / (kills + 1)
        camp.wait_for(lambda: FlowRun.objects.count() > wanted, copier)  # noqa: B023
        victim = camp.random.choice(workers)
        victim.signal(signal.SIGKILL)
        victim.exit_status()
        figures.kills += 1
        workers[workers.index(victim)] = camp.fork_worker(reads, **SETTINGS)
    for site in sites:
        figures.promise(site.exit_status() == 0, f"the site has failed: {site.output[-300:]}")
    camp.wait_until_done(*workers, copier)
    camp.stop(*workers)
    check(camp, figures)


def start(reads: Any, count: int, number: int) -> None:
    reads()
    be_site(count, number)


def check(camp: Camp, figures: Figures) -> None:
    runs = list(FlowRun.objects.select_related("flow"))
    fates = dict(Customer.objects.values_list("pk", "email"))
    figures.runs = len(runs)
    by_fate: dict[str, list[FlowRun]] = {fate: [] for fate in FATES}
    for run in runs:
        if run.flow.key == "flow" and run.reason_code != "limit":
            by_fate[fates.get(int(run.object_key or 0), "deleted")].append(run)
    wanted = {"canceled": Outcome.CANCELED, "deleted": Outcome.OBSOLETE}
    for fate, found in by_fate.items():
        wrong = [run for run in found if run.outcome != wanted.get(fate, Outcome.COMPLETE)]
        figures.lost += len(wrong)
        reasons = [(run.outcome, run.reason_code, run.reason) for run in wrong]
        figures.promise(not wrong, f"{fate}: {reasons}")
    keys = [run.object_key for run in by_fate["twice"]]
    customers = sum(fate == "twice" for fate in fates.values())
    figures.lost += customers - len(set(keys))
    figures.duplicated += len(keys) - len(set(keys))
    done = [run for fate in ("told", "paused", "twice") for run in by_fate[fate]]
    camp.check_once(figures, done, "a", "new", "c")
    effects = camp.effects()
    figures.lost += sum(not effects[str(run.uuid), "b"] for run in done)
    camp.check_once(figures, [run for run in runs if run.flow.key == "child"], "child")
    camp.check_once(figures, [run for run in runs if run.flow.key == "started"], "started")
    children = sum(run.flow.key == "child" for run in runs)
    figures.promise(children == len(done), f"{children} children of {len(done)} runs")
    told = sum(run.flow.key == "started" for run in runs)
    figures.lost += max(0, len(done) + len(by_fate["canceled"]) - told)
    left = sum(effects[str(run.uuid), "a"] for run in by_fate["deleted"])
    figures.promise(not left, f"{left} effects for objects that were deleted")
    figures.keys += camp.changed_keys()
    figures.note += f"{LATE:.0f} to {2 * LATE:.0f} s late; " + ", ".join(
        f"{len(found)} {fate}" for fate, found in by_fate.items()
    )
