"""W5 and W5o: polling, and starting runs for an object, on a table as after years of work."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from figures import median, report, statements

from flowcontrol.engine import continue_flowruns, start_flowrun
from flowcontrol.health import check_health
from flowcontrol.models import Flow, FlowRun, Status
from flowcontrol.runs import prune
from flowcontrol.testing import flow, publish_flow, step
from tests.many_runs import analyze, fill
from tests.plans import plan, reading
from tests.shop.models import Customer

#: The waiting runs, a fifth of each kind; ten times as many have finished. Other databases than
#: PostgreSQL would take minutes to fill the table; their figures are for comparison only.
WAITING = 100_000 if connection.vendor == "postgresql" else 10_000
LIMITS = {"max_concurrent": 10, "max_concurrent_per_object": 10, "max_per_object": 100}


def timed(name: str, work: Callable[[], object], times: int = 100) -> list[str]:
    """Report the duration of a piece of work; return its statements."""
    work()
    sent = statements(work)
    report(name, f"{median(work, times):8.2f} ms, {len(sent)} statements")
    return sent


def measure_large_table() -> None:
    """Fill the table and measure on it, with outdated statistics and with current ones."""
    step_of_state = step("builtin.update_state", state={"a": 1}, evaluate=False)
    made = publish_flow(flow(step_of_state), key="w5", **LIMITS)
    ada, bob = (Customer.objects.create(name=name) for name in ("Ada", "Bob"))
    fill(
        made,
        timezone.now(),
        waiting=WAITING // 5,
        finished=8 * WAITING,
        of_object={ada: 2 * WAITING},
    )
    report("W5 the table", f"{WAITING:,} runs wait, {10 * WAITING:,} have finished")
    timed("W5 an idle sweep, statistics of an empty table", continue_flowruns)
    analyze()
    timed("W5 an idle sweep, current statistics", continue_flowruns)
    FlowRun.objects.filter(status=Status.BLOCKED).update(blocked_on="")
    queries = timed("W5 an idle sweep, nothing blocked", continue_flowruns)
    show_plan(queries[0])
    measure_object(made, ada, bob)
    timed("W5 health", check_health, 10)
    timed("W5 pruning, nothing to prune", prune, 10)
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    page = partial(client.get, reverse("admin:flowcontrol_core_flowrun_changelist"))
    timed("W5 the list of runs in the admin", page, 10)


def show_plan(question: str) -> None:
    """Report how the database answers a query."""
    if connection.vendor == "postgresql":
        report("", f"{reading(question).pages} pages read, by")
    for line in plan(question).splitlines():
        if "Scan" in line or "SEARCH" in line or connection.vendor == "mysql":
            report("", line.strip())


def measure_object(made: Flow, ada: Customer, bob: Customer) -> None:
    """Start runs for an object with many finished runs and for one without, in turns."""
    taken: dict[Customer, list[float]] = {ada: [], bob: []}
    for _ in range(50):
        for obj, times in taken.items():
            times.append(median(partial(start_flowrun, made, obj), 1))
    many, none = map(statistics.median, taken.values())
    report("W5o start on an object, all limits", f"{none:8.2f} ms")
    report(f"W5o where it has {2 * WAITING:,} runs", f"{many:8.2f} ms, {many / none:.2f} times")
