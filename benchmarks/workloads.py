"""The workloads on small tables, W1 to W6; each prints one line for each figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from figures import queries, rate, report

from flowcontrol.engine import continue_flowruns, start_flowrun
from flowcontrol.models import Flow, FlowRun, FlowTrigger, Status
from flowcontrol.registry import Trigger, registry
from flowcontrol.testing import disconnect, flow, publish_flow, run_flow, step
from tests.shop.models import Customer


def update(number: int) -> Any:
    """Return a step that sets one key of the state."""
    return step("builtin.update_state", state={f"key{number}": number}, evaluate=False)


@contextmanager
def database() -> Iterator[None]:
    """Create a database for the length of a ``with`` block."""
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        disconnect()
        connection.creation.destroy_test_db(name, verbosity=0)


def measure_start() -> None:
    """W1: start and complete a run of five state steps."""
    made = publish_flow(flow(*[update(n) for n in range(5)]), key="w1")
    start_flowrun(made)

    def plain() -> None:
        with transaction.atomic():
            customer = Customer.objects.create(name="plain")
        with transaction.atomic():
            customer.save()

    count, commits = queries(lambda: start_flowrun(made))
    ours, orm = rate(lambda: start_flowrun(made), 500), rate(plain, 500)
    report(
        "W1 a run of five state steps",
        f"{ours:8.0f} runs/s, {count} queries, {commits} commits; "
        f"{ours / orm:.2f} of one ORM create and one save ({orm:.0f}/s)",
    )


def measure_loop() -> None:
    """W2: a loop of 1,000 passes over three state steps."""
    body = [update(n) for n in range(3)]
    made = publish_flow(flow(step("builtin.for", start="0", end="1000", body=body)), key="w2")
    start_flowrun(made)
    count, commits = queries(lambda: start_flowrun(made))
    ours = rate(lambda: start_flowrun(made), 3) * 3000
    report(
        "W2 a loop of 1,000 x 3 state steps",
        f"{ours:8.0f} steps/s, {count} queries, {commits} commits",
    )


def measure_sweep(number: int = 2000) -> None:
    """W3: one sweep over due runs."""
    made = Flow.objects.get(key="w1")
    make_due(made, number)
    count, commits = queries(continue_flowruns)
    make_due(made, number)
    begun = time.perf_counter()
    done = continue_flowruns().executed
    seconds = time.perf_counter() - begun
    report(
        f"W3 one sweep over {number} due runs",
        f"{done / seconds:8.0f} runs/s, {count / number:.3f} queries a run, {commits} commits",
    )


def make_due(made: Flow, number: int) -> None:
    now = FlowRun.objects.latest("pk").created_at
    FlowRun.objects.bulk_create(
        [
            FlowRun(
                flow=made,
                version=made.published,
                status=Status.WAITING,
                due_at=now,
                wait_until=now,
                created_at=now,
                started_at=now,
                since=now,
                cursor=[{"step": "s3", "phase": "after"}],
            )
            for _ in range(number)
        ],
        batch_size=500,
    )


def measure_firing() -> None:
    """W4: fire a trigger with 0, 1, 10 and 100 associated flows."""
    trigger = Trigger(name="fired", label="Fired")
    made = [publish_flow(flow(update(1)), key=f"w4-{n}") for n in range(100)]
    customer = Customer.objects.create(name="Ada")
    with registry.temporary(triggers=[trigger], plugin="bench"):
        trigger.fire(customer)
        unheard = rate(lambda: trigger.fire(customer), 10_000)
        report(
            "W4 fire, listening flows: 0",
            f"{1e6 / unheard:8.2f} us, {queries(lambda: trigger.fire(customer))[0]} queries",
        )
        for number in (1, 10, 100):
            FlowTrigger.objects.all().delete()
            for one in made[:number]:
                FlowTrigger.objects.create(flow=one, trigger="bench.fired")
            trigger.fire(customer)
            count, commits = queries(lambda: trigger.fire(customer))
            each = 1000 / rate(lambda: trigger.fire(customer), 20)
            report(
                f"W4 fire, listening flows: {number}",
                f"{each:8.2f} ms, {count} queries, {commits} commits",
            )


def measure_idle() -> None:
    """W5: a sweep that finds nothing to do."""
    continue_flowruns()
    count, commits = queries(continue_flowruns)
    each = 1000 / rate(continue_flowruns, 100)
    report("W5 an idle sweep", f"{each:8.2f} ms, {count} queries, {commits} commits")


def measure_interpreter() -> None:
    """W6: many steps in one list, and nested steps, in memory."""
    wide = flow(*[update(n) for n in range(200)])
    inner = step("builtin.if", condition="True", then=[update(1)])
    for _ in range(9):
        inner = step("builtin.if", condition="True", then=[inner])
    for name, document, steps in (("200 wide", wide, 200), ("10 deep", flow(inner), 21)):
        run_flow(document)
        microseconds = 1e6 / (rate(lambda: run_flow(document), 20) * steps)  # noqa: B023
        report(f"W6 {name}, compiled each time", f"{microseconds:8.2f} us a step")


def measure_all(*more: Callable[[], None]) -> None:
    """Create a database and measure all workloads on it, then ``more``."""
    with database():
        report("database", connection.vendor)
        for measure in (
            measure_start,
            measure_loop,
            measure_sweep,
            measure_firing,
            measure_idle,
            measure_interpreter,
            *more,
        ):
            measure()
