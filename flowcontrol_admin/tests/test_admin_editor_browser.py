"""The editor in a real browser: on one page, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol.flows import create_flow, edit_draft, present_document, present_revision
from flowcontrol.models import Flow
from flowcontrol.testing import flow as build
from flowcontrol.testing import step
from tests.services import chromium

from .conftest import PASSWORD, make_user, sample, url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class Desk:
    """An author at a browser: what is pressed is counted, and each page load."""

    def __init__(self, page: Any, server: str) -> None:
        self.page = page
        self.server = server
        self.clicks = 0
        self.loads = 0
        self.errors: list[str] = []
        page.on("load", lambda _page: self._loaded())
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._listen)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error(e.violatedDirective))"
        )

    def _loaded(self) -> None:
        self.loads += 1

    def _listen(self, message: Any) -> None:
        if message.type == "error" and not re.search("status of (404|409)", message.text):
            self.errors.append(message.text)

    def open(self, flow: Flow) -> None:
        """Log in and open the editor; counting begins there."""
        self.page.goto(self.server + url("flow_editor", flow.pk))
        self.page.fill("[name=username]", "ada")
        self.page.fill("[name=password]", PASSWORD)
        self.page.click("[type=submit]")
        self.page.wait_for_selector("[data-fc-editor]")
        self.page.wait_for_load_state("load")
        self.clicks, self.loads = 0, 0

    def click(self, target: Any) -> None:
        target.click()
        self.clicks += 1

    def settle(self) -> None:
        """Wait until nothing is being done any more."""
        self.page.wait_for_timeout(80)
        self.page.wait_for_function(
            "document.querySelector('[data-fc-editor]').ariaBusy !== 'true'"
        )

    def add(self, at: str, action: str) -> None:
        """Add a step at a place, named by its button."""
        self.click(self.page.get_by_label(at).last)
        self.choose(action)

    def choose(self, action: str) -> None:
        """Choose an action in the open picker."""
        self.click(self.page.locator(f".fc-opt[value='test.{action}']").first)
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.settle()

    def row(self, step_id: str) -> Any:
        return self.page.locator(f"#step-{step_id} > .fc-row > .fc-open")

    @property
    def focused(self) -> str:
        """Return the id of the step whose row has the focus."""
        script = "document.activeElement.closest('li.fc-step')?.id ?? ''"
        return str(self.page.evaluate(script)).removeprefix("step-")


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    return create_flow(key="draft", name="A draft", document=sample())


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, live_server: Any) -> Iterator[Desk]:
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    make_user("ada", "view_flow", "change_flow")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        opened = Desk(browser.new_page(), live_server.url)
        yield opened
        assert opened.errors == []
        browser.close()


def ids(flow: Flow) -> tuple[str, ...]:
    return present_document(flow).step_ids()


def test_a_nested_flow_of_six_steps_is_built_in_13_clicks_without_a_page_load(
    desk: Desk, flow: Flow
) -> None:
    flow = create_flow(key="empty", name="Empty")
    desk.open(flow)
    desk.click(desk.page.get_by_role("link", name="Add step"))
    desk.choose("choose")
    desk.page.keyboard.type("state.n")
    desk.add("Add first in “Then” of If", "greet")
    desk.page.keyboard.type("Hello you")
    desk.add("Add first in “Else” of If", "choose")
    desk.add("Add first in “Then” of If", "greet")
    desk.add("Add after Greet", "wait")
    desk.add("Add after If", "greet")
    desk.page.get_by_label("Text").fill("Bye")
    desk.click(desk.page.get_by_role("button", name="Save", exact=True))
    desk.settle()
    (outer, last) = present_document(flow).steps
    assert outer.config["condition"] == "state.n"
    assert outer.branches["then"][0].config["text"] == "Hello you"
    (inner,) = outer.branches["else"]
    assert [one.action for one in inner.branches["then"]] == ["test.greet", "test.wait"]
    assert last.config["text"] == "Bye"
    assert desk.clicks <= 13
    assert desk.loads == 0


def test_the_picker_narrows_while_one_types_and_enter_takes_the_first(
    desk: Desk, flow: Flow
) -> None:
    desk.open(flow)
    desk.page.get_by_label("Add after Greet").first.click()
    search = desk.page.get_by_label("Search actions")
    search.wait_for()
    desk.page.wait_for_function("document.activeElement.type === 'search'")
    desk.page.keyboard.type("wait")
    assert desk.page.locator(".fc-opt:visible b").all_inner_texts() == [
        "Start new flow", "Delay", "Wait for trigger", "Wait",
    ]  # fmt: skip
    desk.page.keyboard.type(" test")
    assert desk.page.locator(".fc-opt:visible b").all_inner_texts() == ["Wait"]
    assert desk.page.locator(".fc-best").count() == 1
    desk.press("Enter")
    desk.page.wait_for_function("!document.querySelector('dialog[open]')")
    desk.settle()
    assert present_document(flow).steps[1].action == "test.wait"
    assert desk.focused == present_document(flow).steps[1].id


def test_a_form_beside_the_tree_is_saved_shows_its_errors_and_is_cancelled(
    desk: Desk, flow: Flow
) -> None:
    desk.open(flow)
    desk.row("hello").click()
    desk.page.get_by_label("Times").fill("99")
    desk.press("Control+s")
    assert "less than or equal to 10" in desk.page.inner_text(".fc-panel")
    desk.page.get_by_label("Times").fill("7")
    desk.press("Control+s")
    assert desk.page.locator(".fc-panel:visible").count() == 0
    assert desk.focused == "hello"
    assert "Saved “Greet”." in desk.page.inner_text("[role=status]")
    desk.row("hello").click()
    desk.page.get_by_label("Times").fill("5")
    desk.page.get_by_role("link", name="Cancel").click()
    desk.settle()
    found = present_document(flow).find("hello")
    assert found is not None
    assert found.config["times"] == 7
    assert desk.loads == 0


def test_cancel_takes_a_new_step_back(desk: Desk, flow: Flow) -> None:
    before = ids(flow)
    desk.open(flow)
    desk.add("Add after Greet", "greet")
    assert len(ids(flow)) == len(before) + 1
    desk.page.get_by_role("button", name="Cancel").click()
    desk.settle()
    assert ids(flow) == before
    assert desk.loads == 0


def test_the_menu_of_a_row_changes_it_without_a_page_load(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    more = desk.page.get_by_label("More: Greet").first
    more.click()
    desk.page.get_by_role("button", name="Switch off").click()
    desk.settle()
    assert desk.page.locator("#step-hello.fc-off").count() == 1
    assert desk.focused == "hello"
    more.click()
    desk.page.get_by_role("button", name="Duplicate").click()
    desk.settle()
    assert len(ids(flow)) == 5
    more.click()
    desk.page.get_by_role("link", name="Delete").click()
    desk.page.get_by_role("button", name="Delete").click()
    desk.settle()
    assert "hello" not in ids(flow)
    assert desk.loads == 0


def test_an_edit_that_comes_too_late_is_refused_beside_the_tree(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    edit_draft(
        flow, lambda _document: build(step("test.wait", id="hello")), revision=None, author=None
    )
    desk.page.get_by_label("More: Greet").first.click()
    desk.page.get_by_role("button", name="Duplicate").click()
    desk.settle()
    assert "Nothing was saved" in desk.page.inner_text(".fc-panel")
    assert ids(flow) == ("hello",)


def test_arrow_keys_walk_and_alt_arrows_move(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.row("hello").focus()
    desk.press("ArrowDown")
    assert desk.focused == "fork"
    desk.press("ArrowDown", "ArrowDown")
    assert desk.focused == "wait"
    desk.press("Alt+ArrowDown")
    assert ids(flow) == ("hello", "fork", "bye", "wait")
    assert desk.focused == "wait"
    desk.press("Home", "a")
    assert desk.page.locator("dialog[open]").count() == 1
    desk.press("Escape")
    desk.press("End", "Home", "Delete")
    assert "Delete “Greet”?" in desk.page.inner_text(".fc-panel")
    assert desk.loads == 0


def test_a_step_is_put_to_a_place_that_is_chosen_by_keys(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.row("hello").focus()
    desk.press("m")
    places = desk.page.locator(".fc-place")
    assert places.count() == 6
    assert desk.page.evaluate("document.activeElement.value") == "//0"
    assert desk.page.evaluate("document.querySelector('#step-hello > .fc-row').inert")
    desk.press("Escape")
    assert places.count() == 0
    assert desk.focused == "hello"
    desk.press("m", "ArrowDown", "ArrowDown")
    desk.press("Enter")
    assert ids(flow) == ("fork", "wait", "hello", "bye")
    assert desk.focused == "hello"
    assert desk.loads == 0


def test_each_gap_is_a_target_for_the_mouse(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.page.get_by_label("Move Greet").first.click()
    desk.page.locator(".fc-place[value='fork/else/0']").click()
    desk.settle()
    assert [one.id for one in present_document(flow).steps[0].branches["else"]] == ["hello"]


def test_tab_stops_at_one_row_of_the_tree(desk: Desk, flow: Flow) -> None:
    greet = [step("test.greet", text="Hi", times=1) for _ in range(10)]
    inside: Any = {"then": greet[:6], "else": greet[6:9]}
    fork = step("test.choose", condition="True", **inside)
    flow = create_flow(key="big", name="Big", document=build(*greet, fork, *greet[:8]))
    assert len(ids(flow)) == 28
    desk.open(flow)
    script = """[...document.querySelectorAll('.fc-tree :is(a, button, summary)')]
        .filter(e => e.tabIndex >= 0 && e.checkVisibility()).length"""
    assert desk.page.evaluate(script) <= 12


def test_the_first_step_is_visible_and_16_steps_fit(desk: Desk, flow: Flow) -> None:
    inside = [step("test.greet", text="Hi", times=1) for _ in range(3)]
    fork = step("test.choose", condition="True", then=inside)
    flow = create_flow(key="s", name="S", document=build(fork, fork, fork, *inside, inside[0]))
    assert len(ids(flow)) == 16
    desk.page.set_viewport_size({"width": 1280, "height": 800})
    desk.open(flow)
    tops = "[...document.querySelectorAll('li.fc-step')].map(e => e.getBoundingClientRect())"
    assert desk.page.evaluate(f"{tops}[0].top") < 300
    assert desk.page.evaluate(f"{tops}.at(-1).bottom - {tops}[0].top") <= 900


def test_all_works_under_a_strict_policy(desk: Desk, flow: Flow, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.strict"]
    desk.open(flow)
    desk.row("hello").click()
    desk.press("Control+s")
    desk.page.get_by_label("More: Greet").first.click()
    desk.press("Escape")
    desk.page.get_by_label("Add after Greet").first.click()
    desk.settle()


def strict(get_response: Any) -> Any:
    """Send the policy with each page."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response

    return answer


