"""“Starts when …”."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flowcontrol.flows import associate_trigger
from flowcontrol.models import Flow, FlowRun, FlowTrigger
from flowcontrol.registry import registry
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, step

from .conftest import text_of, url


def add(client: Client, flow: Flow, key: str, **data: Any) -> Any:
    data = {"mode": "start", "active": "on", **data}
    return client.post(url("flow_trigger_add", flow.pk, key), data, follow=True)


def test_triggers_are_offered_by_plugin_and_showing_them_fires_nothing(
    client: Client, live: Flow
) -> None:
    associate_trigger(live, "test.noon")
    page = text_of(client.get(url("flow_trigger_pick", live.pk)))
    assert "Order paid" in page
    assert "It is noon" in page
    found = text_of(client.get(url("flow_trigger_pick", live.pk), {"q": "noon"}))
    assert "Order paid" not in found
    assert client.get(url("flow_trigger_add", live.pk, "test.noon")).status_code == 200
    assert client.get(url("flow_editor", live.pk)).status_code == 200
    assert not FlowRun.objects.exists()


def test_a_trigger_is_added_with_a_condition_and_the_delay_is_said(
    client: Client, live: Flow
) -> None:
    page = text_of(add(client, live, "test.paid", condition="payload.total > 3"))
    assert "within 2 seconds" in page
    assert "Order paid" in page
    association = FlowTrigger.objects.get()
    assert (association.condition, association.active) == ("payload.total > 3", True)


def test_a_trigger_without_the_object_that_steps_use_is_warned_about(client: Client) -> None:
    fork = step("test.choose", id="fork", condition="object.total > 100")
    flow = publish_flow(build(fork, object="shop.order"), key="orders", name="Orders")
    warning = "brings no object, so “object” is empty in the runs that it starts"
    page = text_of(add(client, flow, "test.noon"))
    assert "The trigger was saved." in page
    assert f"The trigger “It is noon” {warning}. It is used by: 1 “If”." in page
    found = FlowTrigger.objects.get()
    assert warning in text_of(client.get(url("flow_trigger", flow.pk, found.pk)))
    assert warning in text_of(client.get(url("flow_publish", flow.pk)))
    assert "Trigger “It is noon”" in text_of(client.get(url("flow_publish", flow.pk)))
    assert warning not in text_of(add(client, flow, "test.paid"))


def test_the_same_trigger_can_be_associated_twice(client: Client, live: Flow) -> None:
    add(client, live, "test.noon")
    add(client, live, "test.noon")
    assert FlowTrigger.objects.filter(flow=live).count() == 2


@pytest.mark.parametrize(
    ("key", "data", "field"),
    [
        ("test.noon", {"condition": "payload.total >"}, "condition"),
        ("test.noon", {"condition": "x" * 5_000}, "condition"),
        ("test.noon", {"mode": "explode"}, "mode"),
        ("test.noon", {"mode": "go_to"}, "step"),
        ("test.noon", {"mode": "go_to", "step": "nosuch"}, "step"),
        ("test.noon", {"mode": "start", "step": "hello"}, "step"),
    ],
)
def test_bad_input_is_said_at_its_field(
    client: Client, live: Flow, key: str, data: dict[str, str], field: str
) -> None:
    response = add(client, live, key, **data)
    assert response.status_code == 200
    assert field in response.context["form"].errors
    assert not FlowTrigger.objects.exists()


def test_the_form_of_the_trigger_itself_is_part_of_the_page(client: Client, live: Flow) -> None:
    response = add(client, live, "test.abroad", **{"trigger-country": "much too long"})
    assert "at most 2 characters" in text_of(response)
    add(client, live, "test.abroad", **{"trigger-country": "DE"})
    assert FlowTrigger.objects.get().config == {"country": "DE"}


def test_a_trigger_sends_runs_back_to_a_step_of_the_flow(client: Client, live: Flow) -> None:
    add(client, live, "test.noon", mode="go_to", step="hello")
    assert FlowTrigger.objects.get().step == "hello"


def test_a_trigger_is_switched_off_and_on_and_removed(client: Client, live: Flow) -> None:
    found = associate_trigger(live, "test.noon")
    client.post(url("flow_trigger_toggle", live.pk, found.pk))
    found.refresh_from_db()
    assert not found.active
    client.post(url("flow_trigger_toggle", live.pk, found.pk))
    client.post(url("flow_trigger_delete", live.pk, found.pk))
    assert not FlowTrigger.objects.exists()


def test_triggers_of_another_flow_are_not_found(client: Client, live: Flow, draft: Flow) -> None:
    found = associate_trigger(live, "test.noon")
    for name in ("flow_trigger", "flow_trigger_delete", "flow_trigger_toggle"):
        assert client.post(url(name, draft.pk, found.pk)).status_code == 404
        assert client.post(url(name, live.pk, 10**30)).status_code == 404
    assert client.get(url("flow_trigger_add", live.pk, "no.such")).status_code == 404
    assert FlowTrigger.objects.get().active


def test_it_is_shown_when_it_last_started_a_run_and_why_it_did_not(client: Client) -> None:
    flow = publish_flow(build(step("test.wait", id="w")), key="n", name="Noon")
    found = associate_trigger(flow, "test.noon", condition="payload.go")
    trigger = registry.get_trigger("test.noon")
    trigger.fire(payload={"go": True})
    trigger.fire(payload={"go": False})
    page = text_of(client.get(url("flow_editor", flow.pk)))
    assert "Last run started:" in page
    assert "Last event that started no run:" in page
    assert "(the condition was false)" in page
    assert "the condition was false" in text_of(client.get(url("flow_trigger", flow.pk, found.pk)))


def test_a_trigger_whose_plugin_is_gone_can_be_switched_off_and_removed(
    client: Client, live: Flow
) -> None:
    found = FlowTrigger.objects.create(flow=live, trigger="gone.away")
    assert "not installed" in text_of(client.get(url("flow_editor", live.pk)))
    assert "its plugin is missing" in text_of(client.get(url("flow_trigger", live.pk, found.pk)))
    assert client.post(url("flow_trigger_toggle", live.pk, found.pk)).status_code == 302
    response = client.post(url("flow_trigger_toggle", live.pk, found.pk))
    assert response.status_code == 400
    assert "gone.away" in text_of(response)
    assert client.post(url("flow_trigger_delete", live.pk, found.pk)).status_code == 302
