"""A text of a plugin that cannot be shown: its own entry says so, and every page opens."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.test import Client
from django.utils.functional import lazystr

from flowcontrol.base import BaseAction, Effects
from flowcontrol.engine import create_flowrun
from flowcontrol.flows import associate_trigger, create_flow, edit_draft
from flowcontrol.models import Flow
from flowcontrol.registry import Trigger
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step, temporary_registry

from .conftest import text_of, url

pytestmark = pytest.mark.django_db
PROBLEM = "this text cannot be shown: KeyError('label')"


class _Raising:
    def __str__(self) -> str:
        raise KeyError("label")


RAISES: Any = lazystr(_Raising())


class Unspeakable(BaseAction):
    name = "unspeakable"
    verbose_name = RAISES
    description = RAISES
    group = RAISES
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> None: ...


class Labels(forms.Form):
    field = forms.CharField(
        label=RAISES,
        help_text=RAISES,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": RAISES}),
    )
    kind = forms.ChoiceField(
        choices=[("a", RAISES), ("b", "Bee"), (RAISES, [("c", RAISES)])], required=False
    )


class BadLabels(Unspeakable):
    name = "bad_labels"
    verbose_name = "Bad labels"
    Config = Labels


TRIGGERS = (
    Trigger(name="silence", label=RAISES, description=RAISES, payload={"total": RAISES}),
    Trigger(name="sound", label="A sound trigger"),
    Trigger(name="labels", label="With labels", Config=Labels),
)


@pytest.fixture(autouse=True)
def texts_that_raise() -> Any:
    with temporary_registry(Unspeakable, BadLabels, triggers=TRIGGERS, plugin="odd"):
        yield


@pytest.fixture
def live(db: None) -> Flow:
    document = build(
        step("odd.unspeakable", id="mute"),
        step("test.wait", id="wait"),
    )
    flow = publish_flow(document, key="odd", name="An odd flow")
    associate_trigger(flow, "odd.silence")
    return flow


@pytest.mark.parametrize(
    ("page", "extra", "expected"),
    [
        ("flow_step_add", (), ("odd.unspeakable", PROBLEM, "Greet")),
        ("flow_editor", (), ("odd.unspeakable", "odd.silence", PROBLEM)),
        ("flow_step_configure", ("mute",), ("odd.unspeakable", PROBLEM)),
        ("flow_trigger_pick", (), ("odd.silence", PROBLEM, "A sound trigger")),
        ("flow_trigger_add", ("odd.silence",), ("odd.silence", PROBLEM)),
        ("flow_versions", (), ("An odd flow",)),
        ("flow_publish", (), ("An odd flow",)),
    ],
)
def test_text_that_raises_is_said_at_its_entry_and_breaks_no_page(
    client: Client, live: Flow, page: str, extra: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    response = client.get(url(page, live.pk, *extra), {"place": "//0"})
    assert response.status_code == 200
    for text in expected:
        assert text in text_of(response)


def test_run_of_an_action_whose_texts_raise_is_shown(client: Client, live: Flow) -> None:
    run = create_flowrun(live)
    run_due()
    run.refresh_from_db()
    assert run.status == "waiting"
    assert "odd.unspeakable" in text_of(client.get(url("flowrun_change", run.pk)))
    assert client.get(url("flowrun_changelist")).status_code == 200


@pytest.fixture
def labeled(db: None) -> Flow:
    document = build(step("odd.bad_labels", id="form", field="stored", kind="a"))
    return create_flow(key="odd", name="Odd", document=document)


def test_form_whose_labels_raise_says_so_in_their_place_and_works(
    client: Client, labeled: Flow
) -> None:
    page = client.get(url("flow_step_configure", labeled.pk, "form"))
    assert page.status_code == 200
    shown = text_of(page)
    assert shown.count(PROBLEM) >= 4
    assert f"Field ({PROBLEM})" in shown
    assert f"a ({PROBLEM})" in shown
    assert "Bee" in shown
    form = page.context["form"]
    data = {
        "revision": labeled.draft.revision,
        form.add_prefix("field"): "typed",
        form.add_prefix("kind"): "c",
    }
    saved = client.post(url("flow_step_configure", labeled.pk, "form"), data)
    assert saved.status_code == 302, text_of(saved)
    labeled.draft.refresh_from_db()
    assert labeled.draft.document["steps"][0]["config"] == {"field": "typed", "kind": "c"}


@pytest.mark.parametrize("page", ["flow_editor", "flow_publish", "flow_diagram", "flow_versions"])
def test_page_of_a_step_whose_labels_raise_opens(client: Client, labeled: Flow, page: str) -> None:
    client.post(url("flow_publish", labeled.pk), {"revision": labeled.draft.revision})
    edited = build(step("odd.bad_labels", id="form", field="other", kind="c"))
    for _again in range(2):
        assert client.get(url(page, labeled.pk)).status_code == 200
        edit_draft(labeled, lambda _document: edited, revision=None, author=None)


def test_trigger_whose_labels_raise_can_be_configured(client: Client, labeled: Flow) -> None:
    page = client.get(url("flow_trigger_add", labeled.pk, "odd.labels"))
    assert page.status_code == 200
    assert f"Field ({PROBLEM})" in text_of(page)
