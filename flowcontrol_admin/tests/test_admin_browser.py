"""In a real browser: what it fills in by itself never overwrites what another author has saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol.flows import create_flow, present_document
from flowcontrol.models import Flow
from tests.services import chromium

from .conftest import PASSWORD, make_user, sample, url
from .test_admin_conflicts import Author

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    return create_flow(key="draft", name="A draft", document=sample())


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_back_after_a_refusal_brings_no_old_text_into_the_new_form(
    page: Any, live_server: Any, flow: Flow
) -> None:
    make_user("ada", "view_flow", "change_flow")
    bob = Author(make_user("bob", "view_flow", "change_flow"), flow)
    address = live_server.url + url("flow_step_configure", flow.pk, "hello")
    page.goto(address)
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("[type=submit]")
    text = page.get_by_label("Text:")
    page.wait_for_function("document.activeElement.name?.endsWith('-text')")
    text.fill("from Ada")
    bob.save(text="from Bob")
    page.click("[value=Save]")
    assert "Nothing was saved." in page.inner_text("#content-main")
    page.go_back()
    assert page.get_by_label("Text:").input_value() == "from Bob"
    page.click("[value=Save]")
    stored = present_document(flow).find("hello")
    assert stored is not None
    assert stored.config["text"] == "from Bob"


def test_after_an_operation_the_step_has_the_focus(page: Any, live_server: Any, flow: Flow) -> None:
    make_user("ada", "view_flow", "change_flow")
    page.goto(live_server.url + url("flow_editor", flow.pk))
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.get_by_label("More: Greet").first.click()
    page.get_by_role("button", name="Move down").click()
    page.wait_for_function("document.querySelector('li.fc-step').id === 'step-fork'")
    page.wait_for_function("document.activeElement.closest('li')?.id === 'step-hello'")
    assert present_document(flow).step_ids()[0] == "fork"
