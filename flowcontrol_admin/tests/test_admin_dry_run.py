"""The dry run of a flow: a page that shows what a run would do, and stores none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.apps import apps
from django.core import mail
from django.test import Client

from flowcontrol.flows import create_flow, edit_draft
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, step
from flowcontrol_admin import dry_run
from tests.shop.models import Customer

from .conftest import logged_in, make_user, sample, text_of, url


def show(client: Client, flow: Flow, **data: Any) -> Any:
    return client.post(url("flow_dry_run", flow.pk), data)


def rows() -> dict[str, int]:
    return {model._meta.label: model._base_manager.count() for model in apps.get_models()}


@pytest.fixture
def mailing(db: None) -> Flow:
    document = build(
        step("test.greet", id="hello", text="Hi {{ object.name }}", times=1),
        step("builtin.send_email", id="mail", to="{{ object.email }}", subject="S", text="T"),
        step("builtin.start_flow", id="sub", flow="other", wait=True),
        step("builtin.delay", id="delay", mode="for", amount="2", unit="days"),
        object="shop.customer",
    )
    publish_flow(build(step("test.wait")), key="other", name="The other flow")
    return publish_flow(document, key="mailing", name="Mailing")


def test_what_would_happen_is_shown_and_nothing_is_stored(client: Client, mailing: Flow) -> None:
    ada = Customer.objects.create(name="Ada", email="ada@example.org")
    client.get(url("flow_start", mailing.pk))
    before = rows()
    response = show(client, mailing, object=str(ada.pk), state='{"n": 1}')
    text = text_of(response)
    assert response.status_code == 200
    assert "Dry run of “Mailing”" in text
    assert "Hi Ada" in text
    assert "not called" in text
    assert "ada@example.org" in text
    assert "Would start “The other flow” for Ada." in text
    assert "The clock was moved." in text
    assert "complete" in text
    assert rows() == before
    assert mail.outbox == []


def test_the_form_is_shown_again_with_what_was_typed(client: Client, live: Flow) -> None:
    page = show(client, live, state='{"n": 41}', reason="to see").content.decode()
    assert "&quot;n&quot;: 41" in page
    assert 'value="to see"' in page
    assert url("flow_start", live.pk) in page


def test_the_draft_is_executed_where_there_is_one_or_what_was_chosen(
    client: Client, live: Flow
) -> None:
    changed = replace(sample(), steps=(step("test.greet", id="hello", text="Drafted", times=1),))
    edit_draft(live, lambda _: changed, revision=None, author=None)
    drafted = text_of(show(client, live))
    assert "The draft was executed for show." in drafted
    assert "Drafted" in drafted
    published = text_of(show(client, live, version="published"))
    assert "Version 1 was executed for show." in published
    assert "Drafted" not in published
    assert show(client, live, version="nosuch").context["asked"].show.errors


def test_a_flow_that_was_never_published_is_executed_for_show(client: Client, draft: Flow) -> None:
    page = client.get(url("flow_start", draft.pk)).content.decode()
    assert 'value="Start"' not in page
    assert "Dry run" in page
    assert "The draft was executed for show." in text_of(show(client, draft))


def test_a_wait_for_an_event_shows_which_events_can_be_chosen(client: Client, db: None) -> None:
    document = build(
        step(
            "builtin.wait_for_trigger",
            id="wait",
            trigger="test.noon",
            at_most="1",
            at_most_unit="hours",
            result_key="result",
        )
    )
    flow = create_flow(key="w", name="W", document=document)
    assert "It is noon" in text_of(client.get(url("flow_start", flow.pk)))
    late = show(client, flow)
    assert "then times out" in text_of(late)
    chosen = show(client, flow, events="test.noon", payload='{"sun": "high"}')
    assert "The event arrives." in text_of(chosen)
    assert "sun: high" in text_of(chosen)
    assert show(client, flow, payload="{").context["asked"].show.errors["payload"]


def test_a_payload_stands_for_that_of_the_trigger(client: Client, db: None) -> None:
    document = build(step("test.greet", id="s", text="Paid {{ payload.total }}", times=1))
    flow = create_flow(key="p", name="P", document=document)
    assert "Paid 42" in text_of(show(client, flow, payload='{"total": 42}'))


def test_a_failure_is_shown_with_its_traceback(client: Client, db: None) -> None:
    flow = create_flow(key="f", name="F", document=build(step("test.fail", id="oops")))
    text = text_of(show(client, flow))
    assert "the gateway said no" in text
    assert "Traceback" in text


def test_what_cannot_begin_is_said_at_the_form(client: Client, settings: Any) -> None:
    flow = create_flow(key="o", name="O", document=build(step("test.wait"), object="shop.order"))
    assert show(client, flow, object="999").context["form"].errors["object"]
    assert show(client, flow, object="1", state="{").context["form"].errors["state"]
    settings.FLOWCONTROL = {**settings.FLOWCONTROL, "STATE_MAX_BYTES": 100}
    flow = publish_flow(build(step("test.wait")), key="l")
    large = show(client, flow, state='{"a": "' + "x" * 200 + '"}')
    assert "more than the" in text_of(large)


def test_secrets_are_hidden(client: Client, live: Flow) -> None:
    state = '{"password": "correct-horse"}'
    response = show(client, live, state=state)
    shown = response.content.decode().partition('id="again"')[0]
    assert "correct-horse" not in shown


def test_no_more_than_a_page_of_calls_is_shown(
    client: Client, live: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "MOST_SHOWN", 1)
    assert "more calls are not shown" in text_of(show(client, live))


def test_who_may_not_start_sees_no_dry_run(live: Flow) -> None:
    reader = logged_in(make_user("reader", "view_flow"))
    assert show(reader, live).status_code == 403
    starter = logged_in(make_user("starter", "view_flow", "start_flow"))
    assert show(starter, live).status_code == 200
    assert not FlowRun.objects.exists()


def test_an_object_that_the_user_may_not_view_is_refused(mailing: Flow) -> None:
    ada = Customer.objects.create(name="Ada")
    starter = logged_in(make_user("starter", "view_flow", "start_flow"))
    response = show(starter, mailing, object=str(ada.pk))
    assert response.context["form"].errors["object"]
    assert "Ada" not in text_of(response)


def test_nothing_typed_is_lost_at_the_login(live: Flow) -> None:
    asked = Client().post(url("flow_dry_run", live.pk), {"state": '{"typed": 1}'})
    assert asked.status_code == 403
    again = logged_in(make_user("ada", "view_flow", "start_flow")).post(
        url("flow_dry_run", live.pk) + "again/", {"state": '{"typed": 1}'}
    )
    assert "typed" in again.content.decode()
    assert "What would happen" not in text_of(again)
    assert not FlowRun.objects.exists()
