"""Runs, conditions of triggers and guards in the zone of the flow; and a zone that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from django.test import override_settings
from django.utils import timezone

from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.errors import PublishError
from flowcontrol.flows import associate_trigger
from flowcontrol.health import check_health
from flowcontrol.testing import flow, publish_flow
from flowcontrol_core import zones
from flowcontrol_core.models import FlowRun, SkippedFiring, Status
from flowcontrol_core.runs.operations.operator_actions import perform
from flowcontrol_core.runs.store.compiled import get_compiled
from tests.shop.models import Customer

from .conftest import PAID, Lab, events, fresh, republish, send, sweep, think, write

pytestmark = pytest.mark.django_db

#: 09:30 in Tokyo, 01:30 in Berlin, and the evening before in New York.
MORNING = datetime(2026, 1, 15, 0, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_new_york(lab: Lab) -> Iterator[None]:
    lab.clock.set(MORNING)
    with override_settings(TIME_ZONE="America/New_York"):
        yield


class Eastern:
    """The zone US/Eastern, which can be taken from the machine."""

    is_there = True

    def take(self) -> None:
        self.is_there = False

    def give_back(self) -> None:
        self.is_there = True

    def find(self, name: str) -> ZoneInfo:
        if name == "US/Eastern" and not self.is_there:
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)


@pytest.fixture
def eastern(monkeypatch: pytest.MonkeyPatch) -> Eastern:
    zone = Eastern()
    monkeypatch.setattr(zones, "ZoneInfo", zone.find)
    return zone


def hours(lab: Lab) -> list[int]:
    """Let each step note the hour that it reads on Django's clock; return the notes."""
    found: list[int] = []
    for word in ("think", "write", "send"):
        lab.on(word, lambda run, obj: found.append(timezone.localtime(run.now).hour))
    return found


def test_steps_of_all_kinds_are_executed_in_the_zone_of_their_flow(lab: Lab) -> None:
    found = hours(lab)
    steps = (think(), write(), send(), think())
    for zone in ("Asia/Tokyo", "Europe/Berlin", None):
        create_flowrun(publish_flow(flow(*steps, time_zone=zone), key=f"{zone}"[:4].lower()))
    with timezone.override("Australia/Sydney"):
        sweep()
        assert timezone.get_current_timezone_name() == "Australia/Sydney"
    assert found == [9, 1, 19, 9, 9, 9, 1, 1, 1, 19, 19, 19]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_executed_where_it_is_started_is_in_the_zone_of_its_flow(lab: Lab) -> None:
    found = hours(lab)
    publish_flow(flow(think(), write(), time_zone="Asia/Tokyo"), key="tokyo")
    with timezone.override("Australia/Sydney"):
        start_flowrun("tokyo")
    assert found == [9, 9]


@pytest.mark.parametrize(
    ("zone", "starts"), [("Asia/Tokyo", True), ("Europe/Berlin", False), (None, False)]
)
def test_the_condition_of_a_trigger_is_checked_in_the_zone_of_its_flow(
    lab: Lab, zone: str | None, starts: bool
) -> None:
    target = publish_flow(flow(think(), time_zone=zone), key="target")
    associate_trigger(target, "lab.paid", condition="now|date:'H' == '09' and now.hour == 9")
    with timezone.override("Australia/Sydney"):
        PAID.fire()
    assert FlowRun.objects.filter(flow=target).exists() is starts


def test_a_guard_is_checked_in_the_zone_of_its_flow_while_the_run_waits_too(lab: Lab) -> None:
    ada = Customer.objects.create(name="Ada")
    Customer.objects.update(created_at=MORNING)
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=30)))
    guard = "object.created_at|date:'H' == '09' and object.is_active"
    made = flow(think("wait"), think(), time_zone="Asia/Tokyo", object="shop.customer", guard=guard)
    run = create_flowrun(publish_flow(made), ada)
    with timezone.override("Australia/Sydney"):
        sweep()
        PAID.fire(ada)
        assert sweep() == 1
        assert fresh(run).status == Status.WAITING
        lab.clock.advance(days=30)
        sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["wait", "think"])


