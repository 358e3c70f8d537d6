"""Steps copied out of a flow and pasted into it or another one; a flow copied as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User

from flowcontrol.base import BaseAction, Effects
from flowcontrol.errors import DocumentError, EditError, NotPermittedError, StaleRevisionError
from flowcontrol.flows import (
    associate_trigger,
    copy_step,
    create_flow,
    duplicate_flow,
    paste_step,
    present_document,
)
from flowcontrol.models import Flow, FlowTrigger
from flowcontrol.testing import flow as build
from flowcontrol.testing import step, temporary_registry
from flowcontrol_core.document.tree import Document, Place, Step

pytestmark = pytest.mark.django_db


class Call(BaseAction):
    name = "phone_call"
    effects = Effects.NONE
    secret_fields = ("token",)
    permission = "flowcontrol_core.publish_flow"

    class Config(forms.Form):
        text = forms.CharField()
        token = forms.CharField()

    def run(self, **_: Any) -> None:
        return None


@pytest.fixture(autouse=True)
def _actions() -> Any:
    with temporary_registry(Call):
        yield


@pytest.fixture
def source() -> Flow:
    call = step("test.phone_call", id="call", text="Hi", token="s3cret")
    fork = step("builtin.if", id="fork", condition="a.b", then=[call])
    return create_flow(key="source", name="Source", document=build(fork))


def shape(steps: tuple[Step, ...]) -> list[Any]:
    return [[one.action, {k: shape(v) for k, v in one.branches.items()}] for one in steps]


def test_a_step_is_pasted_into_another_flow_under_new_ids(source: Flow) -> None:
    text = copy_step(present_document(source), "fork")
    target = create_flow(key="target", name="Target")
    edit = paste_step(target, text, Place(index=0), revision=None)
    pasted = present_document(target)
    assert shape(pasted.steps) == shape(present_document(source).steps)
    assert edit.step == pasted.steps[0].id
    assert not {"fork", "call"} & set(pasted.step_ids())
    assert "Pasted 2 steps." in edit.message


def test_a_secret_value_is_not_in_the_text_and_stays_in_its_own_flow(source: Flow) -> None:
    text = copy_step(present_document(source), "call")
    assert "s3cret" not in text
    inside = Place(parent="fork", branch="else", index=0)
    edit = paste_step(source, text, inside, revision=None)
    copied = present_document(source).find(edit.step)
    assert copied is not None
    assert copied.config == {"text": "Hi", "token": "s3cret"}
    other = create_flow(key="other", name="Other")
    edit = paste_step(other, text, Place(index=0), revision=None)
    assert "1 value is not copied with steps" in edit.message
    assert "token" not in present_document(other).steps[0].config


@pytest.mark.parametrize(
    "text",
    ["", "no", "format: 1\nsteps: x", "format: 1\nsteps: [{id: a}]", "format: 9\nsteps: []", "{"],
)
def test_a_text_that_is_no_copied_step_is_refused(source: Flow, text: str) -> None:
    before = present_document(source)
    with pytest.raises((DocumentError, EditError)):
        paste_step(source, text, Place(index=0), revision=None)
    assert present_document(source) == before


def test_a_place_that_is_not_legal_and_an_old_revision_are_refused(source: Flow) -> None:
    text = copy_step(present_document(source), "fork")
    for place in (Place(index=9), Place(parent="call", branch="then", index=0)):
        with pytest.raises(EditError):
            paste_step(source, text, place, revision=None)
    with pytest.raises(StaleRevisionError):
        paste_step(source, text, Place(index=0), revision=77)
    with pytest.raises(EditError):
        copy_step(present_document(source), "nosuch")


def test_what_an_author_may_not_place_is_not_pasted_and_not_duplicated(source: Flow) -> None:
    author = User.objects.create_user("ada")
    text = copy_step(present_document(source), "fork")
    target = create_flow(key="target", name="Target")
    with pytest.raises(NotPermittedError):
        paste_step(target, text, Place(index=0), revision=None, author=author)
    with pytest.raises(NotPermittedError):
        duplicate_flow(source, author=author)
    assert present_document(target) == Document()


def test_a_flow_is_duplicated_with_its_settings_and_triggers(source: Flow) -> None:
    associate_trigger(source, "test.noon", condition="payload")
    source.max_concurrent = 3
    source.save()
    first, second = duplicate_flow(source), duplicate_flow(source)
    assert (first.key, second.key) == ("source-copy", "source-copy2")
    assert (first.name, first.max_concurrent, first.active) == ("Copy of Source", 3, False)
    assert present_document(first) == present_document(source)
    assert FlowTrigger.objects.get(flow=second).condition == "payload"
    long = replace(present_document(source))
    flow = create_flow(key="k" * 100, name="n" * 200, document=long)
    assert duplicate_flow(flow).key == "k" * 80 + "-copy"
