"""What does not validate any more is shown with its problem, can be mended, and loses nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.test import Client

from flowcontrol.flows import present_document, present_version
from flowcontrol.models import Flow, FlowTrigger, FlowVersion
from flowcontrol.testing import temporary_registry

from .conftest import Small, text_of, url


def stored(flow: Flow, **changes: Any) -> dict[str, Any]:
    """Change the document of a flow behind its back; return it as it was."""
    version = present_version(flow)
    assert version is not None
    FlowVersion.objects.filter(pk=version.pk).update(document={**version.document, **changes})
    document: dict[str, Any] = version.document
    return document


def posted(client: Client, flow: Flow, **changes: Any) -> Any:
    """Send the form of the settings as a browser would: filled in as it was shown."""
    form = client.get(url("flow_change", flow.pk)).context["form"]
    shown = {field.html_name: field.value() for field in form}
    return client.post(
        url("flow_change", flow.pk),
        {name: value for name, value in (shown | changes).items() if value is not None},
    )


ZONE = "Mars/Olympus"


def test_a_flow_in_an_unknown_zone_opens_with_its_steps_and_the_problem(
    client: Client, draft: Flow
) -> None:
    stored(draft, time_zone=ZONE)
    shown = text_of(client.get(url("flow_editor", draft.pk)))
    assert f"The time zone {ZONE} is not known on this machine" in shown
    assert "Greet" in shown
    assert "There are no steps yet" not in shown


def test_its_settings_show_the_zone_with_the_problem_and_mend_it(
    client: Client, draft: Flow
) -> None:
    stored(draft, time_zone=ZONE)
    shown = text_of(client.get(url("flow_change", draft.pk)))
    assert f"{ZONE} (unknown here)" in shown
    assert f"The time zone {ZONE} is not known on this machine" in shown
    assert posted(client, draft, name="Renamed").status_code == 302
    assert present_document(draft).time_zone == ZONE
    assert posted(client, draft, time_zone="Europe/Berlin").status_code == 302
    assert present_document(draft).time_zone == "Europe/Berlin"
    assert len(present_document(draft).steps) == 2


def test_its_steps_say_why_they_have_no_form(client: Client, draft: Flow) -> None:
    stored(draft, time_zone=ZONE)
    response = client.get(url("flow_step_configure", draft.pk, "hello"))
    assert response.status_code == 200
    assert ZONE in text_of(response)


@pytest.mark.parametrize("change", [{"format": 2}, {"steps": 5}, {"surprise": 1}])
def test_a_document_that_cannot_be_read_opens_every_page_that_mends_it(
    client: Client, live: Flow, change: dict[str, Any]
) -> None:
    client.post(url("flow_step_disable", live.pk, "hello"), {"revision": 1, "disabled": "1"})
    stored(live, **change)
    for name in ("editor", "change", "publish", "versions", "discard", "history"):
        response = client.get(url(f"flow_{name}", live.pk))
        assert response.status_code == 200, name
    shown = text_of(client.get(url("flow_editor", live.pk)))
    assert "The steps cannot be shown, and they stay as they are" in shown
    assert "There are no steps yet" not in shown
    assert client.get(url("flow_version", live.pk, 2)).status_code == 200


def test_its_settings_change_and_the_document_stays_as_it_is(client: Client, live: Flow) -> None:
    before = {**stored(live, format=2), "format": 2}
    response = posted(client, live, name="Renamed", max_concurrent="3")
    assert response.status_code == 302
    live.refresh_from_db()
    assert (live.name, live.max_concurrent) == ("Renamed", 3)
    assert FlowVersion.objects.get(flow=live).document == before


def test_an_older_version_is_restored_over_a_draft_that_cannot_be_read(
    client: Client, live: Flow
) -> None:
    client.post(url("flow_step_disable", live.pk, "hello"), {"revision": 1, "disabled": "1"})
    stored(live, format=2)
    response = client.post(url("flow_restore", live.pk, 1), {"revision": 2})
    assert response.status_code == 302
    assert not present_document(live).find("hello").disabled  # type: ignore[union-attr]


class Sized(Small):
    name = "sized"

    class Config(forms.Form):
        size = forms.ChoiceField(choices=[("s", "Small"), ("m", "Medium")])
        tags = forms.MultipleChoiceField(choices=[("a", "A")], required=False)
        color = forms.ChoiceField(choices=[("Warm", [("red", "Red")])])


def test_a_choice_that_is_not_offered_any_more_stays_chosen(client: Client, draft: Flow) -> None:
    config = {"size": "xl", "tags": ["a", "b"], "color": "red"}
    with temporary_registry(Sized):
        step = {"id": "sz", "action": "test.sized", "config": config, "config_version": 1}
        stored(draft, steps=[step])
        response = client.get(url("flow_step_configure", draft.pk, "sz"))
        shown = response.content.decode()
        assert '<option value="xl" selected>xl (unknown here)</option>' in shown
        assert '<option value="b" selected>b (unknown here)</option>' in shown
        assert "red (unknown here)" not in shown
        typed = {"step-sz-size": "xl", "step-sz-tags": ["a", "b"], "step-sz-color": "red"}
        again = client.post(
            url("flow_step_configure", draft.pk, "sz"), {"revision": 1, **typed}, follow=True
        )
        assert present_document(draft).steps[0].config == config
        assert "Save anyway" in again.content.decode()
        assert "xl is not one of the available choices" in text_of(again)


@pytest.mark.parametrize(
    ("column", "value"),
    [("max_concurrent_policy", "postpone"), ("max_concurrent_per_object_policy", "postpone")],
)
def test_a_policy_that_is_unknown_here_stays_what_it_is(
    client: Client, draft: Flow, column: str, value: str
) -> None:
    Flow.objects.filter(pk=draft.pk).update(**{column: value})
    shown = client.get(url("flow_change", draft.pk)).content.decode()
    assert f'<option value="{value}" selected>{value} (unknown here)</option>' in shown


def test_a_mode_that_is_unknown_here_stays_what_it_is(client: Client, live: Flow) -> None:
    association = FlowTrigger.objects.create(flow=live, trigger="test.noon", mode="nudge")
    shown = client.get(url("flow_trigger", live.pk, association.pk)).content.decode()
    assert '<option value="nudge" selected>nudge (unknown here)</option>' in shown
    assert client.get(url("flow_editor", live.pk)).status_code == 200
