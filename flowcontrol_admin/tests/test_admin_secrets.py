"""Forms show the names of secrets and no value; and saving what was not changed changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.test import Client, override_settings

from flowcontrol.flows import create_flow, present_document, present_revision
from flowcontrol.forms import SecretField, TemplateField
from flowcontrol.models import Flow
from flowcontrol.testing import flow as build
from flowcontrol.testing import step, temporary_registry

from .conftest import Small, logged_in, make_user, text_of, url

VALUE = "Zk9-plain_0123456789"


class Call(Small):
    name = "call"

    class Config(forms.Form):
        token = SecretField(required=False)
        text = TemplateField(required=False)


@pytest.fixture(autouse=True)
def sites_secrets() -> Any:
    with override_settings(FLOWCONTROL={"SECRETS": {"sms": VALUE}}), temporary_registry(Call):
        yield


def make(action: str, **config: Any) -> Flow:
    return create_flow(key="f", name="F", document=build(step(action, id="s", config=config)))


def typed(client: Client, flow: Flow, **changes: Any) -> dict[str, Any]:
    """Return what a browser sends for the form as it is shown: lines end with CR LF."""
    form = client.get(url("flow_step_configure", flow.pk, "s")).context["form"]
    shown = {f"step-s-{field.name}": field.value() for field in form}
    values = {**shown, **{f"step-s-{name}": value for name, value in changes.items()}}
    sent = {name: str(value).replace("\n", "\r\n") for name, value in values.items() if value}
    return {**sent, "revision": present_revision(flow), "anyway": "1"}


def save(client: Client, flow: Flow, **changes: Any) -> str:
    address = url("flow_step_configure", flow.pk, "s")
    return text_of(client.post(address, typed(client, flow, **changes), follow=True))


def test_the_form_offers_names_and_never_a_value(client: Client) -> None:
    flow = make("test.call", token="sms")
    page = client.get(url("flow_step_configure", flow.pk, "s")).content.decode()
    assert '<option value="sms" selected>sms</option>' in page
    assert VALUE not in page


def test_a_name_that_is_unknown_here_stays(client: Client) -> None:
    flow = make("test.call", token="vault.sms")
    page = client.get(url("flow_step_configure", flow.pk, "s")).content.decode()
    assert "vault.sms (unknown here)" in page
    save(client, flow, text="Hi")
    assert present_document(flow).steps[0].config == {"token": "vault.sms", "text": "Hi"}


def test_who_may_not_choose_secrets_sees_the_name_and_configures_the_rest(db: None) -> None:
    flow = make("test.call", token="sms")
    client = logged_in(make_user("author", "change_flow"))
    page = client.get(url("flow_step_configure", flow.pk, "s")).content.decode()
    assert "disabled" in page
    assert "was changed" not in save(client, flow, token="other", text="Hi")
    assert present_document(flow).steps[0].config == {"token": "sms", "text": "Hi"}


def test_a_private_value_in_a_document_is_not_shown_and_stays_where_it_is_left_empty(
    client: Client,
) -> None:
    flow = make("test.greet", text="Hi", times=1, token=VALUE)
    page = client.get(url("flow_step_configure", flow.pk, "s")).content.decode()
    assert VALUE not in page
    save(client, flow, text="Hello")
    assert present_document(flow).steps[0].config == {"text": "Hello", "times": 1, "token": VALUE}
    save(client, flow, token="other")
    assert present_document(flow).steps[0].config["token"] == "other"


@pytest.mark.parametrize(
    "text", ["one\ntwo", "one\n\ntwo\n", "  indented\n", "one\r\ntwo\r\n", "end "]
)
def test_a_text_of_several_lines_that_is_saved_unchanged_is_unchanged(
    client: Client, text: str
) -> None:
    flow = make("test.call", token="sms", text=text)
    assert "configured like that already" in save(client, flow)
    assert present_document(flow).steps[0].config["text"] == text


def test_a_text_that_was_typed_has_plain_line_breaks(client: Client) -> None:
    flow = make("test.call")
    save(client, flow, text="Dear {{ object }},\n\nbye")
    assert present_document(flow).steps[0].config["text"] == "Dear {{ object }},\n\nbye"


def test_so_have_notes_and_descriptions(client: Client) -> None:
    flow = make("test.call")
    data = {"revision": present_revision(flow), "note": "one\r\ntwo"}
    client.post(url("flow_step_note", flow.pk, "s"), data)
    assert present_document(flow).steps[0].note == "one\ntwo"
    form = client.get(url("flow_change", flow.pk)).context["form"]
    shown = {field.html_name: field.value() for field in form}
    sent = {name: value for name, value in shown.items() if value is not None}
    client.post(url("flow_change", flow.pk), {**sent, "description": "one\r\ntwo"})
    flow.refresh_from_db()
    assert flow.description == "one\ntwo"


def test_as_many_characters_as_are_allowed_are_not_too_many_because_of_their_line_breaks(
    client: Client,
) -> None:
    text = "x\n" * 9_999 + "y"
    flow = make("test.call", text=text)
    assert "configured like that already" in save(client, flow)