def test_without_scripts_each_link_is_a_page_and_each_button_works(
    monkeypatch: pytest.MonkeyPatch, live_server: Any, flow: Flow
) -> None:
    from playwright.sync_api import sync_playwright

    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    make_user("ada", "view_flow", "change_flow")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        desk = Desk(browser.new_context(java_script_enabled=False).new_page(), live_server.url)
        desk.open(flow)
        desk.row("hello").click()
        desk.page.get_by_role("button", name="Move down").click()
        assert ids(flow)[0] == "fork"
        desk.page.get_by_label("Add after If").click()
        desk.page.locator(".fc-opt[value='test.wait']").click()
        assert [one.action for one in present_document(flow).steps][1] == "test.wait"
        assert re.search(r"/#step-\w+$", desk.page.url)
        browser.close()
    assert present_revision(flow) == 3


def test_a_step_is_copied_cut_and_pasted_by_keys_also_into_another_flow(
    desk: Desk, flow: Flow
) -> None:
    other = create_flow(key="other", name="Other", document=build(step("test.wait", id="alone")))
    desk.open(flow)
    desk.row("fork").focus()
    desk.press("Control+c")
    assert "Copied “If”." in desk.page.inner_text("[role=status]")
    desk.row("hello").focus()
    desk.press("Control+x")
    assert ids(flow) == ("fork", "wait", "bye")
    desk.row("wait").focus()
    desk.press("Control+v")
    assert len(ids(flow)) == 4
    (pasted,) = set(ids(flow)) - {"fork", "wait", "bye"}
    assert desk.focused == pasted
    assert desk.loads == 0
    desk.page.goto(desk.server + url("flow_editor", other.pk))
    desk.page.get_by_label("More: Wait").click()
    desk.page.get_by_role("button", name="Paste after it").click()
    desk.settle()
    assert [one.action for one in present_document(other).steps] == ["test.wait", "test.greet"]


