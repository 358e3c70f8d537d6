from __future__ import annotations

import getpass
from collections.abc import Callable

import pytest
from django.core.management import CommandError

from flowcontrol_core.management.operating import operator
from flowcontrol_core.models import FlowRun, Outcome, RunEvent, Status
from flowcontrol_core.runtime.starting import create_flowrun, start_flowrun
from flowcontrol_core.testing.building import flow, step
from flowcontrol_core.testing.helpers import publish_flow, run_due

pytestmark = pytest.mark.django_db
Call = Callable[..., str]


@pytest.fixture
def pending() -> FlowRun:
    publish_flow(flow(step("test.mark")))
    return create_flowrun("flow")


@pytest.fixture
def failed() -> FlowRun:
    publish_flow(flow(step("test.fail"), step("test.mark")))
    run = start_flowrun("flow")
    run_due()
    run.refresh_from_db()
    assert run.outcome == Outcome.ERRORED
    return run


def test_cancel_ends_a_run_and_its_history_says_who_and_why(call: Call, pending: FlowRun) -> None:
    answer = call("cancel", str(pending.pk), "--reason", "by mistake", "--by", "Ada")
    assert answer == f"Run {pending.pk} is done, canceled.\n"
    event = RunEvent.objects.get(run=pending)
    assert (event.message, event.actor) == ("by mistake", "Ada")


def test_a_run_can_be_named_by_its_uuid(call: Call, pending: FlowRun) -> None:
    call("cancel", str(pending.uuid))
    pending.refresh_from_db()
    assert pending.outcome == Outcome.CANCELED


def test_cancel_says_that_a_running_run_stops_later(call: Call, pending: FlowRun) -> None:
    FlowRun.objects.update(status=Status.RUNNING)
    assert "it stops at its next checkpoint" in call("cancel", str(pending.pk))


def test_canceling_twice_is_a_clear_error(call: Call, pending: FlowRun) -> None:
    call("cancel", str(pending.pk))
    with pytest.raises(CommandError, match=f"Run {pending.pk} cannot be changed .* has ended"):
        call("cancel", str(pending.pk))


def test_retry_calls_the_failed_step_again(call: Call, failed: FlowRun) -> None:
    FlowRun.objects.update(state={"sound": True})
    assert call("retry", str(failed.pk)) == f"Run {failed.pk} is waiting.\n"
    run_due()
    failed.refresh_from_db()
    assert failed.outcome == Outcome.COMPLETE


def test_skip_goes_on_behind_the_failed_step(call: Call, failed: FlowRun) -> None:
    call("skip", str(failed.pk))
    run_due()
    failed.refresh_from_db()
    assert (failed.outcome, failed.state) == (Outcome.COMPLETE, {"marks": 1})


@pytest.mark.parametrize("name", ["x", "-1", "1.5", "²"])
def test_what_is_no_run_is_a_clear_error(call: Call, name: str) -> None:
    with pytest.raises(CommandError, match="is no run: give its number"):
        call("retry", "--", name)


def test_a_run_that_does_not_exist_is_a_clear_error(call: Call) -> None:
    with pytest.raises(CommandError, match="There is no run 77"):
        call("skip", "77")


def test_a_user_without_a_name_can_operate_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert operator() == "manage.py"