def test_a_run_whose_zone_is_gone_is_blocked_and_continues_when_it_is_back(
    lab: Lab, eastern: Eastern
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    run = create_flowrun(publish_flow(flow(think("wait"), think(), time_zone="US/Eastern")))
    sweep()
    eastern.take()
    lab.clock.advance(days=1)
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on, row.due_at) == (Status.BLOCKED, "zone:US/Eastern", None)
    assert "The time zone US/Eastern is not known on this machine" in row.reason
    assert sweep() == 0
    assert len(events(run)) == 2
    (blocked,) = (issue for issue in check_health().issues if issue.code == "blocked")
    assert "zone:US/Eastern" in blocked.message
    eastern.give_back()
    assert sweep() == 1
    row = fresh(run)
    assert (row.outcome, row.blocked_on, lab.calls) == ("complete", None, ["wait", "think"])


def test_a_run_that_waits_for_an_event_loses_none_while_its_zone_is_gone(
    lab: Lab, eastern: Eastern
) -> None:
    seen: list[Any] = []

    def wait(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(trigger="lab.paid", repeat=True)
        seen.append(run.wakeup.payload)
        return None

    lab.on("wait", wait)
    published = publish_flow(flow(think("wait"), time_zone="US/Eastern"))
    published.versions.update(waits_for="lab.paid")
    run = create_flowrun(published)
    sweep()
    eastern.take()
    PAID.fire(None, {"n": 1})
    sweep()
    assert fresh(run).status == Status.BLOCKED
    eastern.give_back()
    sweep()
    assert (fresh(run).outcome, seen) == ("complete", [{"n": 1}])


def test_a_blocked_run_that_has_nothing_to_do_yet_waits_on_without_a_mark(
    lab: Lab, eastern: Eastern
) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=9)))
    run = create_flowrun(publish_flow(flow(think("wait"), time_zone="US/Eastern")))
    sweep()
    eastern.take()
    perform("run_now", run.pk)
    FlowRun.objects.filter(pk=run.pk).update(due_at=lab.clock.now(), request="")
    sweep()
    eastern.give_back()
    sweep()
    row = fresh(run)
    assert row.blocked_on is None
    assert row.status in (Status.WAITING, Status.DONE)


def test_a_blocked_run_can_be_moved_to_a_version_in_a_zone_that_is_known(
    lab: Lab, eastern: Eastern
) -> None:
    run = create_flowrun(publish_flow(flow(think(id="one"), time_zone="US/Eastern")))
    eastern.take()
    sweep()
    republish(run.flow, think(id="one"))
    perform("move", run.pk)
    sweep()
    assert fresh(run).outcome == "complete"


@pytest.mark.django_db(transaction=True)
def test_starting_a_flow_whose_zone_is_gone_makes_a_run_that_is_blocked(
    lab: Lab, eastern: Eastern
) -> None:
    publish_flow(flow(think(), time_zone="US/Eastern"), key="east")
    eastern.take()
    run = start_flowrun("east")
    assert (run.status, run.blocked_on) == (Status.BLOCKED, "zone:US/Eastern")


def test_a_trigger_whose_condition_cannot_be_checked_is_recorded_and_harms_no_other(
    lab: Lab, eastern: Eastern
) -> None:
    for key, zone in (("east", "US/Eastern"), ("tokyo", "Asia/Tokyo")):
        target = publish_flow(flow(think(), time_zone=zone), key=key)
        associate_trigger(target, "lab.paid", condition="now.hour == 9")
    eastern.take()
    PAID.fire()
    assert [run.flow.key for run in FlowRun.objects.all()] == ["tokyo"]
    assert "US/Eastern" in SkippedFiring.objects.get().detail


def test_a_version_that_cannot_be_read_blocks_its_runs_until_it_can_be(lab: Lab) -> None:
    run = create_flowrun(publish_flow(flow(think())))
    document = run.version.document
    run.flow.versions.update(document={**document, "format": 2})
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on) == (Status.BLOCKED, None)
    assert "upgrade flowcontrol" in row.reason
    run.flow.versions.update(document=document)
    lab.clock.advance(minutes=15)
    sweep()
    assert fresh(run).outcome == "complete"
    assert get_compiled(run.version).document.steps


def test_a_flow_in_an_unknown_zone_cannot_be_published(lab: Lab) -> None:
    with pytest.raises(PublishError, match="Mars/Olympus is not known"):
        publish_flow(flow(think(), time_zone="Mars/Olympus"))