def test_a_flow_of_five_steps_is_built_by_keys_alone(desk: Desk, flow: Flow) -> None:
    flow = create_flow(key="keys", name="Keys", document=build(step("test.wait", id="first")))
    desk.open(flow)
    desk.row("first").focus()
    presses = 0

    def press(*keys: str) -> None:
        nonlocal presses
        presses += len(keys)
        desk.press(*keys)

    def add(name: str, typed: str = "") -> None:
        press("a")
        desk.page.wait_for_selector("dialog[open]")
        press(*name, "Enter")
        desk.page.wait_for_selector("dialog[open]", state="hidden")
        desk.settle()
        if typed:
            press(*typed, "Control+s")

    add("greet", "Hi")
    add("wait test")
    add("if", "n")
    press("ArrowDown")
    add("greet", "Yes")
    fork = present_document(flow).steps[3]
    assert [one.action for one in present_document(flow).steps] == [
        "test.wait", "test.greet", "test.wait", "builtin.if",
    ]  # fmt: skip
    assert fork.config["condition"] == "n"
    assert fork.branches["then"][0].config["text"] == "Yes"
    assert presses <= 150
    assert desk.loads == 0


def test_what_was_typed_is_kept_where_the_session_has_ended(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.row("hello").click()
    desk.page.get_by_label("Text").fill("typed before the end")
    desk.page.context.clear_cookies(name="sessionid")
    with desk.page.expect_navigation():
        desk.page.keyboard.press("Control+s")
    assert "What you typed is kept in this page" in desk.page.inner_text("#content-main")
    kept = desk.page.locator("input[type=hidden][name$='-text']").input_value()
    assert kept == "typed before the end"
    desk.errors.clear()


def test_a_step_is_dragged_to_a_gap(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    grip = desk.page.locator("#step-hello > .fc-row > .fc-grip").bounding_box()
    target = desk.page.locator("#step-bye > .fc-row").bounding_box()
    mouse = desk.page.mouse
    mouse.move(grip["x"] + 10, grip["y"] + 10)
    mouse.down()
    mouse.move(grip["x"] + 10, grip["y"] + 30)
    desk.page.wait_for_selector(".fc-place")
    mouse.move(grip["x"] + 10, target["y"], steps=5)
    mouse.up()
    desk.settle()
    assert ids(flow) == ("fork", "wait", "hello", "bye")
    assert desk.page.locator(".fc-place").count() == 0
    assert desk.focused == "hello"
    desk.page.get_by_label("More: Greet").first.click()
    assert desk.page.locator("#fc-menu:popover-open").count() == 1
    assert desk.loads == 0


def test_what_was_used_lately_is_offered_first(desk: Desk, flow: Flow) -> None:
    desk.open(flow)
    desk.add("Add after Greet", "wait")
    desk.add("Add after Wait", "greet")
    desk.page.get_by_role("button", name="Cancel").click()
    desk.settle()
    desk.page.get_by_label("Add after Wait").first.click()
    desk.settle()
    offered = desk.page.locator(".fc-opt:visible b").all_inner_texts()
    assert offered[:2] == ["Greet", "Wait"]
    assert offered.count("Greet") == 2
    desk.page.keyboard.type("greet")
    assert desk.page.locator(".fc-opt:visible b").all_inner_texts() == ["Greet"]
