"""Operator actions on many runs: a page that asks why, then at once or as a bulk operation."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flowcontrol.engine import create_flowrun
from flowcontrol.models import BulkOperation, EventKind, Flow, FlowRun, RunEvent
from flowcontrol.redaction import HIDDEN
from flowcontrol.runs import OPERATOR_ACTIONS
from flowcontrol.testing import run_due
from flowcontrol_admin import operator_actions
from tests.cases import each

from .conftest import text_of, url

DEEP = f'{{"a": {"[" * 30}{"]" * 30}}}'


def act(client: Client, action: str, *runs: FlowRun, **data: Any) -> Any:
    chosen = {"action": f"{action}_runs", "_selected_action": [run.pk for run in runs], **data}
    return client.post(url("flowrun_changelist"), chosen, follow=True)


def confirm(client: Client, action: str, *runs: FlowRun, **data: Any) -> str:
    return text_of(act(client, action, *runs, confirmed="1", **data))


def said(run: FlowRun) -> list[tuple[str, str]]:
    mine = RunEvent.objects.filter(run=run, kind=EventKind.OPERATOR).order_by("pk")
    return [(str(event.message), event.actor) for event in mine]


def test_each_action_is_offered_for_many_runs(client: Client, waiting: FlowRun) -> None:
    page = client.get(url("flowrun_changelist")).content.decode()
    for name in OPERATOR_ACTIONS:
        assert f'value="{name}_runs"' in page


@each("name", list(OPERATOR_ACTIONS))
def test_a_page_asks_first_and_changes_nothing(client: Client, waiting: FlowRun, name: str) -> None:
    response = act(client, name, waiting)
    page = response.content.decode()
    assert "1 run selected" in text_of(response)
    assert f'name="_selected_action" value="{waiting.pk}"' in page
    assert 'name="reason"' in page
    assert not said(waiting)
    waiting.refresh_from_db()
    assert waiting.status == "waiting"


def test_the_reason_stands_in_the_history_of_each_run(client: Client, waiting: FlowRun) -> None:
    other = create_flowrun(waiting.flow)
    page = confirm(client, "pause", waiting, other, reason="the gateway is down")
    assert "Pause: done for 2 runs." in page
    assert said(waiting) == said(other) == [("Paused. the gateway is down", "root")]


def test_failed_runs_are_restarted_at_a_step_with_a_new_run_each(
    client: Client, failed: FlowRun, waiting: FlowRun
) -> None:
    page = confirm(client, "restart", failed, waiting, step="oops", reason="once more")
    assert "Restart from a step: done for 1 run." in page
    assert "1 run was left unchanged: it has not ended: 1" in page
    assert said(failed.successors.get()) == [
        (f"Restarted from run {failed.pk} at the step oops. once more", "root")
    ]


def test_the_steps_of_all_chosen_versions_are_offered(
    client: Client, failed: FlowRun, waiting: FlowRun
) -> None:
    form = act(client, "restart", failed, waiting).context["form"]
    choices = dict(form.fields["step"].choices)
    assert set(choices) == {"oops", "hello", "fork", "wait", "bye"}
    assert choices["oops"].startswith("Failing: 1 ")


def test_the_steps_of_the_published_version_are_offered_for_restarting(
    client: Client, older: FlowRun
) -> None:
    step = "hello"
    assert step in dict(act(client, "go_to_step", older).context["form"].fields["step"].choices)
    confirm(client, "cancel", older)
    assert "left unchanged" in confirm(client, "restart", older, step=step, current_version="on")
    assert "Restart from a step: done for 1 run." in confirm(client, "restart", older, step=step)


def test_keys_of_many_states_are_set_and_the_others_stay(
    client: Client, waiting: FlowRun, live: Flow
) -> None:
    other = create_flowrun(live, state={"mine": True})
    page = confirm(client, "edit_state", waiting, other, changes='{"price": {"$decimal": "1.5"}}')
    assert "Edit the state: done for 2 runs." in page
    other.refresh_from_db()
    assert other.state == {"mine": True, "price": {"$decimal": "1.5"}}


@each(
    "changes",
    ["", "{", "[]", "{}", '{"d": {"$date": "soon"}}', f'{{"a": "{HIDDEN}"}}', DEEP],
)
def test_changes_that_cannot_be_kept_are_said_at_the_field(
    client: Client, waiting: FlowRun, changes: str
) -> None:
    response = act(client, "edit_state", waiting, changes=changes, confirmed="1")
    assert response.context["form"].errors["changes"]
    waiting.refresh_from_db()
    assert waiting.state["n"] == 1


def test_a_step_that_no_chosen_version_has_is_said_at_the_field(
    client: Client, waiting: FlowRun
) -> None:
    response = act(client, "go_to_step", waiting, step="nosuch", confirmed="1")
    assert response.context["form"].errors["step"]


def choose_all(client: Client, runs: list[FlowRun], action: str = "cancel", **data: Any) -> str:
    return confirm(client, action, runs[0], select_across="1", **data)


def test_many_matching_runs_are_left_to_a_bulk_operation_that_the_health_page_shows(
    client: Client, live: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_actions, "MOST_AT_ONCE", 2)
    runs = [create_flowrun(live) for _ in range(3)]
    assert "the workers do this to 3 runs" in choose_all(client, runs, reason="too many")
    assert FlowRun.objects.live().count() == 3
    assert "not yet" in text_of(client.get(url("flow_health")))
    run_due()
    operation = BulkOperation.objects.get()
    assert (operation.done, operation.actor, operation.note) == (3, "root", "too many")
    assert "cancel #" in text_of(client.get(url("flow_health")))
    ends = {(run.outcome, str(run.reason)) for run in FlowRun.objects.all()}
    assert ends == {("canceled", "Canceled. too many")}


def test_a_bulk_operation_takes_the_arguments_of_its_action(
    client: Client, live: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_actions, "MOST_AT_ONCE", 1)
    runs = [create_flowrun(live) for _ in range(2)]
    choose_all(client, runs, "cancel")
    choose_all(client, runs, "restart", step="hello", reason="again")
    choose_all(client, runs, "edit_state", changes='{"day": {"$date": "2026-01-02"}}')
    for _ in range(3):
        run_due()
    assert [operation.done for operation in BulkOperation.objects.order_by("pk")] == [2, 2, 2]
    for run in runs:
        run.refresh_from_db()
        assert run.state == {"day": {"$date": "2026-01-02"}}
        assert run.successors.count() == 1


def test_too_many_runs_for_one_bulk_operation_are_left_alone(
    client: Client, live: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_actions, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(operator_actions, "MOST_IN_BULK", 2)
    runs = [create_flowrun(live) for _ in range(3)]
    assert "nothing was done" in choose_all(client, runs)
    assert not BulkOperation.objects.exists()
