"""What was typed into a form is kept where its author was logged out before sending it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flowcontrol.flows import associate_trigger, present_revision
from flowcontrol.models import Flow, FlowRun, FlowTrigger

from .conftest import text_of, url

#: Of each form: what it is about, what is typed, and the field that shows it again.
FORMS: dict[str, tuple[str, dict[str, str], str]] = {
    "flow_add": ("", {"name": "Typed", "key": "typed"}, "name"),
    "flow_change": ("flow", {"name": "Typed", "guard": "state.typed"}, "guard"),
    "flow_trigger_add": ("key", {"mode": "start", "condition": "payload.typed"}, "condition"),
    "flow_trigger": ("trigger", {"mode": "start", "condition": "payload.typed"}, "condition"),
    "flow_start": ("flow", {"state": '{"typed": 1}', "reason": "typed"}, "reason"),
}


def stored(flow: Flow) -> list[Any]:
    """Return what the forms write."""
    return [
        *Flow.objects.order_by("pk").values_list("key", "name"),
        *FlowTrigger.objects.order_by("pk").values_list("trigger", "condition"),
        present_revision(flow),
        FlowRun.objects.count(),
    ]


@pytest.mark.parametrize("name", FORMS)
def test_a_form_keeps_what_was_typed_through_the_login(
    live: Flow, admin_user: User, name: str
) -> None:
    kind, data, field = FORMS[name]
    trigger = associate_trigger(live, "test.paid", mode="start")
    arguments = {"": (), "flow": (live.pk,), "key": (live.pk, "test.noon")}
    args = arguments.get(kind, (live.pk, trigger.pk))
    if name == "flow_change":
        data = data | {"revision": str(present_revision(live))}
    before, client = stored(live), Client()
    asked = client.post(url(name, *args), data)
    assert asked.status_code == 403
    assert "You were logged out; nothing was changed." in text_of(asked)
    page = asked.content.decode()
    sent = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert sent.keys() == data.keys()
    again = url(f"{name}_again", *args)
    assert f'action="{again}"' in page
    assert client.post(again, data).status_code == 403
    client.force_login(admin_user)
    shown = client.post(again, data)
    assert shown.status_code == 200
    assert "This is what you typed; nothing was saved yet." in text_of(shown)
    assert shown.context["form"][field].value() == data[field]
    assert f'action="{url(name, *args)}"' in shown.content.decode()
    assert stored(live) == before
    # What is shown can be sent.
    assert client.post(url(name, *args), data).status_code == 302
    assert stored(live) != before


@pytest.mark.parametrize("name", FORMS)
def test_the_address_that_shows_a_form_again_leads_elsewhere_when_it_is_opened(
    client: Client, live: Flow, name: str
) -> None:
    trigger = associate_trigger(live, "test.paid", mode="start")
    arguments = {"": (), "flow": (live.pk,), "key": (live.pk, "test.noon")}
    args = arguments.get(FORMS[name][0], (live.pk, trigger.pk))
    target = url("flow_editor", live.pk) if args else url("flow_changelist")
    assert client.get(url(f"{name}_again", *args))["Location"] == target
