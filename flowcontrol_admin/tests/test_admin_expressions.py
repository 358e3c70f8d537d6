"""The check of an expression while it is typed: what is wrong, its value, who may see it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from flowcontrol.flows import associate_trigger, create_flow
from flowcontrol.models import Flow
from flowcontrol.testing import flow as build
from flowcontrol.testing import step
from tests.shop.models import Customer, Order

from .conftest import logged_in, make_user, url

LISTED = {"shop.order": ["customer", "total"], "shop.customer": ["name", "api_token"]}
SECRET = "tok-4711-very-private"


@pytest.fixture
def order(db: None) -> Order:
    ada = Customer.objects.create(name="Ada", email="ada@example.org", api_token=SECRET)
    Order.objects.create(customer=ada, total="12.50")
    return Order.objects.create(customer=ada, total="39.80")


@pytest.fixture
def flow(db: None) -> Flow:
    document = build(
        step("test.choose", id="if", condition="True", then=[step("test.greet", id="hello")]),
        object="shop.order",
    )
    return create_flow(key="f", name="F", document=document)


@pytest.fixture
def author(db: None) -> User:
    return make_user("author", "view_flow", "view_order")


def check(client: Client, flow: Flow, text: str, kind: str = "expression", **more: str) -> Any:
    data = {"text": text, "kind": kind, **more}
    response = client.post(url("flow_expression", flow.pk, "if"), data)
    assert response.status_code == 200
    return response.json()


def complete(client: Client, flow: Flow, step_id: str = "if") -> dict[str, Any]:
    found = client.get(url("flow_expression", flow.pk, step_id)).json()["completions"]
    return {each["text"]: each for each in found}


def test_a_field_that_the_object_does_not_have_is_marked_with_the_one_that_was_meant(
    client: Client, flow: Flow
) -> None:
    (problem,) = check(client, flow, "object.totl > 100")["problems"]
    assert "totl" in problem["message"]
    assert (problem["position"], problem["length"]) == (len("object."), len("totl"))
    assert problem["suggestion"] == "total"
    assert problem["use"] == "Use “total”"


def test_a_text_that_cannot_be_compiled_is_marked(client: Client, flow: Flow) -> None:
    (problem,) = check(client, flow, "object.total >")["problems"]
    assert problem["message"]
    (problem,) = check(client, flow, "object.total|uper")["problems"]
    assert (problem["position"], problem["suggestion"]) == (len("object.total|"), "upper")
    (problem,) = check(client, flow, "Hi {{ object.totl }}", "template")["problems"]
    assert problem["position"] == len("Hi {{ object.")


def test_a_filter_of_html_is_known_in_a_template_that_is_html(client: Client, flow: Flow) -> None:
    text = "{{ object.total|linebreaks }}"
    assert check(client, flow, text, "template")["problems"]
    assert check(client, flow, text, "html")["problems"] == []


def test_a_name_that_nothing_brings_is_a_warning(client: Client, flow: Flow) -> None:
    associate_trigger(flow, "test.paid")
    found = check(client, flow, "state.sum > payload.totl")
    assert found["problems"] == []
    assert [each["suggestion"] for each in found["warnings"]] == ["total", ""]


def test_the_value_is_that_of_the_newest_object_or_of_the_one_that_was_asked_for(
    client: Client, flow: Flow, order: Order
) -> None:
    found = check(client, flow, "object.total > 20")
    assert (found["note"], found["value"]) == (f"For “Order {order.pk}” this is", "true")
    other = found["another"]["key"]
    found = check(client, flow, "object.total", object=other)
    assert (found["note"], found["value"]) == (f"For “Order {other}” this is", "12.50")
    assert check(client, flow, "Sum: {{ object.total }}", "template")["value"] == "Sum: 39.80"
    assert check(client, flow, "1 + 1")["value"] == "2"


def test_what_only_a_run_has_is_told_and_not_evaluated(client: Client, flow: Flow) -> None:
    associate_trigger(flow, "test.paid")
    found = check(client, flow, "payload.total > 3")
    assert "value" not in found
    assert "payload.total" in found["note"]


def test_without_an_object_that_the_user_may_view_no_value_is_shown(
    flow: Flow, order: Order, author: User
) -> None:
    stranger = logged_in(make_user("stranger", "view_flow"))
    for key in ("", str(order.pk), "987654"):
        found = check(stranger, flow, "object.total", object=key)
        assert "value" not in found
        assert found["note"] == "You may view no order for which a value could be shown."
    assert check(logged_in(author), flow, "object.total")["value"] == "39.80"
    assert check(stranger, flow, "object.totl")["problems"]
    Order.objects.all().delete()
    assert "value" not in check(logged_in(author), flow, "object.total")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("object.customer.name", "expression"),
        ("object['customer']['name']", "expression"),
        ("{% with o=object %}{{ o.customer.name }}{% endwith %}", "template"),
        ("{{ object.customer }}", "template"),
    ],
)
def test_the_value_of_a_related_object_is_shown_to_those_who_may_view_it(
    flow: Flow, order: Order, author: User, text: str, kind: str
) -> None:
    with override_settings(FLOWCONTROL={"EXPRESSION_FIELDS": LISTED}):
        found = check(logged_in(author), flow, text, kind)
        assert "value" not in found
        assert "Customers" in found["note"]
        both = make_user("both", "view_flow", "view_order", "view_customer")
        assert check(logged_in(both), flow, text, kind)["value"] == "Ada"


@pytest.mark.parametrize(
    "text",
    [
        "object.customer.api_token",
        "object['customer']['api_token']",
        "object.customer['api_token']",
    ],
)
def test_a_hidden_field_is_no_value(client: Client, flow: Flow, order: Order, text: str) -> None:
    with override_settings(FLOWCONTROL={"EXPRESSION_FIELDS": LISTED}):
        response = client.post(
            url("flow_expression", flow.pk, "if"), {"text": text, "kind": "expression"}
        )
    assert SECRET not in response.content.decode()


def test_a_secret_in_a_text_is_redacted(client: Client, flow: Flow, order: Order) -> None:
    Customer.objects.update(name=f"password={SECRET}")
    with override_settings(FLOWCONTROL={"EXPRESSION_FIELDS": LISTED}):
        for text in ("object.customer.name", "object.customer"):
            assert SECRET not in str(check(client, flow, text))
        assert "•••" in check(client, flow, "object.customer.name")["value"]


def test_the_budget_of_the_sandbox_ends_an_evaluation(
    client: Client, flow: Flow, order: Order
) -> None:
    inner = "{% for b in object.status %}x{% endfor %}"
    for _ in range(8):
        inner = "{% for a in '0123456789'|make_list %}" + inner + "{% endfor %}"
    found = check(client, flow, inner, "template")
    assert "value" not in found
    assert found["failure"]["message"]


def test_a_long_value_is_shortened(client: Client, flow: Flow) -> None:
    found = check(client, flow, "{{ 'x'|center:5000 }}|", "template")
    assert len(found["value"]) < 400


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "python", "text": "1"},
        {"kind": "expression", "text": "x" * 50_000},
        {"kind": "expression", "text": "1", "object": "x" * 5_000},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    client: Client, flow: Flow, data: dict[str, str]
) -> None:
    response = client.post(url("flow_expression", flow.pk, "if"), data)
    assert response.status_code == 400
    assert response.json()["errors"]


@pytest.mark.parametrize("text", ["\0", "{" * 2_000, "((((" * 200, "'", "a.b.c|", "٣ + ?"])
@pytest.mark.parametrize("kind", ["expression", "template", "html"])
def test_no_text_breaks_the_check(client: Client, flow: Flow, text: str, kind: str) -> None:
    data = {"text": text, "kind": kind, "object": "'; --"}
    response = client.post(url("flow_expression", flow.pk, "if"), data)
    assert response.status_code in (200, 400)
    assert response.headers["Content-Type"] == "application/json"


def test_a_text_longer_than_an_expression_may_be_is_told_so(client: Client, flow: Flow) -> None:
    (problem,) = check(client, flow, "1+" * 600 + "1")["problems"]
    assert (problem["position"], problem["length"]) == (1_000, 201)


def test_an_empty_text_is_fine(client: Client, flow: Flow) -> None:
    assert check(client, flow, " ") == {"problems": [], "warnings": []}


def test_it_asks_for_the_permission_to_view_the_flow(flow: Flow) -> None:
    client = logged_in(make_user("clerk", "view_order"))
    address = url("flow_expression", flow.pk, "if")
    assert client.get(address).status_code == 403
    assert client.post(address, {"text": "1", "kind": "expression"}).status_code == 403
    assert logged_in(make_user("v", "view_flow")).get(address).status_code == 200


def test_a_step_that_the_flow_does_not_have_is_not_found(client: Client, flow: Flow) -> None:
    assert client.get(url("flow_expression", flow.pk, "gone")).status_code == 404


def test_fields_keys_and_filters_are_offered(client: Client, flow: Flow) -> None:
    associate_trigger(flow, "test.paid")
    found = complete(client, flow)
    assert found["object.total"]["detail"] == "Total: Decimal number"
    assert found["payload.total"]["usable"]
    assert found["upper"]["detail"] == "Writes the text in upper case."
    assert {"now.hour", "object.customer_id", "object.customer.pk", "object"} <= found.keys()


def test_what_is_not_visible_is_offered_with_the_remedy_and_a_secret_is_not(
    client: Client, flow: Flow
) -> None:
    found = complete(client, flow)
    assert not found["object.customer.email"]["usable"]
    assert "EXPRESSION_FIELDS" in found["object.customer.email"]["detail"]
    assert "shop.customer" in found["object.customer.email"]["detail"]
    with override_settings(FLOWCONTROL={"EXPRESSION_FIELDS": LISTED}):
        found = complete(client, flow)
    assert found["object.customer.name"]["usable"]
    assert not found["object.status"]["usable"]
    assert not [text for text in found if "token" in text]


def test_the_queries_do_not_grow_with_the_flow(client: Client, order: Order) -> None:
    def queries(count: int) -> int:
        steps = [step("test.greet", text="Hello", times=1) for _ in range(count)]
        document = build(*steps, step("test.choose", id="if"), object="shop.order")
        flow = create_flow(key=f"f{count}", name="Flow", document=document)
        with CaptureQueriesContext(connection) as caught:
            check(client, flow, "object.total > 1")
        return len(caught)

    assert queries(3) == queries(60) <= 10


def test_the_form_of_a_step_names_the_address_of_the_check(client: Client, flow: Flow) -> None:
    page = client.get(url("flow_step_configure", flow.pk, "if")).content.decode()
    assert f'data-fc-check="{url("flow_expression", flow.pk, "if")}"' in page
    assert "flowcontrol_admin/expressions.js" in page
    assert "data-fc-expression" in page
