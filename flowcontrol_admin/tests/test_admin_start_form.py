"""The form of a start: the object by a search, the state as rows with a type."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from flowcontrol.models import Flow, FlowRun
from flowcontrol.runs import get
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, step
from tests.cases import each
from tests.shop.models import Customer, Order

from .conftest import logged_in, make_user, text_of, url

STARTER = ("view_flow", "start_flow", "view_flowrun")


def sent(*rows: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"state-TOTAL_FORMS": len(rows), "state-INITIAL_FORMS": 0, **more}
    for number, row in enumerate(rows):
        for name, value in zip(("key", "type", "value"), row, strict=True):
            data[f"state-{number}-{name}"] = value
    return data


def post(client: Client, flow: Flow, *rows: tuple[str, str, str], **more: Any) -> Any:
    return client.post(url("flow_start", flow.pk), sent(*rows, **more))


def test_typed_rows_become_the_state(client: Client, live: Flow) -> None:
    response = post(
        client,
        live,
        ("name", "text", " Ada "),
        ("empty", "text", ""),
        ("count", "number", "3"),
        ("ratio", "number", "2.5"),
        ("price", "decimal", "19.90"),
        ("vip", "yes_no", "Yes"),
        ("day", "date", "2026-01-31"),
        ("at", "datetime", "2026-01-31 14:30"),
        ("list", "json", '[1, {"a": null}]'),
        ("", "text", ""),
    )
    assert response.status_code == 302
    assert get(FlowRun.objects.get().pk).state == {
        "name": " Ada ",
        "empty": "",
        "count": 3,
        "ratio": 2.5,
        "price": Decimal("19.90"),
        "vip": True,
        "day": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 14, 30, tzinfo=UTC),
        "list": [1, {"a": None}],
    }


@each(
    ("type_", "value", "problem"),
    [
        ("number", "three", "Enter a number."),
        ("number", "", "Enter a value."),
        ("number", "1e999", "Enter a number."),
        ("decimal", "1,2,3", "Enter a number."),
        ("yes_no", "perhaps", "Enter yes or no."),
        ("date", "31 Foo", "Enter a valid date."),
        ("datetime", "soon", "Enter a valid date/time."),
        ("json", "{", "This is not valid JSON."),
        ("json", "[" * 100_0, "This is not valid JSON."),
        ("nosuch", "x", "Select a valid choice."),
        ("text", "a\x00b", "Null characters are not allowed."),
    ],
)
def test_a_wrong_value_is_said_in_its_row_and_all_rows_stay(
    client: Client, live: Flow, type_: str, value: str, problem: str
) -> None:
    response = post(client, live, ("a", "text", "kept"), ("b", type_, value))
    assert response.status_code == 200
    first, second = response.context["rows"]
    assert not first.errors
    assert problem in str(second.errors)
    assert 'value="kept"' in response.content.decode()
    assert not FlowRun.objects.exists()


def test_each_key_stands_once(client: Client, live: Flow) -> None:
    twice = post(client, live, ("a", "text", "1"), ("a", "text", "2"))
    assert "stands in a row above" in text_of(twice)
    both = post(client, live, ("a", "text", "1"), state='{"a": 2, "b": 3}')
    assert "These keys stand in the rows too: a." in text_of(both)
    assert '<details class="fc-fold" open>' in both.content.decode()
    keyless = post(client, live, ("", "text", "1"))
    assert "Enter a key for this value." in text_of(keyless)
    assert not FlowRun.objects.exists()


def test_rows_and_json_are_one_state(client: Client, live: Flow) -> None:
    post(client, live, ("a", "number", "1"), state='{"b": 2}')
    assert FlowRun.objects.get().state == {"a": 1, "b": 2}


def test_numbers_are_read_as_the_reader_writes_them(client: Client, live: Flow) -> None:
    with translation.override("de"):
        response = client.post(
            url("flow_start", live.pk),
            sent(("n", "decimal", "1,5"), ("yes", "yes_no", "yes")),
            headers={"accept-language": "de"},
        )
    assert response.status_code == 302
    assert get(FlowRun.objects.get().pk).state == {"n": Decimal("1.5"), "yes": True}


def test_more_rows_need_no_script_and_nothing_typed_is_lost(client: Client, live: Flow) -> None:
    response = post(
        client, live, ("a", "number", "wrong"), more_rows="1", reason="why", state="{", at="soon"
    )
    page = response.content.decode()
    assert len(response.context["rows"].forms) == 4
    assert response.context["form"].errors == {}
    for typed in ('value="wrong"', 'value="why"', "{</textarea>", 'value="soon"'):
        assert typed in page
    assert not FlowRun.objects.exists()


def test_nothing_typed_is_lost_at_the_login(live: Flow) -> None:
    user = make_user("ada", *STARTER)
    asked = Client().post(url("flow_start", live.pk), sent(("a", "text", "typed")))
    assert asked.status_code == 403
    assert 'value="typed"' in asked.content.decode()
    again = logged_in(user).post(
        url("flow_start", live.pk) + "again/", sent(("a", "text", "typed"))
    )
    assert 'value="typed"' in again.content.decode()
    assert not FlowRun.objects.exists()


@pytest.fixture
def about_orders(db: None) -> Flow:
    return publish_flow(build(step("test.wait"), object="shop.order"), key="o", name="O")


@pytest.fixture
def order(db: None) -> Order:
    return Order.objects.create(customer=Customer.objects.create(name="Ada"))


def test_the_object_is_found_by_the_search_of_its_admin(
    client: Client, about_orders: Flow, order: Order
) -> None:
    Order.objects.create(customer=Customer.objects.create(name="Bob"))
    page = client.get(url("flow_start", about_orders.pk)).content.decode()
    assert 'class="admin-autocomplete"' in page
    assert "admin/js/autocomplete.js" in page
    search = url("flow_start_objects", about_orders.pk)
    assert f'data-ajax--url="{search}"' in page
    found = client.get(search, {"term": "ad\x00a", "page": "1"}).json()
    assert found == {
        "results": [{"id": str(order.pk), "text": f"Order {order.pk}"}],
        "pagination": {"more": False},
    }


def test_a_search_has_pages(client: Client, about_orders: Flow) -> None:
    ada = Customer.objects.create(name="Ada")
    Order.objects.bulk_create(Order(customer=ada) for _ in range(21))
    search = url("flow_start_objects", about_orders.pk)
    first = client.get(search, {"term": "Ada"}).json()
    second = client.get(search, {"term": "Ada", "page": "2"}).json()
    assert (len(first["results"]), first["pagination"]) == (20, {"more": True})
    assert (len(second["results"]), second["pagination"]) == (1, {"more": False})


def test_without_a_script_the_key_is_typed(
    client: Client, about_orders: Flow, order: Order
) -> None:
    assert 'name="object_key"' in client.get(url("flow_start", about_orders.pk)).content.decode()
    post(client, about_orders, object="", object_key=str(order.pk))
    assert FlowRun.objects.get().object_key == str(order.pk)


def test_the_chosen_object_stays_chosen(client: Client, about_orders: Flow, order: Order) -> None:
    chosen = f'<option value="{order.pk}" selected>Order {order.pk}</option>'
    linked = client.get(url("flow_start", about_orders.pk), {"object": order.pk})
    assert chosen in linked.content.decode()
    refused = post(client, about_orders, ("a", "number", "x"), object=str(order.pk))
    assert chosen in refused.content.decode()


def test_who_may_not_view_the_objects_finds_none(about_orders: Flow, order: Order) -> None:
    blind = logged_in(make_user("a", *STARTER))
    assert blind.get(url("flow_start_objects", about_orders.pk)).status_code == 403
    page = blind.get(url("flow_start", about_orders.pk), {"object": order.pk}).content.decode()
    assert "admin-autocomplete" not in page
    assert f"Order {order.pk}" not in page
    seeing = logged_in(make_user("b", *STARTER, "view_order"))
    assert len(seeing.get(url("flow_start_objects", about_orders.pk)).json()["results"]) == 1


def test_a_model_without_a_search_is_asked_for_its_key(client: Client, db: None) -> None:
    flow = publish_flow(build(step("test.wait"), object="shop.customer"), key="c")
    page = client.get(url("flow_start", flow.pk)).content.decode()
    assert "admin-autocomplete" not in page
    assert client.get(url("flow_start_objects", flow.pk)).status_code == 403


def test_as_many_queries_however_long_the_flow_is(client: Client) -> None:
    def queries(count: int) -> int:
        steps = [step("test.wait", id=f"s{number}") for number in range(count)]
        flow = publish_flow(build(*steps, object="shop.order"), key=f"f{count}")
        client.get(url("flow_start", flow.pk))
        with CaptureQueriesContext(connection) as captured:
            client.get(url("flow_start", flow.pk))
        return len(captured)

    few = queries(2)
    assert few <= 10
    assert queries(60) == few
