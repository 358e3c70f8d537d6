"""The list of flows, and a flow as a whole."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol.engine import create_flowrun
from flowcontrol.flows import create_flow, present_document
from flowcontrol.models import Flow, FlowEvent, FlowOperation, FlowRun, RunEvent
from flowcontrol.runs import cancel
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from flowcontrol_core.flows.lifecycle import record
from flowcontrol_core.flows.overview import live_counts, with_facts

from .conftest import text_of, url

NEW = {
    "name": "New", "key": "new", "object": "", "guard": "",
    "time_zone": "",
}  # fmt: skip


def _fill(count: int) -> None:
    for number in range(count):
        flow = publish_flow(build(step("test.wait")), key=f"f{number}", name=f"Flow {number}")
        create_flowrun(flow)


def _queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as caught:
        assert client.get(address).status_code == 200
    return len(caught)


def test_the_list_costs_as_many_queries_for_many_flows_as_for_few(client: Client) -> None:
    _fill(2)
    few = _queries(client, url("flow_changelist"))
    for number in range(10, 20):
        publish_flow(build(step("test.wait")), key=f"f{number}")
    assert _queries(client, url("flow_changelist")) == few <= 8


def test_the_list_counts_live_runs_by_status(live: Flow, waiting: FlowRun) -> None:
    create_flowrun(live)
    ended = create_flowrun(live)
    cancel(ended)
    found = with_facts(Flow.objects.all()).get(pk=live.pk)
    facts = vars(found)
    assert live_counts([live]) == {live.pk: {"waiting": 1, "pending": 1}}
    assert facts["version_number"] == 1
    assert facts["has_changes"] is False
    ended.refresh_from_db()
    assert facts["last_finished"] == ended.finished_at is not None


def test_a_flow_that_was_never_published_has_changes(client: Client, draft: Flow) -> None:
    assert with_facts(Flow.objects.all()).get(pk=draft.pk).has_changes  # type: ignore[attr-defined]
    page = text_of(client.get(url("flow_changelist"), {"changes": "yes"}))
    assert "A draft" in page
    assert "never" in page


def test_a_new_flow_leads_to_its_editor_which_says_that_it_is_inactive(client: Client) -> None:
    response = client.post(url("flow_add"), NEW, follow=True)
    flow = Flow.objects.get(key="new")
    assert response.redirect_chain[-1][0] == url("flow_editor", flow.pk)
    assert "inactive" in text_of(response)
    assert "never published" in text_of(response)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("key", "live", "already exists"),
        ("key", "Not a key", "lower-case letters"),
        ("key", "x" * 5_000, "at most 100"),
        ("name", "", "required"),
        ("guard", "object.total >", "guard"),
        ("guard", "x" * 5_000, "at most 1000"),
        ("time_zone", "Mars/Olympus", "valid choice"),
        ("object", "no.model", "valid choice"),
        ("max_concurrent", "0", "greater than or equal to 1"),
        ("max_concurrent", "9" * 40, "less than or equal to"),
        ("max_per_object", "many", "whole number"),
    ],
)
def test_bad_input_is_said_at_its_field(
    client: Client, live: Flow, field: str, value: str, message: str
) -> None:
    response = client.post(url("flow_add"), {**NEW, field: value})
    assert response.status_code == 200
    assert response.context["form"].errors.get(field)
    assert message.lower() in text_of(response).lower()
    assert not Flow.objects.filter(key="new").exists()


def test_changing_writes_the_columns_at_once_and_the_options_into_the_draft(
    client: Client, live: Flow
) -> None:
    changed = {**NEW, "revision": 1, "max_concurrent": "3", "guard": "state.n", "name": "Other"}
    assert client.post(url("flow_change", live.pk), changed).status_code == 302
    live.refresh_from_db()
    assert (live.name, live.key, live.max_concurrent) == ("Other", "live", 3)
    assert present_document(live).guard == "state.n"
    assert live.published is not None
    assert live.published.document.get("guard", "") == ""


def test_a_stale_change_of_the_settings_saves_nothing_of_it(client: Client, live: Flow) -> None:
    response = client.post(url("flow_change", live.pk), {**NEW, "revision": 99, "name": "Other"})
    assert response.status_code == 409
    assert "Other" in text_of(response)
    live.refresh_from_db()
    assert live.name == "A live flow"


def test_deleting_a_flow_with_live_runs_is_refused(client: Client, waiting: FlowRun) -> None:
    address = url("flow_delete", waiting.flow_id)
    assert "1 run has not ended" in text_of(client.get(address))
    response = client.post(address)
    assert response.status_code == 409
    assert "1 run of the flow has not ended" in text_of(response)
    assert Flow.objects.filter(pk=waiting.flow_id).exists()


def test_deleting_a_flow_deletes_its_ended_runs_and_says_how_many(
    client: Client, failed: FlowRun
) -> None:
    create_flowrun(failed.flow)
    run_due()
    address = url("flow_delete", failed.flow_id)
    assert "2 runs that have ended" in text_of(client.get(address))
    assert "and 2 runs" in text_of(client.post(address, follow=True))
    assert not FlowRun.objects.exists()
    assert not Flow.objects.exists()


def test_unknown_flows_are_not_found(client: Client, live: Flow) -> None:
    for name in ("flow_editor", "flow_change", "flow_publish", "flow_history", "flow_start"):
        assert client.get(url(name, live.pk + 1)).status_code == 404
        assert client.get(url(name, 10**30)).status_code == 404


def test_pages_need_no_inline_style_or_script(
    client: Client, live: Flow, waiting: FlowRun, failed: FlowRun
) -> None:
    """They work under the policy `default-src 'self'`."""
    names = ("flow_editor", "flow_publish", "flow_versions", "flow_start", "flow_change")
    addresses = [url(name, live.pk) for name in names]
    addresses += [url("flowrun_change", failed.pk), url("flowrun_operate", waiting.pk, "cancel")]
    addresses += [url("flow_plugins"), url("flow_import"), url("flow_step_move", live.pk, "bye")]
    for address in addresses:
        content = client.get(address).content.decode()
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", content), address
        assert not re.search(r"<script(?![^>]*\bsrc=)", content), address


def test_the_history_says_who_did_what_to_a_flow_and_why(client: Client, live: Flow) -> None:
    why = {"reason": "the gateway is down"}
    client.post(url("flow_pause", live.pk), why)
    client.post(url("flow_resume", live.pk), why)
    client.post(url("flow_deactivate", live.pk), why)
    record(live.key, FlowOperation.ACTIVATE, by="ada (manage.py)", reason="for the night")
    client.post(url("flow_start", live.pk), {"state": ""})
    page = text_of(client.get(url("flow_history", live.pk)))
    for words in ("Paused", "Resumed", "Deactivated", "Activated", "root"):
        assert words in page
    assert page.count("the gateway is down") == 3
    assert "ada (manage.py)" in page
    assert "for the night" in page


def test_a_deleted_flow_is_told_of_by_the_next_one_with_its_key(
    client: Client, draft: Flow
) -> None:
    client.post(url("flow_delete", draft.pk), {"reason": "not needed"})
    again = create_flow(key=draft.key, name="Again")
    page = text_of(client.get(url("flow_history", again.pk)))
    assert "root Deleted Runs deleted with it: 0. not needed" in page


def test_each_publication_and_deletion_asks_for_the_reason(
    client: Client, draft: Flow, live: Flow
) -> None:
    for name, flow in (("flow_publish", draft), ("flow_delete", draft), ("flow_editor", live)):
        assert 'name="reason"' in client.get(url(name, flow.pk)).content.decode(), name
    client.post(url("flow_publish", draft.pk), {"revision": 1, "reason": "x" * 600})
    event = FlowEvent.objects.get(key=draft.key, operation="publish")
    assert (event.actor, len(event.message)) == ("root", len("Version 1. ") + 500)


def test_a_start_by_hand_names_who_and_why_in_the_history_of_the_run(
    client: Client, live: Flow
) -> None:
    client.post(url("flow_start", live.pk), {"state": "", "reason": "a customer has called"})
    event = RunEvent.objects.get(kind="operator")
    assert (event.actor, event.message) == ("root", "Started by hand. a customer has called")
