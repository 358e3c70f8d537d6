"""The list of runs, the page of one, and what an operator does."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol.engine import create_flowrun
from flowcontrol.models import LIVE, Flow, FlowRun, RunEvent
from flowcontrol.testing import ManualClock, publish_flow, run_due, step
from flowcontrol.testing import flow as build
from flowcontrol_admin import runs as admin_runs
from flowcontrol_admin.run_texts import show_length
from tests.shop.models import Customer

from .conftest import logged_in, make_user, text_of, url


def listed(client: Client, **query: Any) -> list[int]:
    response = client.get(url("flowrun_changelist"), query)
    assert response.status_code == 200, response["Location"]
    return sorted(run.pk for run in response.context["cl"].result_list)


def act(client: Client, action: str, *runs: FlowRun) -> str:
    chosen = [run.pk for run in runs]
    data = {"action": f"{action}_runs", "_selected_action": chosen, "confirmed": "1"}
    return text_of(client.post(url("flowrun_changelist"), data, follow=True))


def operate(client: Client, run: FlowRun, slug: str, **data: Any) -> Any:
    return client.post(url("flowrun_operate", run.pk, slug), data, follow=True)


def test_a_list_of_100_runs_with_objects_takes_at_most_10_queries(client: Client) -> None:
    flow = publish_flow(build(step("test.wait"), object="shop.customer"), key="c", name="C")
    for number in range(100):
        create_flowrun(flow, Customer.objects.create(name=f"Customer {number}"))
    run_due()
    with CaptureQueriesContext(connection) as caught:
        page = text_of(client.get(url("flowrun_changelist")))
    assert "Customer 99" in page
    assert len(caught) <= 10


def test_the_list_begins_with_what_needs_attention(
    client: Client, failed: FlowRun, live: Flow, clock: ManualClock
) -> None:
    def pks(**query: str) -> list[int]:
        response = client.get(url("flowrun_changelist"), query)
        return [run.pk for run in response.context["cl"].result_list]

    late = create_flowrun(live)
    clock.advance(hours=1)
    blocked = create_flowrun(live)
    FlowRun.objects.filter(pk=blocked.pk).update(
        status="blocked", blocked_on="x.y", due_at=None, since=clock.now()
    )
    fine = create_flowrun(live)
    assert pks() == [failed.pk, blocked.pk, late.pk, fine.pk]
    assert sorted(pks(attention="yes")) == sorted([failed.pk, blocked.pk, late.pk])
    assert text_of(client.get(url("flowrun_changelist"))).count("Needs attention 3") == 1
    # Asked for an order, a page or anything else, it shows that and nothing else.
    assert pks(o="-1") == [fine.pk, blocked.pk, late.pk, failed.pk]
    assert pks(live="no") == [failed.pk]
    clock.advance(days=40)
    assert failed.pk not in pks(attention="yes")


def test_more_that_needs_attention_costs_the_list_no_more_queries(
    client: Client, clock: ManualClock
) -> None:
    document = build(step("test.fail", id="oops"), object="shop.customer")
    flow = publish_flow(document, key="c", name="C")
    counts = []
    for count in (1, 30):
        for number in range(count):
            create_flowrun(flow, Customer.objects.create(name=f"Customer {number}"))
        run_due()
        create_flowrun(flow, Customer.objects.create(name="Late"))
        clock.advance(hours=1)
        with CaptureQueriesContext(connection) as caught:
            client.get(url("flowrun_changelist"))
        counts.append(len(caught))
    # Where runs are overdue, two ask whether a worker is running.
    assert counts[0] == counts[1] <= 11


def test_a_row_says_at_which_step_and_why(client: Client, failed: FlowRun) -> None:
    page = text_of(client.get(url("flowrun_changelist")))
    assert "Fail Step “Fail” failed: RuntimeError: the gateway said no" in page
    document = build(step("test.fail", id="oops"), object="shop.customer")
    create_flowrun(publish_flow(document, key="c", name="C"), Customer.objects.create(name="Ada"))
    failed.delete()
    run_due()
    blind = logged_in(make_user("a", "view_flowrun"))
    page = text_of(blind.get(url("flowrun_changelist")))
    assert "errored" in page
    assert "the gateway" not in page
    assert "Ada" not in page


def test_only_so_many_runs_are_counted_and_that_is_said(
    client: Client, live: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        create_flowrun(live)
    assert "Only the first" not in text_of(client.get(url("flowrun_changelist")))
    monkeypatch.setattr(admin_runs, "MOST_LISTED", 4)
    with CaptureQueriesContext(connection) as caught:
        page = text_of(client.get(url("flowrun_changelist")))
    assert "Only the first 4 are listed" in page
    counts = [query["sql"] for query in caught if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT 4" in sql for sql in counts), counts


def test_runs_are_found_by_text_key_and_uuid(client: Client, waiting: FlowRun) -> None:
    customer = Customer.objects.create(name="Ada Lovelace")
    run = create_flowrun(waiting.flow, customer)
    assert listed(client, q="lovelace") == [run.pk]
    assert run.pk in listed(client, q=str(customer.pk))
    assert listed(client, q=str(run.uuid)) == [run.pk]
    assert listed(client, q="nothing like it") == []


def test_runs_are_filtered(client: Client, waiting: FlowRun, failed: FlowRun) -> None:
    assert listed(client, status__exact="waiting") == [waiting.pk]
    assert listed(client, outcome__exact="errored") == [failed.pk]
    assert listed(client, flow=waiting.flow_id) == [waiting.pk]
    assert listed(client, live="yes") == [waiting.pk]
    assert listed(client, object_type="shop.customer") == []
    for value in ("x", "9" * 40, "-1"):
        assert listed(client, flow=value) == []


def test_the_step_of_each_run_is_named(client: Client, waiting: FlowRun) -> None:
    page = text_of(client.get(url("flowrun_changelist")))
    assert "◷ waiting Wait" in page


def test_overdue_runs_are_found_and_said_to_be_when_no_worker_runs(
    client: Client, live: Flow, clock: ManualClock
) -> None:
    run = create_flowrun(live)
    assert listed(client, overdue="yes") == []
    clock.advance(hours=1)
    assert listed(client, overdue="yes") == [run.pk]
    for address in (url("flowrun_changelist"), url("flowrun_change", run.pk)):
        assert "No worker appears to be running" in text_of(client.get(address))
    assert "Overdue since" in text_of(client.get(url("flowrun_change", run.pk)))
    run_due()
    assert "No worker appears" not in text_of(client.get(url("flowrun_changelist")))


def test_a_busy_worker_is_not_said_to_be_missing(
    client: Client, live: Flow, clock: ManualClock
) -> None:
    create_flowrun(live)
    busy = create_flowrun(live)
    clock.advance(hours=1)
    lease = clock.now() + timedelta(minutes=1)
    FlowRun.objects.filter(pk=busy.pk).update(status="running", due_at=lease)
    assert "No worker appears" not in text_of(client.get(url("flowrun_changelist")))


def test_the_page_of_a_run_says_what_it_does_and_what_comes_next(
    client: Client, waiting: FlowRun
) -> None:
    page = text_of(client.get(url("flowrun_change", waiting.pk)))
    assert "Waiting at “Wait” since" in page
    assert "Continues at" in page
    assert "Greet" in page
    assert "(new) → Hello" in page
    assert "version 1" in page


def test_an_error_is_shown_with_type_message_step_and_traceback(
    client: Client, failed: FlowRun
) -> None:
    response = client.get(url("flowrun_change", failed.pk))
    page = text_of(response)
    assert "RuntimeError the gateway said no" in page
    assert "oops" in page
    assert "Traceback (most recent call last)" in page
    assert re.search(r'<details id="trace-\d+">', response.content.decode())


def test_only_possible_actions_are_offered_and_each_asks_for_a_reason(
    client: Client, waiting: FlowRun, failed: FlowRun
) -> None:
    def offered(run: FlowRun) -> set[str]:
        context = client.get(url("flowrun_change", run.pk)).context
        return {action.slug for action in context["actions"]}

    assert offered(waiting) == {"cancel", "pause", "run-now", "skip", "go-to-step", "edit-state"}
    assert offered(failed) >= {"retry", "skip", "restart", "edit-state"}
    assert not offered(failed) & {"cancel", "pause", "resume", "run-now"}
    operate(client, waiting, "pause", reason="the customer called")
    page = text_of(client.get(url("flowrun_change", waiting.pk)))
    assert "Paused at “Wait”" in page
    assert "the customer called" in page
    assert "by root" in page
    waiting.refresh_from_db()
    assert offered(waiting) == {"cancel", "resume", "skip", "go-to-step", "edit-state"}


def test_what_is_not_possible_says_why_and_changes_nothing(
    client: Client, waiting: FlowRun, failed: FlowRun
) -> None:
    for run, slug in ((waiting, "resume"), (failed, "cancel"), (failed, "run-now")):
        for response in (
            client.get(url("flowrun_operate", run.pk, slug)), operate(client, run, slug)
        ):  # fmt: skip
            assert response.status_code == 409
            assert "Nothing was changed" in text_of(response)
    assert operate(client, waiting, "explode").status_code == 404
    assert client.get(url("flowrun_operate", 10**30, "cancel")).status_code == 404
    assert client.get(url("flowrun_change", failed.pk + 99)).status_code == 404


def test_sending_to_an_unknown_step_is_said_at_the_field(client: Client, waiting: FlowRun) -> None:
    response = operate(client, waiting, "go-to-step", step="nosuch")
    assert response.status_code == 200
    assert response.context["form"].errors["step"]
    response = operate(client, waiting, "cancel", reason="x" * 5_000)
    assert response.context["form"].errors["reason"]


def test_retrying_takes_a_failed_run_up_again(client: Client, failed: FlowRun) -> None:
    operate(client, failed, "retry", reason="the gateway is back")
    failed.refresh_from_db()
    assert failed.status == "waiting"


@pytest.mark.parametrize(
    "damage",
    [
        {"cursor": "nonsense"},
        {"cursor": [1, 2]},
        {"cursor": [{"no": "step"}]},
        {"cursor": [{"step": "nosuch", "phase": "run"}]},
        {"state": [1]},
        {"payload": 7},
        {"wait_trigger": "gone.away"},
        {"blocked_on": "gone.away"},
    ],
    ids=str,
)
def test_a_damaged_run_can_be_shown(
    client: Client, waiting: FlowRun, damage: dict[str, Any]
) -> None:
    FlowRun.objects.filter(pk=waiting.pk).update(**damage)
    for address in (
        url("flowrun_change", waiting.pk), url("flowrun_changelist"),
        url("flow_editor", waiting.flow_id),
    ):  # fmt: skip
        assert client.get(address).status_code == 200


def test_a_run_whose_object_and_type_are_gone_can_be_shown(client: Client, live: Flow) -> None:
    run = create_flowrun(live, Customer.objects.create(name="Ada"))
    FlowRun.objects.filter(pk=run.pk).update(object_type="gone.thing")
    assert "Ada" in text_of(client.get(url("flowrun_change", run.pk)))
    assert "gone.thing" in text_of(client.get(url("flowrun_change", run.pk)))


def test_secrets_in_the_state_are_hidden(client: Client, live: Flow) -> None:
    run = create_flowrun(live, state={"api_key": "hunter2", "deep": [{"password": "hunter2"}]})
    assert "hunter2" not in client.get(url("flowrun_change", run.pk)).content.decode()


def test_damaged_history_is_shown_as_far_as_it_can_be_read(
    client: Client, waiting: FlowRun, clock: ManualClock
) -> None:
    damaged: list[Any] = [["x"], [{"seconds": None, "changes": []}], 3]
    for steps in ([{"step": "hello", "omitted": 7}], *damaged):
        RunEvent.objects.create(run=waiting, at=clock.now(), kind="steps", steps=steps, error=["?"])
    page = text_of(client.get(url("flowrun_change", waiting.pk)))
    assert "“Greet”: 7 more calls are not shown" in page


def test_a_long_history_is_shown_in_pages_the_newest_first(
    client: Client, waiting: FlowRun, clock: ManualClock
) -> None:
    RunEvent.objects.bulk_create(
        RunEvent(
            run=waiting,
            at=clock.now(),
            kind="operator",
            code="error",
            values={"error": f"event {number}."},
        )
        for number in range(250)
    )
    page = text_of(client.get(url("flowrun_change", waiting.pk)))
    assert "event 249." in page
    assert "event 10." not in page
    assert "event 10." in text_of(client.get(url("flowrun_change", waiting.pk), {"page": "1"}))
    assert client.get(url("flowrun_change", waiting.pk), {"page": "x"}).status_code == 200


def test_a_bulk_action_does_all_suitable_runs_and_names_the_others(
    client: Client, waiting: FlowRun, failed: FlowRun
) -> None:
    other = create_flowrun(waiting.flow)
    said = act(client, "cancel", waiting, failed, other)
    assert "Cancel: done for 2 runs." in said
    assert "1 run was left unchanged" in said
    assert "it has ended" in said
    for run in (waiting, other):
        run.refresh_from_db()
        assert run.outcome == "canceled"
    assert "Retry the step: done for 1 run." in act(client, "retry", waiting, failed)


def test_parent_and_children_are_linked(client: Client, waiting: FlowRun) -> None:
    child = create_flowrun(waiting.flow)
    FlowRun.objects.filter(pk=child.pk).update(parent=waiting)
    assert (
        url("flowrun_change", child.pk)
        in client.get(url("flowrun_change", waiting.pk)).content.decode()
    )
    assert (
        url("flowrun_change", waiting.pk)
        in client.get(url("flowrun_change", child.pk)).content.decode()
    )


def test_an_object_is_linked_for_those_who_may_see_it(live: Flow) -> None:
    run = create_flowrun(live, Customer.objects.create(name="Ada"))
    address = url("flowrun_change", run.pk)
    blind = logged_in(make_user("a", "view_flowrun"))
    assert "/shop/customer/" not in blind.get(address).content.decode()
    seeing = logged_in(make_user("b", "view_flowrun", "view_customer"))
    assert "/shop/customer/" in seeing.get(address).content.decode()


def test_durations_are_written_with_two_units() -> None:
    spans = (0.0005, 0.25, 3.2, 75, 3 * 3600 + 120, timedelta(days=2, hours=3).total_seconds())
    assert [show_length(one) for one in spans] == [
        "0 ms", "250 ms", "3.2 s", "1 min 15 s", "3 h 2 min", "2 d 3 h",
    ]  # fmt: skip


@pytest.mark.parametrize("status", LIVE)
def test_the_page_of_a_live_run_says_that_its_object_was_deleted(
    client: Client, live: Flow, status: str
) -> None:
    customer = Customer.objects.create(name="Ada")
    run = create_flowrun(live, customer)
    link = f"/shop/customer/{customer.pk}/"
    FlowRun.objects.filter(pk=run.pk).update(status=status)
    address = url("flowrun_change", run.pk)
    page = client.get(address)
    assert "no longer exists" not in text_of(page)
    assert link in page.content.decode()
    customer.delete()
    page = client.get(address)
    assert "Ada (customer" in text_of(page)
    assert "no longer exists" in text_of(page)
    assert link not in page.content.decode()
