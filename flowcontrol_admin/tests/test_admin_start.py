"""Starting a run by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flowcontrol.flows import deactivate
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from tests.shop.models import Customer, Parcel

from .conftest import logged_in, make_user, text_of, url


def start(client: Client, flow: Flow, **data: Any) -> Any:
    return client.post(url("flow_start", flow.pk), data, follow=True)


@pytest.fixture
def about_customers(db: None) -> Flow:
    return publish_flow(build(step("test.wait"), object="shop.customer"), key="c", name="C")


def test_a_run_is_started_with_a_state_and_its_page_is_shown(client: Client, live: Flow) -> None:
    response = start(client, live, state='{"n": 1}')
    run = FlowRun.objects.get()
    assert response.redirect_chain[-1][0] == url("flowrun_change", run.pk)
    assert run.state == {"n": 1}


@pytest.mark.parametrize(
    "state",
    ["{", "[1]", "3", '{"a": ' + "[" * 100_000, '{"a": ' + "9" * 6_000 + "}", '{"a": 1e999}',
     '{"a": "\\ud800"}', '{"a": "' + "x" * 300_000 + '"}'],
    ids=["cut off", "list", "number", "deep", "long number", "infinite", "surrogate", "huge"],
)  # fmt: skip
def test_a_bad_state_is_a_clear_message(client: Client, live: Flow, state: str) -> None:
    response = start(client, live, state=state)
    assert response.status_code == 200
    assert response.context["form"].errors
    assert not FlowRun.objects.exists()


def test_a_run_at_a_later_time_waits_for_it(client: Client, live: Flow) -> None:
    at = timezone.now() + timedelta(days=2)
    start(client, live, at=f"{at:%Y-%m-%dT%H:%M}")
    run = FlowRun.objects.get()
    assert run.due_at == at.replace(second=0, microsecond=0)


@pytest.mark.parametrize("at", ["soon", "2001-01-01T00:00", "9999-12-31T23:59", "0001-01-01T00:00"])
def test_a_bad_time_is_a_clear_message(client: Client, live: Flow, at: str) -> None:
    response = start(client, live, at=at)
    assert response.context["form"].errors["at"]
    assert not FlowRun.objects.exists()


def test_the_object_is_chosen_by_its_key(client: Client, about_customers: Flow) -> None:
    customer = Customer.objects.create(name="Ada")
    start(client, about_customers, object=str(customer.pk))
    assert FlowRun.objects.get().object_text == "Ada"


@pytest.mark.parametrize("key", ["", "unknown", "999", "9" * 60, "-1", "1.5", "a\x00b", "x" * 900])
def test_an_object_that_is_not_there_is_a_clear_message(
    client: Client, about_customers: Flow, key: str
) -> None:
    response = start(client, about_customers, object=key)
    assert response.status_code == 200
    assert response.context["form"].errors["object"]
    assert not FlowRun.objects.exists()


def test_objects_with_uuids_are_found(client: Client) -> None:
    flow = publish_flow(build(step("test.wait"), object="shop.parcel"), key="p")
    parcel = Parcel.objects.create()
    assert start(client, flow, object="no uuid").context["form"].errors["object"]
    start(client, flow, object=str(parcel.pk))
    assert FlowRun.objects.get().object_key == str(parcel.pk)


def test_the_list_of_objects_is_linked_for_those_who_may_see_it(about_customers: Flow) -> None:
    permissions = ("view_flow", "start_flow")
    address = url("flow_start", about_customers.pk)
    page = logged_in(make_user("a", *permissions)).get(address).content.decode()
    assert "/shop/customer/" not in page
    seeing = logged_in(make_user("b", *permissions, "view_customer"))
    assert "/shop/customer/" in seeing.get(address).content.decode()


def test_a_refused_start_says_why(client: Client, live: Flow, draft: Flow) -> None:
    deactivate(live)
    assert "is not active" in text_of(start(client, live))
    assert "no published version" in text_of(start(client, draft))


def test_a_reached_limit_says_which(client: Client) -> None:
    flow = publish_flow(build(step("test.wait")), key="one", max_concurrent=1)
    start(client, flow)
    run_due()
    assert "The limit max_concurrent" in text_of(start(client, flow))
