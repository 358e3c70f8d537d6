"""The page of a run: its head, its track, and what a poll of it costs and tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol import runs
from flowcontrol.engine import create_flowrun
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import ManualClock, publish_flow, run_due, step
from flowcontrol.testing import flow as build
from flowcontrol_admin.run_head import follows
from flowcontrol_admin.run_track import Line, next_steps
from flowcontrol_core.document.tree import RetryPolicy
from tests.shop.models import Customer

from .conftest import logged_in, make_user, text_of, url

pytestmark = pytest.mark.django_db
POLL = {"X-Flowcontrol": "live"}


def page_of(client: Client, run: FlowRun, name: str = "flowrun_change") -> Any:
    response = client.get(url(name, run.pk))
    assert response.status_code == 200
    return response


def head_of(client: Client, run: FlowRun) -> Any:
    return page_of(client, run).context["head"]


def lines_of(client: Client, run: FlowRun) -> list[Line]:
    lines: list[Line] = page_of(client, run).context["lines"]
    return lines


def every(lines: Any) -> Iterator[Line]:
    for line in lines:
        yield line
        yield from every(line.lines)


def made(*steps: Any, key: str = "made", **options: Any) -> FlowRun:
    run = create_flowrun(publish_flow(build(*steps, **options), key=key, name=key.title()))
    run_due()
    run.refresh_from_db()
    return run


@pytest.fixture
def retried(clock: ManualClock) -> FlowRun:
    """A run whose step failed twice, ten minutes apart, and is not tried any more."""
    policy = RetryPolicy(attempts=2, backoff=600, jitter="none")
    run = made(
        step("test.fail", id="oops", retry=policy), step("test.greet", times=1, id="bye", text="x")
    )
    clock.advance(minutes=10)
    run_due()
    run.refresh_from_db()
    assert run.outcome == "errored"
    return run


def test_a_failed_run_has_one_primary_action_that_names_the_step(
    client: Client, retried: FlowRun
) -> None:
    head = head_of(client, retried)
    assert (head.status, head.title) == ("failed", "Failed at “Fail”")
    assert (head.primary.name, head.primary_label) == ("retry", "Retry “Fail”")
    assert head.failure.kind == "RuntimeError"
    assert head.failure.attempts == "Tried 2 of 2 times."
    page = text_of(page_of(client, retried))
    assert "Nothing, until someone acts." in page
    assert "Retry calls “Fail” again, with 2 new attempts. Then “Greet” follows." in page


def test_a_healthy_waiting_run_has_no_primary_action(client: Client, waiting: FlowRun) -> None:
    head = head_of(client, waiting)
    assert (head.status, head.title, head.primary) == ("waiting", "Waiting at “Wait”", None)
    assert head.others
    assert head.failure is None


def test_a_paused_run_can_be_resumed_at_once(client: Client, waiting: FlowRun) -> None:
    runs.pause(waiting)
    assert head_of(client, waiting).primary.name == "resume"


def test_only_who_may_operate_runs_is_offered_to(retried: FlowRun) -> None:
    head = head_of(logged_in(make_user("a", "view_flowrun")), retried)
    assert (head.primary, head.others) == (None, ())


def test_an_error_is_said_once_outside_of_its_traceback(client: Client, retried: FlowRun) -> None:
    content = page_of(client, retried).content.decode()
    content = re.sub(r"<pre.*?</pre>", "", content, flags=re.DOTALL)
    assert content.count("the gateway said no") == 1


def test_runs_that_failed_alike_are_counted_and_linked(client: Client, failed: FlowRun) -> None:
    others = [create_flowrun(failed.flow) for _ in range(2)]
    made(step("test.fail", id="oops"), key="elsewhere")
    run_due()
    failure = head_of(client, failed).failure
    assert failure.alike_text == "2 other runs failed alike"
    listed = client.get(failure.alike_url).context["cl"].result_list
    assert {run.pk for run in listed} == {failed.pk, *(run.pk for run in others)}
    assert client.get(failure.alike_url.replace("Runtime", "Value")).context["cl"].result_count == 0
    for value in ("%", "a b", "x" * 400, '"'):
        found = client.get(url("flowrun_changelist"), {"error": value})
        assert found.context["cl"].result_count == 0, value


def test_an_error_is_not_searched_among_runs_about_objects_that_may_not_be_viewed() -> None:
    document = build(step("test.fail", id="oops"), object="shop.customer")
    flow = publish_flow(document, key="c", name="C")
    create_flowrun(flow, Customer.objects.create(name="Ada"))
    run_due()
    query = {"error": "RuntimeError"}
    for rights, count in ((("view_flowrun",), 0), (("view_flowrun", "view_customer"), 1)):
        client = logged_in(make_user(rights[-1], *rights))
        found = client.get(url("flowrun_changelist"), query).context["cl"]
        assert found.result_count == count, rights


def test_the_reason_names_the_step_by_its_label(client: Client) -> None:
    run = made(step("builtin.stop_flow", id="halt", reason="enough"))
    page = text_of(page_of(client, run))
    assert "Step “Stop flow” stopped the flow. enough" in page
    assert "builtin.stop_flow" not in page.partition("For developers")[0]
    assert "halt" not in page.partition("For developers")[0]


def test_attempts_of_a_step_are_one_row_with_a_row_for_each(
    client: Client, retried: FlowRun
) -> None:
    (row,) = [line for line in lines_of(client, retried) if line.kind == "step"]
    assert row.is_now
    assert [attempt.number for attempt in row.attempts] == ["1 of 2", "2 of 2"]
    assert row.attempts[0].text == "then waited 10 min"
    assert row.length == "10 min"


def test_the_past_is_folded_the_present_marked_and_the_future_listed(client: Client) -> None:
    run = made(
        step("test.greet", times=1, id="a", text="x"),
        step("test.greet", times=1, id="b", text="x"),
        step("test.choose", id="if", condition="True", then=[step("test.wait", id="w")]),
        *(step("test.greet", times=1, id=f"n{number}", text="x") for number in range(6)),
        step("test.greet", times=1, id="off", text="x", disabled=True),
    )
    lines = lines_of(client, run)
    kinds = [line.kind for line in lines]
    assert kinds == ["start", "fold", "step", "step", *["next"] * 4, "more"]
    assert [line.label for line in lines[1].lines] == ["Greet", "Greet"]
    assert lines[2].strong == "Then"
    assert (lines[3].is_now, lines[3].status) == (True, "waiting")
    assert lines[-1].label == "Then 2 more steps:"
    assert page_of(client, run).content.decode().count('aria-current="step"') == 1


def test_a_wait_is_one_row_with_its_duration(client: Client, clock: ManualClock) -> None:
    run = made(
        step("builtin.delay", id="d", mode="for", amount="2", unit="hours"), step("test.wait")
    )
    clock.advance(hours=2)
    run_due()
    (waited,) = [line for line in lines_of(client, run) if line.label == "Delay"]
    assert (waited.status, waited.length) == ("done", "2 h")
    assert waited.text.startswith("waited until")


def test_a_wait_with_an_end_shows_how_much_of_it_has_passed(
    client: Client, clock: ManualClock
) -> None:
    run = made(step("builtin.delay", id="d", mode="for", amount="4", unit="hours"))
    clock.advance(hours=1)
    (row,) = [line for line in lines_of(client, run) if line.is_now]
    assert row.waited == (3_600, 14_400)
    assert '<progress class="fc-progress" value="3600" max="14400"' in (
        page_of(client, run).content.decode()
    )


def test_a_run_at_a_loop_shows_the_present_inside_of_its_pass(client: Client) -> None:
    body = [step("test.wait", id="w")]
    run = made(step("builtin.for", id="loop", end="3", variable="i", body=body))
    (loop,) = [line for line in lines_of(client, run) if line.kind == "loop"]
    assert (loop.is_open, loop.status) == (True, "current")
    assert [line.kind for line in loop.lines] == ["pass"]
    assert [line.is_now for line in loop.lines[0].lines] == [True]
    assert f'href="{url("flowrun_change", run.pk)}#w-1"' in page_of(client, run).content.decode()


def test_rows_have_keys_of_their_own(client: Client, retried: FlowRun, waiting: FlowRun) -> None:
    for run in (retried, waiting):
        keys = [line.key for line in every(lines_of(client, run))]
        assert len(keys) == len({*keys})
        names = re.findall(r'\bid="([^"]+)"', page_of(client, run).content.decode())
        assert len(names) == len({*names})


def test_a_run_that_was_started_is_a_row_with_flow_object_and_status(client: Client) -> None:
    child = publish_flow(build(step("test.wait")), key="child", name="A child")
    run = made(step("builtin.start_flow", id="s", flow="child", wait=True, result_key="result"))
    started = FlowRun.objects.get(flow=child)
    (row,) = [line for line in lines_of(client, run) if line.children]
    assert row.children[0].run == started
    page = text_of(page_of(client, run)).partition("For developers")[0]
    assert f"A child #{started.pk}" in page
    # The state has its UUID, a person sees its name.
    assert str(started.uuid) not in page


def test_the_object_of_a_started_run_is_hidden_from_who_may_not_view_it(waiting: FlowRun) -> None:
    document = build(step("test.wait"), object="shop.customer")
    flow = publish_flow(document, key="c", name="C")
    child = create_flowrun(flow, Customer.objects.create(name="Ada Lovelace"))
    FlowRun.objects.filter(pk=child.pk).update(parent=waiting)
    for rights, is_shown in ((("view_flowrun",), False), (("view_flowrun", "view_customer"), True)):
        client = logged_in(make_user(rights[-1], *rights))
        for name in ("flowrun_change", "flowrun_diagram"):
            content = page_of(client, waiting, name).content.decode()
            assert ("Ada Lovelace" in content) == is_shown


@pytest.fixture
def about_ada(db: None) -> FlowRun:
    document = build(
        step("test.greet", times=1, id="g", text="x"), step("test.wait"), object="shop.customer"
    )
    flow = publish_flow(document, key="c", name="C")
    run = create_flowrun(flow, Customer.objects.create(name="Ada"), {"note": "calls at noon"})
    run_due()
    run.refresh_from_db()
    return run


@pytest.mark.parametrize("name", ["flowrun_change", "flowrun_diagram"])
@pytest.mark.parametrize("headers", [{}, POLL], ids=["page", "poll"])
def test_nothing_of_a_hidden_object_is_in_a_page_a_diagram_or_a_poll(
    about_ada: FlowRun, name: str, headers: dict[str, str]
) -> None:
    def shown(client: Client) -> str:
        response = client.get(url(name, about_ada.pk), headers=headers)
        assert response.status_code == 200
        return str(response.content.decode())

    hidden = shown(logged_in(make_user("a", "view_flowrun", "operate_flowrun")))
    for secret in ("Ada", "calls at noon", "/shop/customer/", "fc-svg", "fc-log", "/operate"):
        assert secret not in hidden, secret
    seen = shown(logged_in(make_user("b", "view_flowrun", "operate_flowrun", "view_customer")))
    assert "Ada" in seen
    assert "calls at noon" in seen


def polled(client: Client, run: FlowRun, tag: str = "") -> Any:
    headers = {**POLL, "If-None-Match": tag}
    return client.get(url("flowrun_change", run.pk), headers=headers)


def test_an_unchanged_poll_costs_two_queries_beside_those_of_the_login(
    client: Client, waiting: FlowRun
) -> None:
    tag = page_of(client, waiting)["ETag"]
    with CaptureQueriesContext(connection) as caught:
        response = polled(client, waiting, tag)
    assert (response.status_code, response.content) == (304, b"")
    ours = [each["sql"] for each in caught if "flowcontrol_core" in each["sql"]]
    assert len(ours) <= 2
    # The session and the user.
    assert len(caught) <= 4


def test_a_poll_tells_each_change(client: Client, waiting: FlowRun, clock: ManualClock) -> None:
    tags = {page_of(client, waiting)["ETag"]}

    def assert_changed() -> Any:
        tag = polled(client, waiting)["ETag"]
        assert tag not in tags
        tags.add(tag)
        response = polled(client, waiting, "W/" + tag)
        assert response.status_code == 304

    runs.edit_state(waiting, state={"n": 2})
    assert_changed()
    child = create_flowrun(waiting.flow)
    FlowRun.objects.filter(pk=child.pk).update(parent=waiting)
    assert_changed()
    clock.advance(minutes=1)
    assert_changed()
    runs.cancel(waiting)
    assert_changed()
    fragment = polled(client, waiting)
    assert "<html" not in fragment.content.decode()
    assert "data-fc-ended" in fragment.content.decode()
    assert "Canceled at “Wait”" in text_of(fragment)


def test_a_poll_asks_for_the_same_rights_as_the_page(waiting: FlowRun) -> None:
    tag = page_of(logged_in(make_user("a", "view_flowrun")), waiting)["ETag"]
    assert polled(logged_in(make_user("b", "view_flow")), waiting, tag).status_code == 403
    assert polled(Client(), waiting, tag).status_code == 302


def test_steps_after_a_branch_that_ends_are_not_said_to_follow(live: Flow) -> None:
    document = build(
        step("test.greet", times=1, id="a", text="x"),
        step("builtin.stop_flow", id="stop"),
        step("test.greet", times=1, id="never", text="x"),
    )
    assert [found.id for found in next_steps(document, "a")] == ["stop"]


@pytest.mark.parametrize(
    ("step_id", "sentence"),
    [
        ("a", "Then “If” follows."),
        ("if", "Then one of its branches follows: Then (Greet)."),
        ("b", "Then “For loop” follows."),
        ("c", "Then the next pass of “For loop” follows."),
        ("z", ""),
    ],
)
def test_the_head_says_what_follows(step_id: str, sentence: str) -> None:
    document = build(
        step("test.greet", id="a"),
        step("test.greet", id="off", disabled=True),
        step("test.choose", id="if", then=[step("test.greet", id="b")], **{"else": []}),
        step("builtin.for", id="loop", body=[step("test.choose", id="in", then=[
            step("test.greet", id="c"), step("test.greet", id="d", disabled=True)])]),
        step("test.greet", id="z"),
    )  # fmt: skip
    found = document.find(step_id)
    assert found is not None
    assert follows(document, found) == sentence


def test_times_are_relative_with_the_date_in_a_tooltip(
    client: Client, failed: FlowRun, clock: ManualClock
) -> None:
    clock.advance(seconds=timedelta(hours=26, seconds=7).total_seconds())
    content = page_of(client, failed).content.decode()
    assert re.search(r'<time datetime="[^"]+" title="[^"]+">1 d 2 h ago</time>', content)


def test_an_operator_action_asks_with_the_name_of_the_step(
    client: Client, waiting: FlowRun
) -> None:
    page = text_of(client.get(url("flowrun_operate", waiting.pk, "skip")))
    assert "The run is at the step “Wait”." in page
