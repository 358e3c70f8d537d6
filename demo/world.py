"""The world of the story: the database of the site, its flows, and the time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import ManualClock, manual_clock

FLOWS = Path(__file__).resolve().parent / "flows"
_MOST_SWEEPS = 2_000


@dataclass
class World:
    """The place of the story; it counts queries and sweeps."""

    clock: ManualClock
    output: Callable[[str], None]
    queries: int = 0
    sweeps: int = 0

    def narrate(self, sentence: str) -> None:
        """Output a sentence of the story with the time in the time zone of the shop."""
        self.output(f"{timezone.localtime(self.clock.now()):%a %d %b %H:%M}  {sentence}")

    def pass_time(self, **parts: float) -> None:
        """Advance the clock (``days=1, hours=2``), with a sweep in each minute with due runs."""
        until = self.clock.now() + timedelta(**parts)
        for _ in range(_MOST_SWEEPS):
            due = _next_due()
            if due is None or due > until:
                self.clock.set(until)
                return
            self.clock.set(max(due, self.clock.now()))
            continue_flowruns()
            self.sweeps += 1
        raise AssertionError(f"Runs are still due after {_MOST_SWEEPS} sweeps.")


def _next_due() -> datetime | None:
    """Return the full minute in which the next run is due."""
    runs = FlowRun.objects.live().filter(due_at__isnull=False).order_by("due_at")
    due = runs.values_list("due_at", flat=True).first()
    if due is None:
        return None
    return datetime.fromtimestamp(math.ceil(due.timestamp() / 60) * 60, UTC)


@contextmanager
def open_world(start: datetime, output: Callable[[str], None]) -> Iterator[World]:
    """Control the clocks of Flowcontrol and Django, and collect e-mails in memory."""
    setup_test_environment()
    try:
        with manual_clock(start) as clock, mock.patch.object(timezone, "now", clock.now):
            world = World(clock, output)
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
    """Create the database anew in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("demo.sqlite3*"):
        path.unlink()
    shutil.rmtree(folder / "mail", ignore_errors=True)
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("admin", "admin@paper-and-ink.example", "admin")


def load_flows() -> list[Flow]:
    """Import the flows of the YAML files, then publish and activate them."""
    results = []
    for path in sorted(FLOWS.glob("*.yaml")):
        results += flows.import_flows(path.read_text(encoding="utf-8"))
    for result in results:
        flows.publish(result.flow)
        flows.activate(result.flow)
    flows.deactivate(Flow.objects.get(key="customer-survey"))
    return [result.flow for result in results]
