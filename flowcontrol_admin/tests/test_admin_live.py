"""In a real browser: the page of a run keeps itself up to date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol import runs
from flowcontrol.engine import create_flowrun
from flowcontrol.models import FlowRun
from flowcontrol.testing import publish_flow, run_due
from tests.services import chromium

from .conftest import PASSWORD, make_user, sample, url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RIGHTS = ("view_flow", "view_flowrun", "operate_flowrun")


@pytest.fixture
def run(transactional_db: None) -> FlowRun:
    made = create_flowrun(publish_flow(sample(), key="live", name="Live"), state={"n": 1})
    run_due()
    made.refresh_from_db()
    return made


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def open_run(page: Any, live_server: Any, run: FlowRun) -> None:
    make_user("ada", *RIGHTS)
    page.goto(live_server.url + url("flowrun_change", run.pk))
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("[data-fc-live-pause]", state="visible")


def test_a_page_shows_what_has_changed_and_keeps_focus_and_what_is_open(
    page: Any, live_server: Any, run: FlowRun
) -> None:
    open_run(page, live_server, run)
    page.click("#fc-raw > summary")
    page.click("#fc-state > summary")
    page.focus("#fc-act-cancel")
    runs.edit_state(run, state={"n": 4_711})
    page.wait_for_function("document.querySelector('#fc-state').textContent.includes('4711')")
    assert page.evaluate("document.activeElement.id") == "fc-act-cancel"
    assert page.evaluate("document.querySelector('#fc-raw').open")
    assert not page.evaluate("document.querySelector('#fc-state').open")


def test_a_page_stops_when_it_is_paused_and_when_the_run_has_ended(
    page: Any, live_server: Any, run: FlowRun
) -> None:
    open_run(page, live_server, run)
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.headers.get("x-flowcontrol", "")))
    page.click("[data-fc-live-pause]")
    assert page.get_attribute("[data-fc-live-pause]", "aria-pressed") == "true"
    runs.pause(run)
    page.wait_for_timeout(4_000)
    assert "live" not in polls
    assert "Waiting" in page.inner_text("#fc-hero h2")
    page.click("[data-fc-live-pause]")
    page.wait_for_function("document.querySelector('#fc-hero h2').innerText.includes('Paused')")
    # Screen readers are told.
    assert "Paused" in page.inner_text("[data-fc-said]")
    runs.cancel(run)
    page.wait_for_function("document.querySelector('#fc-hero h2').innerText.includes('Canceled')")
    assert not page.is_visible("[data-fc-live-pause]")
    polls.clear()
    page.wait_for_timeout(4_000)
    assert "live" not in polls


def test_a_page_works_without_scripts(live_server: Any, run: FlowRun) -> None:
    from playwright.sync_api import sync_playwright

    make_user("ada", *RIGHTS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(live_server.url + url("flowrun_change", run.pk))
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", PASSWORD)
        page.click("[type=submit]")
        assert "Waiting at “Wait”" in page.inner_text("#fc-hero")
        # Nothing is offered that needs one.
        assert not page.is_visible("[data-fc-live-pause]")
        page.click("text=Diagram")
        assert page.is_visible(".fc-svg")
        browser.close()
