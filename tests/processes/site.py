"""A site of real processes: its database, its workers, and what they did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.db import connections
from django.db.utils import ConnectionHandler

from flowcontrol_core.models import (
    ConsumedSlot,
    Flow,
    FlowEdit,
    FlowRun,
    FlowTrigger,
    FlowVersion,
    Handout,
    Message,
    RunEvent,
    Status,
    TriggerEvent,
)
from tests.databases import Database, ScratchDatabase, database_settings
from tests.effects.models import Effect
from tests.shop.models import Customer

#: The longest time in seconds that a test waits for anything: a failure, not a duration.
PATIENCE = 40.0
#: Short leases, so that what a dead worker had is due again soon.
SETTINGS = {"LEASE": 1, "STEP_TIMEOUT": 1, "CLAIM_BATCH": 10}


class Process(ABC):
    """A process of the site. What it writes goes to a file, which a failed wait shows."""

    pid: int

    def __init__(self) -> None:
        self._output: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by ``end``

    @property
    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Return whether SIGSTOP has taken effect."""
        options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    @abstractmethod
    def has_ended(self) -> bool:
        """Return whether the process has ended."""

    @abstractmethod
    def exit_status(self) -> int:
        """Return the status with which the process ended; negative for a signal."""

    @abstractmethod
    def end(self) -> None:
        """Kill the process and forget what it wrote."""


class Worker(Process):
    """A Python of its own, with arguments."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        super().__init__()
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self.process.pid

    def say(self, line: str) -> None:
        """Write a line to the process's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def exit_status(self) -> int:
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._output.close()


class Site:
    """Processes on one database, and the eyes of the test on it.

    Within ``connected`` the ORM and the engine of the test's own process use that database.
    """

    def __init__(self, scratch: ScratchDatabase) -> None:
        self.scratch = scratch
        self.processes: list[Process] = []

    def environment(self, **settings: Any) -> dict[str, str]:
        return self.scratch.environment | {
            "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
            "FLOWCONTROL_TEST_SETTINGS": json.dumps(SETTINGS | settings),
            # Processes are killed here, not the server: nothing has to wait for its disk.
            "PGOPTIONS": "-c synchronous_commit=off",
        }

    def migrate(self) -> None:
        arguments = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"]
        subprocess.run(arguments, env=self.environment(), check=True)

    def start(self, *arguments: str, **settings: Any) -> Worker:
        """Start Python with arguments, and with settings beside SETTINGS."""
        worker = Worker(arguments, self.environment(**settings))
        self.processes.append(worker)
        return worker

    def start_worker(self, **settings: Any) -> Worker:
        """Start ``manage.py flowcontrol worker``."""
        return self.start("-m", "django", "flowcontrol", "worker", "--interval=0.05", **settings)

    def start_workers(self, count: int, **settings: Any) -> list[Worker]:
        """Start workers and wait until all of them are sweeping."""
        workers = [self.start_worker(**settings) for _ in range(count)]
        for worker in workers:
            self.wait_for(lambda: "has started" in worker.output, worker)  # noqa: B023
        return workers

    def wait_for(self, condition: Callable[[], object], *workers: Process) -> None:
        """Wait until a condition holds; fails, with the output of the workers, if it never does.

        The workers named have to be alive meanwhile.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            dead = [worker for worker in workers if worker.has_ended()]
            if dead or time.monotonic() > deadline:
                what = f"{len(dead)} workers have died" if dead else "it took too long"
                outputs = "\n---\n".join(worker.output for worker in self.processes)
                raise AssertionError(f"{what}; runs: {self.describe_runs()}\n{outputs}")
            time.sleep(0.02)

    def wait_until_done(self, *workers: Process) -> None:
        """Wait until all runs have ended; fails if for a long time none does."""
        live = FlowRun.objects.live()
        while left := live.count():
            self.wait_for(lambda: live.count() < left, *workers)

    def wait_for_status(self, status: Status, count: int, *workers: Process) -> None:
        runs = FlowRun.objects.filter(status=status)
        self.wait_for(lambda: runs.count() == count, *workers)

    def describe_runs(self) -> str:
        rows = FlowRun.objects.values_list("status", "outcome", "attempt", "reason_code")
        return str(Counter(rows).most_common(10))

    def effects(self) -> Counter[tuple[str, str]]:
        """Count the effects by run and label."""
        rows = Effect.objects.values_list("run", "label")
        return Counter((str(run), label) for run, label in rows)

    def end_processes(self) -> None:
        for process in self.processes:
            process.end()
        self.processes = []

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Put the connection to the site's database in the place of the default one."""
        before = connections["default"]
        settings = database_settings(self.scratch.database, self.scratch.name)
        connections["default"] = ConnectionHandler({"default": settings})["default"]
        try:
            forget_database()
            yield
        finally:
            connections["default"].close()
            connections["default"] = before
            forget_database()

    def clear(self) -> None:
        """Delete all rows that tests make."""
        Flow.objects.update(published=None)
        for model in (
            *(Effect, Message, RunEvent, TriggerEvent, ConsumedSlot, Handout),
            *(FlowRun, FlowTrigger, FlowVersion, FlowEdit, Flow, Customer),
        ):
            manager: Any = model._base_manager
            manager.all()._raw_delete(using="default")

    def kill_connections(self) -> None:
        """Have the database server hang up on all other processes."""
        with connections["default"].cursor() as cursor:
            if self.scratch.database is Database.POSTGRESQL:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                return
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {number}")


def forget_database() -> None:
    """Forget what this process remembers of the rows of another database."""
