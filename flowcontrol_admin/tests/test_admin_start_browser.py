"""In a real browser, under a strict policy: the search for an object, and live progress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol.engine import create_flowrun
from flowcontrol.models import BulkOperation, Flow, FlowRun
from flowcontrol.runs import start_bulk_operation
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, step
from flowcontrol_core.runs.operations.bulk import work_on_bulk_operations
from tests.services import chromium
from tests.shop.models import Customer, Order

from .conftest import PASSWORD, make_user, url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def strictly(page: Any) -> list[str]:
    """Send the strictest policy with each page; return what the browser says, in a live list."""
    found: list[str] = []

    def answer(route: Any) -> None:
        response = route.fetch(max_redirects=0)
        policy = {"content-security-policy": "default-src 'self'"}
        route.fulfill(response=response, headers={**response.headers, **policy})

    page.on("console", lambda message: found.append(message.text))
    page.route("**/flowcontrol_core/**", answer)
    return found


def log_in(page: Any, address: str) -> list[str]:
    page.goto(address)
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_url(address)
    refused = strictly(page)
    page.reload()
    return refused


def violations(texts: list[str]) -> list[str]:
    return [text for text in texts if "Content Security Policy" in text]


def test_an_object_is_found_by_typing(page: Any, live_server: Any) -> None:
    flow = publish_flow(build(step("test.wait"), object="shop.order"), key="o", name="O")
    order = Order.objects.create(customer=Customer.objects.create(name="Ada"))
    Order.objects.create(customer=Customer.objects.create(name="Bob"))
    make_user("ada", "view_flow", "start_flow", "view_flowrun", "view_order")
    refused = log_in(page, live_server.url + url("flow_start", flow.pk))
    page.click(".select2-selection")
    page.keyboard.type("ada")
    page.wait_for_function("document.querySelectorAll('.select2-results__option').length === 1")
    page.wait_for_selector(f".select2-results__option:has-text('Order {order.pk}')")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Dry run").click()
    page.wait_for_selector("#fc-dry")
    assert page.input_value("[name=object]") == str(order.pk)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/flowrun/*/change/")
    assert FlowRun.objects.get().object_key == str(order.pk)
    assert violations(refused) == []


def test_a_row_has_the_input_of_its_type_and_drops_nothing(page: Any, live_server: Any) -> None:
    flow = publish_flow(build(step("test.wait")), key="f", name="F")
    make_user("ada", "view_flow", "start_flow", "view_flowrun")
    refused = log_in(page, live_server.url + url("flow_start", flow.pk))
    page.fill("[name=state-0-key]", "day")
    page.select_option("[name=state-0-type]", "date")
    page.fill("input[type=date][name=state-0-value]", "2026-01-31")
    page.fill("[name=state-1-key]", "n")
    page.fill("[name=state-1-value]", "soon")
    page.select_option("[name=state-1-type]", "date")
    assert page.input_value("[name=state-1-value]") == "soon"
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_selector("text=Enter a valid date.")
    assert page.input_value("[name=state-0-value]") == "2026-01-31"
    assert page.input_value("[name=state-1-value]") == "soon"
    page.fill("[name=state-1-value]", "2026-02-01")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/flowrun/*/change/")
    assert FlowRun.objects.get().state["n"] == {"$date": "2026-02-01"}
    assert violations(refused) == []


def test_progress_moves_on_without_a_reload(
    page: Any, live_server: Any, transactional_db: None
) -> None:
    flow: Flow = publish_flow(build(step("test.wait")), key="f", name="F")
    keys = [create_flowrun(flow).pk for _ in range(2)]
    operation: BulkOperation = start_bulk_operation("cancel", {"pk__in": keys})
    make_user("ada", "view_flow", "view_flowrun", "operate_flowrun")
    refused = log_in(page, live_server.url + url("flowrun_operation", operation.pk))
    assert page.locator("progress").get_attribute("value") == "0"
    page.evaluate("window.stays = true")
    work_on_bulk_operations()
    page.wait_for_selector("[data-fc-ended]")
    assert "2 done, 0 refused of 2" in page.inner_text(".fc-headline")
    assert page.evaluate("window.stays") is True
    assert violations(refused) == []
