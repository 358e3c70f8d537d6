"""The page of a bulk operation: progress, refusals, and a button that stops it."""

from __future__ import annotations

from django.test import Client

from flowcontrol.engine import create_flowrun
from flowcontrol.models import BulkOperation, Flow, FlowRun
from flowcontrol.runs import start_bulk_operation, start_in_bulk, stop_bulk_operation
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from tests.shop.models import Customer

from .conftest import logged_in, make_user, text_of, url


def operation_of(flow: Flow, count: int = 3) -> BulkOperation:
    keys = [create_flowrun(flow).pk for _ in range(count)]
    return start_bulk_operation("cancel", {"pk__in": keys}, by="root", reason="too many")


def test_it_shows_how_far_the_operation_is(client: Client, live: Flow) -> None:
    operation = operation_of(live)
    page = client.get(url("flowrun_operation", operation.pk))
    assert '<progress class="fc-progress" aria-label="Progress" max="3" value="0">' in (
        page.content.decode()
    )
    assert "flowcontrol_admin/live.js" in page.content.decode()
    assert "in progress 0 done, 0 refused of 3" in text_of(page)
    address, poll = url("flowrun_operation", operation.pk), {"X-Flowcontrol": "live"}
    assert "data-fc-ended" not in client.get(address, headers=poll).content.decode()
    run_due()
    part = client.get(address, headers=poll).content.decode()
    assert "data-fc-ended" in part
    assert "<h1" not in part
    after = client.get(url("flowrun_operation", operation.pk))
    assert 'max="1" value="1"' in after.content.decode()
    assert "finished 3 done, 0 refused of 3" in text_of(after)
    assert "live.js" not in after.content.decode()
    assert "Stop" not in [word.strip() for word in text_of(after).split()]


def test_it_is_stopped_by_a_button_without_a_script(client: Client, live: Flow) -> None:
    operation = operation_of(live)
    stop = url("flowrun_operation_stop", operation.pk)
    assert f'action="{stop}"' in client.get(url("flowrun_operation", operation.pk)).content.decode()
    text = text_of(client.post(stop, follow=True))
    assert "The bulk operation was stopped." in text
    assert "Stopped by root." in text
    run_due()
    operation.refresh_from_db()
    assert (operation.done, operation.stopped_by) == (0, "root")
    assert not FlowRun.objects.filter(outcome="canceled").exists()
    assert "has finished" in text_of(client.post(stop, follow=True))


def test_who_may_not_operate_may_not_stop(live: Flow) -> None:
    operation = operation_of(live)
    reader = logged_in(make_user("reader", "view_flowrun"))
    page = reader.get(url("flowrun_operation", operation.pk))
    assert url("flowrun_operation_stop", operation.pk) not in page.content.decode()
    assert reader.post(url("flowrun_operation_stop", operation.pk)).status_code == 403
    operation.refresh_from_db()
    assert operation.finished_at is None


def test_a_start_in_bulk_is_stopped_by_who_may_start(client: Client, db: None) -> None:
    flow = publish_flow(build(step("test.wait"), object="shop.customer"), key="c")
    ada = Customer.objects.create(name="Ada")
    operation = start_in_bulk(flow, Customer, [ada.pk])
    operator = logged_in(make_user("operator", "view_flowrun", "operate_flowrun"))
    stop = url("flowrun_operation_stop", operation.pk)
    assert operator.post(stop).status_code == 403
    starter = logged_in(make_user("starter", "view_flowrun", "start_flow"))
    assert starter.post(stop).status_code == 302
    run_due()
    assert not FlowRun.objects.exists()


def test_the_health_page_links_to_it(client: Client, live: Flow) -> None:
    operation = operation_of(live)
    page = client.get(url("flow_health")).content.decode()
    assert url("flowrun_operation", operation.pk) in page


def test_code_stops_an_operation_too(live: Flow) -> None:
    operation = operation_of(live)
    assert stop_bulk_operation(operation.pk).stopped_by == "-"
