"""What the tests share: flows that listen to signals, and what was fired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flowcontrol.flows import associate_trigger
from flowcontrol.models import FlowRun, FlowTrigger
from flowcontrol.testing import flow, publish_flow, step
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.runs.triggers.listeners import cache
from tests.shop.models import Customer, Order

Listen = Callable[..., FlowTrigger]
_TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@pytest.fixture(autouse=True)
def _no_cache_between_tests() -> Iterator[None]:
    cache.forget()
    yield
    cache.forget()


@pytest.fixture
def listen() -> Listen:
    """Make a new flow listen to a trigger; the cache of listeners is warm after it."""

    def listen(key: str, **options: Any) -> FlowTrigger:
        steps = flow(step("builtin.set_state", state={}))
        target = publish_flow(steps, key=f"flow-{FlowTrigger.objects.count()}")
        association = associate_trigger(target, f"signals.{key}", **options)
        warm()
        return association

    return listen


def warm() -> None:
    """Read who listens, as if the changes of this test had been committed."""
    connection.run_on_commit = []
    cache.forget()
    connection.run_on_commit = []
    cache.get()


def payloads() -> list[dict[str, Any]]:
    """Return the payloads of all runs, oldest first."""
    return [decode(run.payload) for run in FlowRun.objects.order_by("pk")]


def fired() -> list[str]:
    """Return the triggers of all runs without the name of the plugin, oldest first."""
    keys = FlowRun.objects.order_by("pk").values_list("trigger", flat=True)
    return [key.removeprefix("signals.") for key in keys]


@contextmanager
def queries() -> Iterator[list[str]]:
    """Collect the queries, without those that begin and end transactions."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    sent = [query["sql"] for query in captured.captured_queries]
    found += [sql for sql in sent if not sql.startswith(_TRANSACTION)]


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada", phone="030", api_token="hidden")


@pytest.fixture
def order(ada: Customer) -> Order:
    return Order.objects.create(customer=ada, total=5)
