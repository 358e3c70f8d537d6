"""What becomes of runs when their object, its type, their flow or a user is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import ProtectedError

from flowcontrol import flows
from flowcontrol_core.errors import EditError
from flowcontrol_core.flows.lifecycle import delete_flow
from flowcontrol_core.models import LIVE, Flow, FlowRun, FlowVersion, RunEvent, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from tests import operate
from tests.shop.models import Customer

from .conftest import Lab, fresh, publish, send, sweep, think, write

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    """A type that was deleted may still be known to the cache of this process."""
    yield
    ContentType.objects.clear_cache()


@pytest.fixture
def made(lab: Lab) -> Flow:
    """A flow whose runs wait for a day and read their object then."""
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    lab.on("look", lambda run, obj: run.state.update(name=str(obj)))
    return publish(send("between"), think("wait"), write("look"))


def bring(lab: Lab, flow: Flow, status: Status, obj: Any, delete: Callable[[], Any]) -> FlowRun:
    """Bring a run into a status, and delete something then: from a step of it, while it runs."""
    if status == Status.RUNNING:
        lab.on("between", lambda run, obj: delete())
    run = create_flowrun(flow, obj, by="Ada")
    if status != Status.PENDING:
        sweep()
    if status == Status.PAUSED:
        operate.pause(run, by="Ada")
    if status == Status.BLOCKED:
        blocked = {"status": status, "blocked_on": "lab.think", "due_at": None}
        FlowRun.objects.filter(pk=run.pk).update(**blocked)
    if status != Status.RUNNING:
        assert fresh(run).status == status
        delete()
    return run


def complete(lab: Lab, run: FlowRun) -> FlowRun:
    """Let a run continue to its end, whatever it waits for."""
    if fresh(run).status == Status.PAUSED:
        sweep()
        assert fresh(run).status == Status.PAUSED, "a deletion resumes nothing"
        operate.resume(run)
    for _ in range(3):
        sweep()
        lab.clock.advance(days=1)
    return fresh(run)


@pytest.mark.parametrize("status", LIVE)
def test_a_run_whose_object_was_deleted_becomes_obsolete(
    lab: Lab, made: Flow, status: Status
) -> None:
    customer = Customer.objects.create(name="Ada")
    run = bring(lab, made, status, customer, Customer.objects.all().delete)
    row = complete(lab, run)
    assert (row.outcome, row.reason) == ("obsolete", "The object Ada no longer exists.")
    assert (row.object_text, row.state) == ("Ada", {"n": 1} if status != Status.RUNNING else {})


@pytest.mark.parametrize("status", LIVE)
def test_a_run_whose_model_was_removed_becomes_obsolete(
    lab: Lab, made: Flow, status: Status
) -> None:
    def remove() -> None:
        FlowRun.objects.update(object_type="gone.customer")

    run = bring(lab, made, status, Customer.objects.create(name="Ada"), remove)
    row = complete(lab, run)
    assert row.outcome == "obsolete"
    assert row.reason == "The model gone.customer is no longer installed."
    assert row.object_text == "Ada"


@pytest.mark.parametrize("status", LIVE)
def test_a_flow_with_a_live_run_is_not_deleted_and_the_run_continues(
    lab: Lab, made: Flow, status: Status
) -> None:
    refused: list[str] = []

    def delete() -> None:
        with pytest.raises(EditError, match="1 run of the flow has not ended") as caught:
            delete_flow(Flow.objects.get(pk=made.pk), by="Ada")
        refused.append(str(caught.value))
        for rows in (Flow.objects.filter(pk=made.pk), FlowVersion.objects.filter(flow=made)):
            with pytest.raises(ProtectedError):
                rows.delete()

    run = bring(lab, made, status, Customer.objects.create(name="Ada"), delete)
    assert len(refused) == 1
    assert Flow.objects.get(pk=made.pk).active
    assert complete(lab, run).outcome == "complete"


def test_a_flow_whose_runs_have_ended_is_deleted_with_them(lab: Lab, made: Flow) -> None:
    run = bring(lab, made, Status.WAITING, None, lambda: None)
    operate.cancel(run)
    assert delete_flow(made) == 1
    for model in (Flow, FlowVersion, FlowRun, RunEvent):
        assert not model._default_manager.exists()


@pytest.mark.parametrize("status", LIVE)
def test_a_deleted_user_leaves_runs_and_versions_and_their_name_in_the_history(
    lab: Lab, made: Flow, status: Status
) -> None:
    user = User.objects.create(username="Ada")
    FlowVersion.objects.filter(flow=made).update(author=str(user))
    run = bring(lab, made, status, None, user.delete)
    assert complete(lab, run).outcome == "complete"
    assert FlowVersion.objects.get(pk=run.version_id).author == "Ada"
    assert RunEvent.objects.filter(run_id=run.pk, actor="Ada").exists()


@pytest.mark.parametrize("status", LIVE)
def test_a_deleted_user_is_an_object_like_any_other(lab: Lab, made: Flow, status: Status) -> None:
    user = User.objects.create(username="Ada")
    run = bring(lab, made, status, user, user.delete)
    assert complete(lab, run).outcome == "obsolete"


def test_a_deleted_author_of_a_draft_leaves_the_draft(made: Flow) -> None:
    user = User.objects.create(username="Ada")
    flows.edit_draft(made, lambda old: old, revision=None, author=user)
    user.delete()
    assert flows.present_document(made).steps
