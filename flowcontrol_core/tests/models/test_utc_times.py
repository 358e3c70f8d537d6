"""The engine's times are right whatever zone a connection stores in, or its server lives in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Max

from flowcontrol.testing import flow, publish_flow, step
from flowcontrol_core.models import FlowRun, Status, Worker
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.queue.claim import claim
from flowcontrol_core.runs.store import clock as clock_module
from flowcontrol_core.runs.store.clock import clock

pytestmark = pytest.mark.django_db(transaction=True)
ZONES = ["UTC", "Asia/Tokyo", "America/New_York"]
#: How a session begins whose server lives in Kolkata; SQLite has no server.
SERVER: dict[str, dict[str, str]] = {
    "postgresql": {"options": "-c timezone=Asia/Kolkata"},
    "mysql": {"init_command": "SET time_zone = '+05:30'"},
    "sqlite": {},
}


def reconnect(zone: str | None) -> None:
    connection.settings_dict["TIME_ZONE"] = zone
    for name in ("timezone", "timezone_name"):
        connection.__dict__.pop(name, None)
    connection.close()


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The setting ``TIME_ZONE`` of the connection; its server lives in Kolkata."""
    before = connection.settings_dict["TIME_ZONE"]
    monkeypatch.setattr(clock_module, "_clocks", {})
    options = connection.settings_dict["OPTIONS"] | SERVER[connection.vendor]
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "OPTIONS", options)
        reconnect(request.param)
        connection.ensure_connection()
    yield request.param
    reconnect(before)


def is_now(time: datetime | None, *, later: float = 0) -> bool:
    expected = datetime.now(UTC) + timedelta(seconds=later)
    return time is not None and abs(time - expected) < timedelta(seconds=30)


def test_the_clock_is_right(zone: str) -> None:
    assert is_now(clock().now())
    assert is_now(clock().now())
    create_flowrun(publish_flow(flow(step("builtin.stop_flow"))))
    annotated: Any = FlowRun.objects.annotate(at=clock().expression()).get()
    assert is_now(annotated.at)


def test_a_time_comes_back_as_it_was_stored(zone: str) -> None:
    """Those of the hour that comes twice too, on the clocks of New York."""
    first = datetime(2026, 11, 1, 5, 30, 0, 123456, tzinfo=UTC)
    second = first + timedelta(hours=1)
    for name, time in (("a", first), ("b", second)):
        Worker.objects.create(name=name, host="h", pid=1, started_at=time, last_sweep_at=time)
    workers = Worker.objects.order_by("last_sweep_at")
    assert [each.last_sweep_at for each in workers] == [first, second]
    assert workers.filter(last_sweep_at__gt=first).get().name == "b"
    assert workers.filter(last_sweep_at=second).get().name == "b"
    assert Worker.objects.aggregate(newest=Max("started_at")) == {"newest": second}
    assert list(workers.values_list("started_at", flat=True)) == [first, second]
    Worker.objects.update(started_at=first)
    assert {each.started_at for each in Worker.objects.all()} == {first}


@pytest.mark.parametrize("seconds", [-30, 30])
def test_a_run_is_due_when_its_time_has_come(zone: str, seconds: int) -> None:
    target = publish_flow(flow(step("builtin.stop_flow")))
    run = create_flowrun(target, at=datetime.now(UTC) + timedelta(seconds=seconds))
    assert continue_flowruns().executed == (seconds < 0)
    run.refresh_from_db()
    assert (run.status == Status.DONE) == (seconds < 0)


def test_a_lease_lasts_a_minute(zone: str) -> None:
    create_flowrun(publish_flow(flow(step("builtin.stop_flow"))))
    assert len(claim(9)) == 1
    assert claim(9) == []
    run = FlowRun.objects.get()
    assert is_now(run.due_at, later=60)
    assert is_now(run.since)


def test_a_run_tells_when_it_ran(zone: str) -> None:
    run = start_flowrun(publish_flow(flow(step("builtin.stop_flow"))))
    run.refresh_from_db()
    assert is_now(run.created_at)
    assert is_now(run.finished_at)
    assert is_now(run.events.get().at)
