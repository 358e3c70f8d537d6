"""Limits are kept when several processes start runs of one flow, and for one object, at once."""

from __future__ import annotations

from collections import Counter

import pytest

from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import FlowRun, LimitPolicy, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests import operate
from tests.effects.models import Effect
from tests.processes.site import Site
from tests.shop.models import Customer

pytestmark = pytest.mark.slow
PROCESSES = 3
#: A run that holds its slots for as long as the test lasts.
HOLDING = flow(step("effects.write", label="begun"), step("effects.hold"))


def start_at_once(site: Site, times: int, customers: list[Customer]) -> None:
    """Have all processes start runs of the flow ``limited`` for the customers."""
    keys = [str(customer.pk) for customer in customers]
    starters = [
        site.start("-m", "tests.processes.starter", "limited", str(times), *keys)
        for _ in range(PROCESSES)
    ]
    for starter in starters:
        site.wait_for(lambda: "ready" in starter.output, starter)  # noqa: B023
    for starter in starters:
        starter.say("go")
    for starter in starters:
        assert starter.exit_status() == 0, starter.output
    site.wait_for(lambda: not FlowRun.objects.filter(status=Status.RUNNING).exists())


def begun() -> Counter[str]:
    """Count the runs that have executed their first step, by object."""
    return Counter(Effect.objects.values_list("object_key", flat=True))


@pytest.fixture
def customers(site: Site) -> list[Customer]:
    return [Customer.objects.create(name=f"customer {n}") for n in range(4)]


@pytest.mark.parametrize("most", [1, 3])
def test_max_concurrent_is_kept(site: Site, customers: list[Customer], most: int) -> None:
    publish_flow(HOLDING, key="limited", max_concurrent=most)
    start_at_once(site, 3, customers)
    assert sum(begun().values()) == most


@pytest.mark.parametrize("most", [1, 3])
def test_max_concurrent_per_object_is_kept(
    site: Site, customers: list[Customer], most: int
) -> None:
    publish_flow(HOLDING, key="limited", max_concurrent_per_object=most)
    start_at_once(site, 3, customers)
    assert begun() == {str(customer.pk): most for customer in customers}


def test_max_per_object_is_kept_for_runs_that_have_ended(
    site: Site, customers: list[Customer]
) -> None:
    document = flow(step("effects.write", label="begun"))
    publish_flow(document, key="limited", max_per_object=1)
    start_at_once(site, 3, customers)
    assert begun() == {str(customer.pk): 1 for customer in customers}


def test_a_queue_is_worked_off_one_after_the_other(site: Site, customers: list[Customer]) -> None:
    document = flow(step("effects.write", label="begun"), step("effects.write", label="end"))
    publish_flow(document, key="limited", max_concurrent=1, max_concurrent_policy=LimitPolicy.QUEUE)
    workers = site.start_workers(2)
    start_at_once(site, 1, customers)
    site.wait_until_done(*workers)
    assert Effect.objects.filter(label="end").count() == PROCESSES * len(customers)
    assert FlowRun.objects.filter(outcome="complete").count() == PROCESSES * len(customers)


def test_a_canceled_run_frees_its_slot(site: Site, customers: list[Customer]) -> None:
    publish_flow(HOLDING, key="limited", max_concurrent=1)
    workers = site.start_workers(1)
    for expected in (1, 2):
        create_flowrun("limited", customers[0])
        site.wait_for(lambda: sum(begun().values()) == expected, *workers)  # noqa: B023
        with pytest.raises(NotStartedError, match="The limit max_concurrent"):
            create_flowrun("limited", customers[1])
        site.wait_for_status(Status.WAITING, 1, *workers)
        operate.cancel(FlowRun.objects.get(status=Status.WAITING))
