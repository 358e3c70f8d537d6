"""Permissions on objects: asked with the object, wherever it or a run about it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User
from django.db import connections
from django.http import HttpRequest
from django.test import Client
from pytest_django import Settings

from flowcontrol.engine import create_flowrun
from flowcontrol.flows import associate_trigger
from flowcontrol.models import Flow, FlowRun
from flowcontrol.runs import OPERATOR_ACTIONS
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from tests.shop.models import Customer, Order

from .conftest import logged_in, make_user, text_of, url

OPERATOR = ("view_flow", "view_flowrun", "operate_flowrun", "start_flow")
UNREACHABLE = "unreachable"


class ByObject(BaseBackend):
    """Permissions for single objects, as packages for them grant them."""

    granted: set[tuple[str, Any]] = set()

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return obj is not None and (perm, obj) in self.granted


@pytest.fixture
def granted(settings: Settings) -> Iterator[set[tuple[str, Any]]]:
    """What is granted to everybody for one object."""
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend", f"{__name__}.{ByObject.__name__}",
    ]  # fmt: skip
    ByObject.granted = set()
    yield ByObject.granted
    ByObject.granted = set()


@pytest.fixture
def flow(db: None) -> Flow:
    return publish_flow(build(step("test.wait", id="w"), object="shop.customer"), key="c", name="C")


@pytest.fixture
def ada(db: None) -> Customer:
    return Customer.objects.create(name="Ada Lovelace")


@pytest.fixture
def run(flow: Flow, ada: Customer) -> FlowRun:
    made = create_flowrun(flow, ada, {"note": "calls at noon"})
    run_due()
    made.refresh_from_db()
    return made


def start(client: Client, flow: Flow, key: object) -> Any:
    return client.post(url("flow_start", flow.pk), {"object": str(key)})


def test_a_run_is_started_only_about_an_object_that_the_user_may_view(
    flow: Flow, ada: Customer
) -> None:
    client = logged_in(make_user("a", *OPERATOR))
    refused, missing = start(client, flow, ada.pk), start(client, flow, 987_654)
    assert refused.status_code == missing.status_code == 200
    assert not FlowRun.objects.exists()
    key = str(ada.pk)
    assert text_of(refused).replace(f"“{key}”", "“987654”") == text_of(missing)
    for right in ("view_customer", "change_customer"):
        assert start(logged_in(make_user(right, *OPERATOR, right)), flow, key).status_code == 302


def test_the_permission_for_one_object_is_enough_for_that_one(
    flow: Flow, ada: Customer, granted: set[tuple[str, Any]]
) -> None:
    client = logged_in(make_user("a", *OPERATOR))
    other = Customer.objects.create(name="Grace")
    granted.add(("shop.view_customer", ada))
    assert start(client, flow, other.pk).status_code == 200
    assert start(client, flow, ada.pk).status_code == 302
    assert FlowRun.objects.get().object_key == str(ada.pk)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> None:
    """The admin of customers shows only those whose names begin with A."""

    def has_view_permission(self: Any, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or obj.name.startswith("A")

    kind = type("Picky", (ModelAdmin,), {"has_view_permission": has_view_permission})
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, Customer, kind(Customer, admin.site))


def test_what_the_models_own_admin_answers_for_an_object_counts(
    flow: Flow, ada: Customer, picky: None
) -> None:
    client = logged_in(make_user("a", *OPERATOR, "view_customer"))
    grace = Customer.objects.create(name="Grace")
    hidden = create_flowrun(flow, grace)
    assert "primary key" in text_of(start(client, flow, grace.pk))
    assert "primary key" in text_of(start(client, flow, 987_654))
    assert start(client, flow, ada.pk).status_code == 302
    page = client.get(url("flowrun_changelist")).content.decode()
    assert "Ada" in page
    assert "Grace" not in page
    assert client.get(url("flowrun_operate", hidden.pk, "cancel")).status_code == 403


def test_the_page_of_a_run_hides_an_object_that_may_not_be_viewed_and_what_is_stored_of_it(
    run: FlowRun,
) -> None:
    client = logged_in(make_user("a", *OPERATOR))
    page = client.get(url("flowrun_change", run.pk))
    assert page.status_code == 200
    shown = page.content.decode()
    for secret in ("Ada", "calls at noon", "/shop/customer/"):
        assert secret not in shown
    assert "You need the permission to view the object" in text_of(page)
    assert page.context["actions"] == []
    seeing = logged_in(make_user("b", *OPERATOR, "view_customer"))
    shown = seeing.get(url("flowrun_change", run.pk)).content.decode()
    for value in ("Ada", "calls at noon", "/shop/customer/"):
        assert value in shown


@pytest.mark.parametrize("slug", [action.slug for action in OPERATOR_ACTIONS.values()])
def test_a_run_about_an_object_that_may_not_be_viewed_is_not_operated(
    run: FlowRun, slug: str
) -> None:
    client = logged_in(make_user("a", *OPERATOR))
    before = FlowRun.objects.filter(pk=run.pk).values().get()
    data = {"step": "w", "state": "{}", "reason": "curious"}
    assert client.get(url("flowrun_operate", run.pk, slug)).status_code == 403
    assert client.post(url("flowrun_operate", run.pk, slug), data).status_code == 403
    assert FlowRun.objects.filter(pk=run.pk).values().get() == before


@pytest.mark.parametrize("most_at_once", [0, 100])
def test_a_bulk_action_leaves_out_runs_about_objects_that_may_not_be_viewed(
    run: FlowRun,
    granted: set[tuple[str, Any]],
    most_at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flowcontrol_admin.operator_actions.MOST_AT_ONCE", most_at_once or 1)
    mine = Customer.objects.create(name="Mine")
    granted.add(("shop.view_customer", mine))
    allowed = [create_flowrun(run.flow, mine), create_flowrun(run.flow)]
    client = logged_in(make_user("a", *OPERATOR))
    data = {
        "action": "cancel_runs", "confirmed": "1",
        "_selected_action": [run.pk, *(one.pk for one in allowed)],
    }  # fmt: skip
    page = text_of(client.post(url("flowrun_changelist"), data, follow=True))
    assert "1 run was left unchanged: you may not view its object." in page
    run_due()
    run.refresh_from_db()
    assert run.status == "waiting"
    assert set(FlowRun.objects.exclude(pk=run.pk).values_list("outcome", flat=True)) == {"canceled"}


def test_runs_whose_type_is_gone_are_for_those_who_may_do_everything(
    client: Client, run: FlowRun
) -> None:
    FlowRun.objects.update(object_type="gone.customer")
    reader = logged_in(make_user("a", *OPERATOR, "view_customer"))
    assert "Ada" not in reader.get(url("flowrun_change", run.pk)).content.decode()
    assert "Ada" in client.get(url("flowrun_change", run.pk)).content.decode()


@pytest.fixture
def unreachable(db: None, tmp_path: Path) -> Iterator[None]:
    """A database that is in DATABASES, and cannot be connected to."""
    connections.databases[UNREACHABLE] = {
        **connections.databases["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "missing" / "database.sqlite3"),
        "OPTIONS": {},
    }
    database: Any = connections[UNREACHABLE]
    # Django's test cases allow the databases only that were configured before.
    database.ensure_connection = database.wrap_database_errors(database.connect)
    yield
    del connections[UNREACHABLE]
    del connections.databases[UNREACHABLE]


@pytest.mark.parametrize("database", ["moved", UNREACHABLE])
def test_an_object_whose_database_cannot_be_asked_is_hidden_unless_all_of_its_kind_may_be_viewed(
    client: Client, run: FlowRun, unreachable: None, database: str
) -> None:
    other = create_flowrun(run.flow)
    FlowRun.objects.filter(pk=run.pk).update(object_database=database, parent=other.pk)
    blind = logged_in(make_user("a", *OPERATOR))
    pages = [
        (url("flowrun_changelist"), {}),
        (url("flowrun_changelist"), {"q": str(run.pk)}),
        (url("flowrun_change", run.pk), {}),
        (url("flowrun_change", other.pk), {}),
        (url("flowrun_diagram", run.pk), {}),
    ]
    for address, asked in pages:
        answer = blind.get(address, asked)
        assert answer.status_code == 200, address
        assert "Ada" not in answer.content.decode()
        assert client.get(address, asked).status_code == 200, address
    assert blind.get(url("flowrun_operate", run.pk, "cancel")).status_code == 403
    data = {"action": "cancel_runs", "confirmed": "1", "_selected_action": [run.pk]}
    page = text_of(blind.post(url("flowrun_changelist"), data, follow=True))
    assert "1 run was left unchanged: you may not view its object." in page
    seeing = logged_in(make_user("b", *OPERATOR, "view_customer"))
    for viewer in (client, seeing):
        assert "Ada" in viewer.get(url("flowrun_change", run.pk)).content.decode()


def test_events_that_started_no_run_hide_an_object_that_may_not_be_viewed(
    live: Flow, ada: Customer
) -> None:
    association = associate_trigger(live, "test.paid", condition="False")
    association.skipped_firings.create(
        reason="condition", object_text="Order of Ada", created_at=live.updated_at
    )
    address = url("flow_trigger", live.pk, association.pk)
    assert "Ada" not in text_of(logged_in(make_user("a", "view_flow")).get(address))
    seeing = logged_in(make_user("b", "view_flow", "view_order"))
    assert "Order of Ada" in text_of(seeing.get(address))


def test_a_permission_for_one_flow_or_run_opens_its_pages_and_no_others(
    live: Flow, draft: Flow, waiting: FlowRun, granted: set[tuple[str, Any]]
) -> None:
    user: User = make_user("a")
    client = logged_in(user)
    granted |= {(f"flowcontrol_core.{name}", live) for name in ("view_flow", "activate_flow")}
    assert client.get(url("flow_editor", live.pk)).status_code == 200
    assert client.get(url("flow_editor", draft.pk)).status_code == 403
    assert client.get(url("flow_editor", 987_654)).status_code == 403
    assert client.post(url("flow_deactivate", live.pk)).status_code == 302
    assert client.get(url("flow_changelist")).status_code == 403
    assert client.get(url("flowrun_change", waiting.pk)).status_code == 403
    granted.add(("flowcontrol_core.view_flowrun", waiting))
    assert client.get(url("flowrun_change", waiting.pk)).status_code == 200
    assert client.get(url("flowrun_operate", waiting.pk, "cancel")).status_code == 403
    granted.add(("flowcontrol_core.operate_flowrun", waiting))
    assert client.post(url("flowrun_operate", waiting.pk, "cancel")).status_code == 302


def test_the_list_asks_for_objects_with_one_query_a_model(
    flow: Flow, granted: set[tuple[str, Any]], django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        customer = Customer.objects.create(name=f"Customer {number}")
        create_flowrun(flow, customer)
        granted.add(("shop.view_customer", customer))
    about_orders = publish_flow(build(step("test.wait"), object="shop.order"), key="o")
    create_flowrun(about_orders, Order.objects.create(customer=Customer.objects.latest("pk")))
    client = logged_in(make_user("a", *OPERATOR))
    with django_assert_max_num_queries(14):
        page = client.get(url("flowrun_changelist")).content.decode()
    assert page.count("Customer ") == 20
    assert "Order " not in page
