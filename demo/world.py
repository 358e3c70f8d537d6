"""The world of the story: the site's database and flows, its staff, and the time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import setup_test_environment, teardown_test_environment
from django.utils import timezone

from flowcontrol import flows
from flowcontrol.engine import continue_flowruns
from flowcontrol.testing import ManualClock, manual_clock
from flowcontrol_core.models import Flow, FlowRun

FLOWS = Path(__file__).resolve().parent / "flows"
_MOST_SWEEPS = 2_000


@dataclass
class World:
    """Everything that the story happens in, and what is counted meanwhile."""

    clock: ManualClock
    tell: Callable[[str], None]
    queries: int = 0
    sweeps: int = 0
    diary: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Tell what happens, with the time in the shop's time zone."""
        line = f"{timezone.localtime(self.clock.now()):%a %d %b %H:%M}  {sentence}"
        self.diary.append(line)
        self.tell(line)

    def pass_time(self, **parts: float) -> None:
        """Let time pass (``days=1, hours=2``), with the periodic task once a minute.

        The minutes in which nothing is due are skipped.
        """
        until = self.clock.now() + timedelta(**parts)
        for _ in range(_MOST_SWEEPS):
            due = _next_due()
            if due is None or due > until:
                self.clock.set(until)
                return
            self.clock.set(max(due, self.clock.now()))
            continue_flowruns()
            self.sweeps += 1
        raise AssertionError(f"Something is due again and again at {self.clock.now()}.")


def _next_due() -> datetime | None:
    """Give the full minute in which the next run is due."""
    runs = FlowRun.objects.live().filter(due_at__isnull=False).order_by("due_at")
    moment = runs.values_list("due_at", flat=True).first()
    if moment is None:
        return None
    return datetime.fromtimestamp(math.ceil(moment.timestamp() / 60) * 60, UTC)


@contextmanager
def open_world(start: datetime, tell: Callable[[str], None]) -> Iterator[World]:
    """Hold the clock of Flowcontrol and Django's own, and keep the e-mails in memory."""
    setup_test_environment()
    try:
        with manual_clock(start) as clock, mock.patch.object(timezone, "now", clock.now):
            world = World(clock, tell)
            with connection.execute_wrapper(_counter(world)):
                yield world
    finally:
        teardown_test_environment()


def _counter(world: World) -> Callable[..., Any]:
    def count(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        world.queries += 1
        return execute(sql, params, many, context)

    return count


def build(folder: Path) -> None:
    """Make the database anew in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("demo.sqlite3*"):
        path.unlink()
    shutil.rmtree(folder / "mail", ignore_errors=True)
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("admin", "admin@paper-and-ink.example", "admin")


def load_flows() -> list[Flow]:
    """Import the flows of the YAML files; publish and activate them once all are there."""
    results = []
    for path in sorted(FLOWS.glob("*.yaml")):
        results += flows.import_flows(path.read_text(encoding="utf-8"))
    for result in results:
        flows.publish(result.flow)
        flows.activate(result.flow)
    flows.deactivate(Flow.objects.get(key="customer-survey"))
    return [result.flow for result in results]
