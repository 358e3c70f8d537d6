"""Restarting, editing the state, moving, and the page about the health of the whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from flowcontrol.engine import create_flowrun
from flowcontrol.models import Flow, FlowOperation, FlowRun, Status
from flowcontrol.redaction import HIDDEN
from flowcontrol.runs import OPERATOR_ACTIONS, Argument, OperatorAction
from flowcontrol.testing import ManualClock, run_due
from flowcontrol_admin.pages import url
from flowcontrol_core.flows.lifecycle import record

from .conftest import logged_in, make_user, text_of


def operate(client: Client, run: FlowRun, slug: str, **data: str) -> Any:
    return client.post(url("flowrun_operate", run.pk, slug), data)


def test_a_failed_run_is_restarted_as_a_new_one_and_both_are_linked(
    client: Client, failed: FlowRun
) -> None:
    response = operate(client, failed, "restart", step="oops", reason="once more")
    new = FlowRun.objects.get(origin=failed)
    assert response["Location"] == url("flowrun_change", new.pk)
    assert f"Restarted from run #{failed.pk}" in text_of(client.get(response["Location"]))
    page = text_of(client.get(url("flowrun_change", failed.pk)))
    assert f"Restarted as #{new.pk}" in page
    assert "once more" in page


def test_a_step_that_the_chosen_version_lacks_is_refused_with_the_reason(
    client: Client, older: FlowRun
) -> None:
    operate(client, older, "cancel")
    response = operate(client, older, "restart", step="hello", current_version="on")
    assert response.status_code == 409
    assert "hello" in text_of(response)
    assert not FlowRun.objects.filter(origin=older).exists()
    assert operate(client, older, "restart", step="hello").status_code == 302


def test_the_state_is_edited_and_secrets_that_are_not_shown_stay(
    client: Client, live: Flow
) -> None:
    run = create_flowrun(live, state={"n": 1, "api_key": "hunter2", "deep": [{"password": "pass"}]})
    form = client.get(url("flowrun_operate", run.pk, "edit-state")).context["form"]
    shown = form["state"].value()
    assert "hunter2" not in shown
    changed = json.loads(shown) | {"n": 2}
    response = operate(
        client, run, "edit-state", state=json.dumps(changed), seen=form.initial["seen"]
    )
    assert response.status_code == 302
    run.refresh_from_db()
    assert run.state == {"n": 2, "api_key": "hunter2", "deep": [{"password": "pass"}]}


def test_typed_values_of_the_state_keep_their_types(client: Client, waiting: FlowRun) -> None:
    operate(client, waiting, "edit-state", state='{"price": {"$decimal": "1.50"}}')
    waiting.refresh_from_db()
    assert waiting.state == {"price": {"$decimal": "1.50"}}


@pytest.mark.parametrize("state", ["{", "[]", '{"d": {"$date": "soon"}}', '{"a": "***"}'])
def test_a_state_that_cannot_be_kept_is_said_at_the_field(
    client: Client, waiting: FlowRun, state: str
) -> None:
    response = operate(client, waiting, "edit-state", state=state.replace("***", HIDDEN))
    assert response.status_code == 200
    assert response.context["form"].errors["state"]


def test_a_state_that_has_changed_meanwhile_is_not_overwritten(
    client: Client, waiting: FlowRun
) -> None:
    form = client.get(url("flowrun_operate", waiting.pk, "edit-state")).context["form"]
    FlowRun.objects.filter(pk=waiting.pk).update(state={"n": 5})
    response = operate(client, waiting, "edit-state", state="{}", seen=form.initial["seen"])
    assert "has changed its state in the meantime" in text_of(response)
    waiting.refresh_from_db()
    assert waiting.state == {"n": 5}


def test_an_older_run_is_moved_and_one_that_is_up_to_date_says_so(
    client: Client, older: FlowRun, waiting: FlowRun
) -> None:
    assert operate(client, older, "move").status_code == 302
    older.refresh_from_db()
    assert older.version_id == older.flow.published_id
    response = operate(client, waiting, "move")
    assert response.status_code == 409
    assert "on the published version already" in text_of(response)


def test_an_action_that_is_added_to_the_table_has_its_page_its_form_and_its_permission(
    client: Client, waiting: FlowRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def poke(row: FlowRun, _done: object, **arguments: Any) -> FlowRun:
        calls.append(arguments)
        return row

    action = OperatorAction(
        name="poke",
        label="Poke",
        question="Poke this run?",
        effect="It notices.",
        success="It has noticed.",
        statuses=frozenset({Status.WAITING}),
        why_not="it does not wait",
        function=poke,
        arguments=(
            Argument(name="target", kind="step", label="Target"),
            Argument(name="gently", kind="flag", label="Gently", required=False),
            Argument(name="gifts", kind="values", label="Gifts"),
        ),
        permission="start_flow",
    )
    monkeypatch.setitem(OPERATOR_ACTIONS, "poke", action)
    assert "Poke…" in text_of(client.get(url("flowrun_change", waiting.pk)))
    assert set(client.get(url("flowrun_operate", waiting.pk, "poke")).context["form"].fields) == {
        "target", "gently", "gifts", "reason", "seen",
    }  # fmt: skip
    response = operate(client, waiting, "poke", target="bye", gently="on", gifts='{"n": 1}')
    assert response.status_code == 302
    assert calls == [{"target": "bye", "gently": True, "gifts": {"n": 1}}]
    others = logged_in(make_user("operator", "view_flowrun", "operate_flowrun"))
    assert "Poke…" not in text_of(others.get(url("flowrun_change", waiting.pk)))
    assert operate(others, waiting, "poke").status_code == 403


def test_health_says_that_there_are_no_issues(client: Client, db: None) -> None:
    assert "No issues found." in text_of(client.get(url("flow_health")))
    response = client.get(url("flow_health_json"))
    assert (response.status_code, response.json()["healthy"]) == (200, True)


def test_health_names_the_issues_with_links_and_what_to_do(
    client: Client, live: Flow, clock: ManualClock
) -> None:
    run = create_flowrun(live)
    clock.advance(hours=1)
    page = client.get(url("flow_health"))
    assert "1 run is overdue" in text_of(page)
    assert "Check that workers run" in text_of(page)
    assert url("flowrun_change", run.pk) in page.content.decode()
    response = client.get(url("flow_health_json"))
    assert response.status_code == 503
    assert [each["code"] for each in response.json()["issues"]] == ["no_worker", "overdue"]
    run_due()


def test_health_says_who_pruned_last(client: Client, db: None) -> None:
    record("", FlowOperation.PRUNE, {"runs": 3, "history": 0}, by="ada (manage.py)")
    page = text_of(client.get(url("flow_health")))
    assert "ada (manage.py). Runs: 3" in page


def test_health_links_no_runs_for_those_who_may_not_see_them(
    live: Flow, clock: ManualClock
) -> None:
    run = create_flowrun(live)
    clock.advance(hours=1)
    page = logged_in(make_user("reader", "view_flow")).get(url("flow_health"))
    assert url("flowrun_change", run.pk) not in page.content.decode()


def test_the_list_of_flows_leads_to_the_health(client: Client, db: None) -> None:
    assert url("flow_health") in client.get(url("flow_changelist")).content.decode()


def test_queue_and_retention_are_set_on_the_page_of_the_flow(client: Client, live: Flow) -> None:
    data = {"name": "New", "revision": 1, "retention_runs": "10"}
    client.post(url("flow_change", live.pk), {**data, "queue": "slow", "retention_days": "7"})
    live.refresh_from_db()
    assert (live.queue, live.retention_days, live.retention_runs) == ("slow", 7, 10)
    client.post(url("flow_change", live.pk), {**data, "queue": ""})
    live.refresh_from_db()
    assert (live.queue, live.retention_days) == ("default", None)
