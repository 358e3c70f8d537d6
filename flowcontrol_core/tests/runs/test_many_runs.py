"""What is polled or asked for often reads no finished run, on a table where that would show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from flowcontrol.engine import continue_flowruns, trigger_flows
from flowcontrol.testing import manual_clock, temporary_registry
from flowcontrol_core.health import check_health
from flowcontrol_core.models import Flow, FlowRun, Status
from flowcontrol_core.models.search import MOST_READ
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import execute_due
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.runs.queue.claim import Choice
from tests.many_runs import analyze, fill
from tests.plans import plan, reading, whole_tables
from tests.shop.models import Customer

from .conftest import ACTIONS, Lab, counted, publish, sweep, think
from .listeners import KEY, listener, outside_of_a_change

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

#: MariaDB sorts its UUIDs by their end: it looks for a beginning among the newest only.
BY_BEGINNING = int(connection.vendor != "mysql")
#: Runs that wait, a fifth of them for each kind of thing; ten times as many have finished.
LIVE = 50_000 if connection.vendor == "postgresql" else 2_500
LIMITS: dict[str, Any] = {
    "max_concurrent": 3,
    "max_concurrent_per_object": 3,
    "max_per_object": 300,
}


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Flow]:
    """A flow with limits and many runs; half of those that have finished are one customer's."""
    with django_db_blocker.unblock(), transaction.atomic():
        with manual_clock() as clock, temporary_registry(*ACTIONS, plugin="lab"):
            flow = publish(think(id="first"), key="many", retention_days=1, **LIMITS)
            customer = Customer.objects.create(name="Ada")
            fill(
                flow,
                clock.now(),
                waiting=LIVE // 5,
                finished=5 * LIVE,
                of_object={customer: 5 * LIVE},
            )
        yield flow
        transaction.set_rollback(True)


@pytest.fixture
def analyzed(many: Flow) -> None:
    """PostgreSQL's statistics as they should be; without, those of an empty table."""
    if connection.vendor == "postgresql":
        analyze()


def read(work: Callable[[], object], *, runs: int) -> tuple[int, int]:
    """Have each query of something read by index; give how many there were and the pages."""
    with counted() as counts:
        work()
    pages = 0
    for sql in counts.queries:
        if connection.vendor == "postgresql" and sql.startswith("SELECT"):
            found = reading(sql)
            assert found.runs <= runs, f"{found}\n{sql}\n{plan(sql)}"
            pages += found.pages
        else:
            assert not whole_tables(plan(sql), FlowRun), f"{sql}\n{plan(sql)}"
    return len(counts.queries), pages


@pytest.mark.parametrize("statistics", ["old", "new"])
def test_idle_sweep_reads_the_first_entries_of_indexes(
    many: Flow, lab: Lab, statistics: str, request: pytest.FixtureRequest
) -> None:
    if statistics == "new":
        request.getfixturevalue("analyzed")
    sweep()
    queries, pages = read(sweep, runs=2)
    # One question; and for runs that miss an action, which one, and whether there is another.
    assert queries == 3
    assert pages <= 40


@pytest.mark.usefixtures("analyzed")
def test_idle_sweep_of_some_queues_costs_no_more(many: Flow, lab: Lab) -> None:
    sweep()
    queries, pages = read(lambda: continue_flowruns(queues=("default", "mail")), runs=2)
    assert queries == 3
    assert pages <= 40


@pytest.mark.usefixtures("analyzed")
def test_starting_on_an_object_does_not_read_its_finished_runs(many: Flow, lab: Lab) -> None:
    ada = Customer.objects.get()

    def begin() -> None:
        run = create_flowrun(many, ada)
        execute_due(1, Choice(only=[run.pk]))

    begin()
    read(begin, runs=10)


@pytest.mark.usefixtures("analyzed")
@pytest.mark.parametrize("mode", ["start", "wake", "go_to"])
def test_firing_for_an_object_does_not_read_its_finished_runs(
    many: Flow, lab: Lab, mode: str
) -> None:
    listener(flow=many, mode=mode, **({"step": "first"} if mode == "go_to" else {}))
    outside_of_a_change()
    read(lambda: trigger_flows(KEY, Customer.objects.get()), runs=10)


@pytest.mark.usefixtures("analyzed")
def test_health_reads_live_runs_only(many: Flow, lab: Lab) -> None:
    read(check_health, runs=LIVE)


@pytest.mark.usefixtures("analyzed")
@pytest.mark.parametrize("days", [1, 10_000])
def test_pruning_reads_live_runs_and_what_it_deletes(many: Flow, lab: Lab, days: int) -> None:
    Flow.objects.filter(pk=many.pk).update(retention_days=days)
    read(lambda: prune(batches=1), runs=LIVE)


@pytest.fixture
def retired(many: Flow, lab: Lab) -> FlowRun:
    """The oldest run: it and many after it are of a flow long retired, about vouchers."""
    flow = publish(think(), key="retired")
    oldest = many.runs.filter(status=Status.DONE, object_type="").order_by("pk")
    keys = list(oldest.values_list("pk", flat=True)[: LIVE // 10])
    voucher = Concat(Value("VOUCHER-"), Cast("pk", CharField()))
    runs = FlowRun.objects.filter(pk__in=keys)
    runs.update(flow=flow, object_type="shop.voucher", object_key=voucher, object_text=voucher)
    if connection.vendor == "postgresql":
        analyze()
    return runs.earliest("pk")


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("#{run.pk}", 1), ("{run.uuid}", 1), ("{run.uuid.hex:.8}", BY_BEGINNING),
        ("{run.object_key}", 1), ("V", 100), ("VOUCHER-", 100), ("retired", 100), ("many", 100),
        ("Ada", 100), ("no such thing", 0),
    ],
)  # fmt: skip
def test_a_search_reads_no_more_than_it_says(
    many: Flow, retired: FlowRun, text: str, hits: int
) -> None:
    with counted() as counts:
        found = FlowRun.objects.search(text.format(run=retired))
        assert len(found[:100]) == hits
    for sql in counts.queries:
        if connection.vendor == "postgresql":
            assert reading(sql).runs <= MOST_READ, f"{sql}\n{plan(sql)}"
        elif " WHERE " in sql:
            assert not whole_tables(plan(sql), FlowRun), f"{sql}\n{plan(sql)}"


@pytest.mark.usefixtures("retired")
def test_list_of_flows_reads_live_runs_and_the_last_ended_of_each_flow(
    many: Flow, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("operator"))
    read(lambda: client.get(reverse("admin:flowcontrol_core_flow_changelist")), runs=LIVE)


@pytest.mark.usefixtures("retired")
def test_list_of_runs_sorts_no_more_than_it_shows(many: Flow, client: Client) -> None:
    client.force_login(User.objects.create_superuser("operator"))
    with counted() as counts:
        client.get(reverse("admin:flowcontrol_core_flowrun_changelist"))
    (shown,) = [sql for sql in counts.queries if sql.endswith("LIMIT 100")]
    found = plan(shown)
    for sorting in ("Sort ", "filesort", "TEMP B-TREE"):
        assert sorting not in found, found


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Only there, rows can be counted")
@pytest.mark.usefixtures("analyzed")
def test_list_of_runs_reads_its_first_page_and_counts_no_further_than_it_says(
    many: Flow, lab: Lab, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("operator"))
    read(lambda: client.get(reverse("admin:flowcontrol_core_flowrun_changelist")), runs=10_000)
