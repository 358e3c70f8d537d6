"""Restarting, editing the state, moving, and the page about the health of the whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from flowcontrol.redaction import HIDDEN
from flowcontrol_admin.pages import url
from flowcontrol_core.flows.lifecycle import record
from flowcontrol_core.models import Flow, FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.store.clock import ManualClock
from flowcontrol_core.testing.helpers import run_due

from .conftest import logged_in, make_user, text_of


def operate(client: Client, run: FlowRun, verb: str, **data: str) -> Any:
    return client.post(url("flowrun_operate", run.pk, verb), data)


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
    shown = form.initial["state"]
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
    assert "has changed its state meanwhile" in text_of(response)
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


def test_health_says_that_all_is_well(client: Client, db: None) -> None:
    assert "All is well." in text_of(client.get(url("flow_health")))
    response = client.get(url("flow_health_json"))
    assert (response.status_code, response.json()["healthy"]) == (200, True)


def test_health_names_the_troubles_with_links_and_what_to_do(
    client: Client, live: Flow, clock: ManualClock
) -> None:
    run = create_flowrun(live)
    clock.advance(hours=1)
    page = client.get(url("flow_health"))
    assert "1 run is overdue" in text_of(page)
    assert "See that workers run" in text_of(page)
    assert url("flowrun_change", run.pk) in page.content.decode()
    response = client.get(url("flow_health_json"))
    assert response.status_code == 503
    assert [each["code"] for each in response.json()["issues"]] == ["no_worker", "overdue"]
    run_due()


def test_health_says_who_pruned_last(client: Client, db: None) -> None:
    record("", "prune", "Deleted: runs 3, history 0.", by="ada (manage.py)")
    page = text_of(client.get(url("flow_health")))
    assert "ada (manage.py). Deleted: runs 3" in page


def test_health_links_no_runs_for_those_who_may_not_see_them(
    live: Flow, clock: ManualClock
) -> None:
    run = create_flowrun(live)
    clock.advance(hours=1)
    page = logged_in(make_user("reader", "view_flow")).get(url("flow_health"))
    assert url("flowrun_change", run.pk) not in page.content.decode()


def test_the_list_of_flows_leads_to_the_health(client: Client, db: None) -> None:
    assert url("flow_health") in client.get(url("flow_changelist")).content.decode()


def test_queue_and_keeping_are_set_on_the_page_of_the_flow(client: Client, live: Flow) -> None:
    data = {"name": "New", "revision": 1, "retention_runs": "10"}
    client.post(url("flow_change", live.pk), {**data, "queue": "slow", "retention_days": "7"})
    live.refresh_from_db()
    assert (live.queue, live.retention_days, live.retention_runs) == ("slow", 7, 10)
    client.post(url("flow_change", live.pk), {**data, "queue": ""})
    live.refresh_from_db()
    assert (live.queue, live.retention_days) == ("default", None)
