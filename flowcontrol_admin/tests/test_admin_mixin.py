"""Any admin with the mixin: "Start flow…" for the objects of its list, and their runs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from flowcontrol.engine import create_flowrun
from flowcontrol.flows import create_flow, deactivate
from flowcontrol.models import BulkOperation, EventKind, Flow, FlowRun, RunEvent
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from flowcontrol_admin import FlowAdminMixin, bulk_starts
from flowcontrol_admin.mixins import ACTION
from tests.shop.models import Customer, Order

from .conftest import logged_in, make_user, text_of, url

CHANGELIST = "admin:shop_order_changelist"
STAFF = ("view_order", "change_order", "view_flow", "start_flow", "view_flowrun")


@pytest.fixture
def flow(db: None) -> Flow:
    return publish_flow(
        build(step("test.wait"), object="shop.order"), key="o", name="Remind", max_per_object=1
    )


@pytest.fixture
def orders(db: None) -> list[Order]:
    ada = Customer.objects.create(name="Ada")
    return [Order.objects.create(customer=ada) for _ in range(3)]


def act(client: Client, orders: list[Order], **data: Any) -> Any:
    keys = [order.pk for order in orders]
    sent = {"action": ACTION, ACTION_CHECKBOX_NAME: keys, **data}
    return client.post(reverse(CHANGELIST), sent, follow=True)


def start(client: Client, flow: Flow, orders: list[Order], **data: Any) -> Any:
    return act(client, orders, confirmed="1", flow=str(flow.pk), **data)


def listed_runs(client: Client, address: str) -> int:
    count: int = client.get(address).context["cl"].result_count
    return count


def change_page(client: Client, order: Order) -> str:
    return text_of(client.get(reverse("admin:shop_order_change", args=[order.pk])))


def test_it_is_importable_before_django_is_set_up() -> None:
    code = "import flowcontrol_admin; assert 'django' not in __import__('sys').modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert FlowAdminMixin.__name__ == "FlowAdminMixin"


def test_the_list_asks_which_flow_and_changes_nothing(
    client: Client, flow: Flow, orders: list[Order]
) -> None:
    publish_flow(build(step("test.wait")), key="other", name="About nothing")
    create_flow(key="d", name="Never published", document=build(object="shop.order"))
    off = publish_flow(build(step("test.wait"), object="shop.order"), key="off", name="Off")
    deactivate(off)
    assert "Start flow…" in text_of(client.get(reverse(CHANGELIST)))
    text = text_of(act(client, orders))
    assert "Start a flow for 3 orders." in text
    assert "Remind" in text
    for other in ("About nothing", "Never published", "Off "):
        assert other not in text
    assert not FlowRun.objects.exists()


def test_each_object_gets_a_run_and_refusals_are_counted_by_reason(
    client: Client, flow: Flow, orders: list[Order]
) -> None:
    create_flowrun(flow, orders[0])
    run_due()
    text = text_of(start(client, flow, orders, reason="a sale"))
    assert "“Remind” was started for 2 objects." in text
    assert "For 1 object it was not started: The limit max_per_object" in text
    assert FlowRun.objects.count() == 3
    newest = FlowRun.objects.order_by("-pk")[0]
    (event,) = RunEvent.objects.filter(run=newest, kind=EventKind.OPERATOR)
    assert (event.actor, str(event.message)) == ("root", "Started by hand. a sale")
    assert not BulkOperation.objects.exists()


def test_more_than_a_page_of_objects_are_left_to_the_workers(
    client: Client, flow: Flow, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_starts, "MOST_AT_ONCE", 2)
    create_flowrun(flow, orders[0])
    run_due()
    response = start(client, flow, orders[:1], select_across="1", reason="a sale")
    operation = BulkOperation.objects.get()
    assert response.redirect_chain[-1][0] == url("flowrun_operation", operation.pk)
    text = text_of(response)
    assert "The workers start “Remind” for 3 objects in chunks." in text
    assert "0 done, 0 refused of 3" in text
    run_due()
    operation.refresh_from_db()
    assert (operation.done, operation.refused, operation.actor) == (2, 1, "root")
    after = text_of(client.get(url("flowrun_operation", operation.pk)))
    assert "2 done, 1 refused of 3" in after
    assert "The limit max_per_object" in after


def test_too_many_objects_are_left_alone(
    client: Client, flow: Flow, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_starts, "MOST_IN_BULK", 2)
    assert "nothing was done" in text_of(act(client, orders))


def test_without_a_flow_about_the_model_it_says_so(client: Client, orders: list[Order]) -> None:
    assert "No active, published flow about orders exists" in text_of(act(client, orders))


def test_a_flow_that_is_not_offered_is_refused(client: Client, flow: Flow) -> None:
    other = publish_flow(build(step("test.wait")), key="other")
    order = Order.objects.create(customer=Customer.objects.create(name="Ada"))
    response = start(client, other, [order])
    assert response.context["form"].errors["flow"]
    assert not FlowRun.objects.exists()


@pytest.mark.parametrize("missing", ["view_flow", "start_flow"])
def test_who_may_not_start_is_offered_nothing(
    flow: Flow, orders: list[Order], missing: str
) -> None:
    client = logged_in(make_user("a", *(name for name in STAFF if name != missing)))
    assert "Start flow…" not in text_of(client.get(reverse(CHANGELIST)))
    assert "Start flow…" not in change_page(client, orders[0])
    start(client, flow, orders)
    assert not FlowRun.objects.exists()
    one = reverse("admin:shop_order_start_flow", args=[orders[0].pk])
    assert client.get(one).status_code == 403


def test_objects_that_the_user_may_not_view_are_left_out(
    flow: Flow, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = orders[1].pk

    def has_view_permission(self: Any, request: Any, obj: Any = None) -> bool:
        return obj is None or obj.pk != hidden

    from tests.shop.admin import OrderAdmin

    monkeypatch.setattr(OrderAdmin, "has_view_permission", has_view_permission)
    client = logged_in(make_user("a", "view_flow", "start_flow", "view_flowrun"))
    text = text_of(start(client, flow, orders))
    assert "1 object was left out: you may not view it." in text
    assert {run.object_key for run in FlowRun.objects.all()} == {
        str(orders[0].pk),
        str(orders[2].pk),
    }
    one = reverse("admin:shop_order_start_flow", args=[hidden])
    assert client.get(one).status_code == 403


def test_the_page_of_an_object_leads_to_its_runs_and_to_a_start(
    client: Client, flow: Flow, orders: list[Order]
) -> None:
    create_flowrun(flow, orders[0])
    page = client.get(reverse("admin:shop_order_change", args=[orders[0].pk]))
    assert "Runs (1)" in text_of(page)
    assert "History" in text_of(page)
    listed = f"{url('flowrun_changelist')}?object_type=shop.order&amp;about={orders[0].pk}"
    assert listed in page.content.decode()
    assert "Runs (0)" in change_page(client, orders[1])
    assert listed_runs(client, listed.replace("&amp;", "&")) == 1
    offered = client.get(reverse("admin:shop_order_start_flow", args=[orders[0].pk]))
    assert f"{url('flow_start', flow.pk)}?object={orders[0].pk}" in offered.content.decode()
    assert "Runs (" not in text_of(client.get(reverse("admin:shop_order_add")))


def test_the_list_of_runs_of_an_object_tells_nothing_to_who_may_not_view_it(
    flow: Flow, orders: list[Order]
) -> None:
    create_flowrun(flow, orders[0])
    address = f"{url('flowrun_changelist')}?object_type=shop.order&about={orders[0].pk}"
    blind = logged_in(make_user("a", "view_flowrun"))
    assert listed_runs(blind, address) == 0
    seeing = logged_in(make_user("b", "view_flowrun", "view_order"))
    assert listed_runs(seeing, address) == 1
    for odd in ("?about=1", "?object_type=no.such&about=1", "?about=a%00b"):
        answer = seeing.get(url("flowrun_changelist") + odd)
        assert answer.status_code == 200


def test_an_object_that_does_not_exist_is_not_found(client: Client, db: None) -> None:
    assert client.get(reverse("admin:shop_order_start_flow", args=[7])).status_code == 404


def test_as_many_queries_for_one_object_as_for_many(
    client: Client, admin_user: User, flow: Flow
) -> None:
    def queries() -> int:
        orders = list(Order.objects.all())
        with CaptureQueriesContext(connection) as captured:
            act(client, orders)
        return len(captured)

    ada = Customer.objects.create(name="Ada")
    Order.objects.create(customer=ada)
    queries()
    one = queries()
    Order.objects.bulk_create(Order(customer=ada) for _ in range(50))
    assert queries() == one
