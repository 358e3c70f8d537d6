"""An expression is typed in a real browser: message, suggestion, value, completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from flowcontrol.flows import create_flow, present_document
from flowcontrol.models import Flow
from flowcontrol.testing import flow as build
from flowcontrol.testing import step
from tests.services import chromium
from tests.shop.models import Customer, Order

from .conftest import make_user, url
from .test_admin_editor_browser import Desk, strict

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    Order.objects.create(customer=Customer.objects.create(name="Ada"), total="39.80")
    document = build(
        step("test.choose", id="if", condition="True"),
        step("test.greet", id="hello", text="Hello", times=1),
        object="shop.order",
    )
    return create_flow(key="f", name="F", document=document)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, live_server: Any, settings: Settings) -> Iterator[Desk]:
    from playwright.sync_api import sync_playwright

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{strict.__module__}.{strict.__name__}"]
    # Playwright runs an event loop in this thread.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    make_user("ada", "view_flow", "change_flow", "view_order")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        opened = Desk(browser.new_page(), live_server.url)
        yield opened
        assert opened.errors == []
        browser.close()


def condition(flow: Flow) -> str:
    return str(present_document(flow).steps[0].config["condition"])


def test_a_wrong_name_is_told_replaced_evaluated_and_saved(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.row("if").click()
    field = desk.page.locator("[name$=-condition]")
    field.fill("object.totl > 20")
    message = desk.page.locator(".fc-check-error")
    message.wait_for()
    assert "“total”" in message.inner_text()
    assert field.get_attribute("aria-invalid") == "true"
    region = desk.page.locator(".fc-check[role=status]")
    assert region.count() == 1
    assert region.get_attribute("id") in (field.get_attribute("aria-describedby") or "")
    desk.page.get_by_role("button", name="Use “total”").click()
    assert field.input_value() == "object.total > 20"
    value = desk.page.locator(".fc-check-value")
    value.wait_for()
    assert "Order" in value.inner_text()
    assert value.locator("strong").inner_text() == "true"
    assert field.get_attribute("aria-invalid") is None
    desk.press("Control+s")
    desk.page.wait_for_function("document.querySelector('.fc-panel').hidden")
    assert condition(flow) == "object.total > 20"
    assert desk.loads == 0


def test_names_are_completed_by_keys(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.row("if").click()
    field = desk.page.locator("[name$=-condition]")
    field.fill("")
    desk.page.keyboard.type("object.to")
    offers = desk.page.get_by_role("listbox")
    offers.wait_for()
    assert field.get_attribute("role") == "combobox"
    assert field.get_attribute("aria-expanded") == "true"
    active = field.get_attribute("aria-activedescendant")
    assert "object.total" in desk.page.locator(f"[id='{active}']").inner_text()
    desk.page.keyboard.press("Enter")
    assert field.input_value() == "object.total"
    assert offers.count() == 0
    desk.page.keyboard.type("|flo")
    offers.wait_for()
    desk.page.keyboard.press("Tab")
    assert field.input_value() == "object.total|floatformat"
    desk.page.keyboard.type(" > ob")
    offers.wait_for()
    desk.page.keyboard.press("Escape")
    assert offers.count() == 0
    assert desk.page.locator(".fc-panel:visible").count() == 1
    desk.page.keyboard.press("Control+Space")
    offers.wait_for()
    # What is not visible comes last, says why, and is not taken.
    field.fill("")
    desk.page.keyboard.type("object.customer.")
    hidden = desk.page.locator(".fc-offer[aria-disabled]").first
    hidden.wait_for()
    assert "EXPRESSION_FIELDS" in hidden.inner_text()
    hidden.click(force=True)
    assert field.input_value() == "object.customer."


def test_a_template_is_completed_inside_of_its_placeholders(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.row("hello").click()
    field = desk.page.locator("[name$=-text]")
    field.fill("")
    desk.page.keyboard.type("Dear object.to")
    desk.page.wait_for_timeout(500)
    offers = desk.page.get_by_role("listbox")
    assert offers.count() == 0
    desk.page.keyboard.type(" {{ object.to")
    offers.wait_for()
    assert field.get_attribute("role") is None
    desk.page.keyboard.press("ArrowDown")
    desk.page.keyboard.press("Enter")
    desk.page.keyboard.type(" }}")
    assert field.input_value() == "Dear object.to {{ object.total }}"
    desk.page.locator(".fc-check-value").get_by_text("Dear object.to 39.80").wait_for()


def test_the_page_of_a_step_helps_too(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.page.goto(desk.server + url("flow_step_configure", flow.pk, "if"))
    field = desk.page.locator("[name$=-condition]")
    desk.page.locator(".fc-check-value").wait_for()
    field.fill("object.totl")
    desk.page.get_by_role("button", name="Use “total”").click()
    desk.page.get_by_text("39.80").wait_for()
    desk.page.get_by_role("button", name="Save", exact=True).click()
    desk.page.wait_for_selector("[data-fc-editor]")
    assert condition(flow) == "object.total"
