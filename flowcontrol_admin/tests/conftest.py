"""Small actions and triggers, users with few permissions, and flows to look at."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.fields import ExpressionField, TemplateField
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.flows.edits import edit_draft
from flowcontrol_core.flows.lifecycle import create_flow
from flowcontrol_core.flows.publication import publish
from flowcontrol_core.models import Flow, FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import workers
from flowcontrol_core.runs.store.clock import ManualClock
from flowcontrol_core.testing.builder import flow as build
from flowcontrol_core.testing.builder import step
from flowcontrol_core.testing.helpers import (
    manual_clock,
    publish_flow,
    run_due,
    temporary_registry,
)

PASSWORD = "secret"


class Small(BaseAction):
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        return None


class Greet(Small):
    name = "greet"
    verbose_name = "Greet"
    description = "Says hello to somebody."
    group = "Talking"
    secret_fields = ("token",)

    class Config(forms.Form):
        text = TemplateField(initial="Hello", label="Text")
        times = forms.IntegerField(initial=3, min_value=1, max_value=10)
        token = forms.CharField(required=False)

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        run.state["said"] = config.text

    def summary(self, config: BoundConfig) -> str:
        return f"Says {config.source('text')}"


class Choose(Small):
    name = "choose"
    verbose_name = "If"
    branches = ("then", "else")

    class Config(forms.Form):
        condition = ExpressionField(initial="True")

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        return self.enter("then" if config.condition else "else")


class Wait(Small):
    name = "wait"
    verbose_name = "Wait"

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        return run.suspend(until=run.now.replace(year=run.now.year + 1))


class Fail(Small):
    name = "fail"
    verbose_name = "Fail"

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        raise RuntimeError("the gateway said no")


class Guarded(Small):
    name = "guarded"
    verbose_name = "Guarded"
    permission = "shop.delete_order"

    class Config(forms.Form):
        text = forms.CharField(required=False)


class ForCustomers(Small):
    name = "customers"
    verbose_name = "For customers"
    object_type = "shop.customer"


class Broken(Small):
    """Its code raises wherever it is asked."""

    name = "broken"
    verbose_name = "Broken"

    class Config(forms.Form):
        text = forms.CharField(required=False)

        def clean(self) -> dict[str, Any]:
            raise ZeroDivisionError("clean")

    def summary(self, config: BoundConfig) -> str:
        raise ZeroDivisionError("summary")


class CountryForm(forms.Form):
    country = forms.CharField(max_length=2)


ACTIONS = (Greet, Choose, Wait, Fail, Guarded, ForCustomers, Broken)


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of pages as slow: together they render some hundreds of them."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def actions() -> Iterator[None]:
    triggers = [
        Trigger(name="paid", label="Order paid", model="shop.Order", payload={"total": "a sum"}),
        Trigger(name="noon", label="It is noon"),
        Trigger(name="abroad", label="From abroad", Config=CountryForm),
    ]
    with temporary_registry(*ACTIONS, triggers=triggers):
        yield


@pytest.fixture(autouse=True)
def clock() -> Iterator[ManualClock]:
    with manual_clock() as one:
        yield one


@pytest.fixture(autouse=True)
def workers_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sweep says that it is alive, however short ago it did in another test."""
    monkeypatch.setattr(workers, "_EVERY", 0)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the traceback of each refused request would take longer than the request."""
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)


def make_user(name: str, *permissions: str, **fields: Any) -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True, **fields)
    found = Permission.objects.filter(codename__in=permissions)
    user.user_permissions.set(found)
    assert found.count() == len(permissions)
    return user


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin_user(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def client(admin_user: User) -> Client:
    return logged_in(admin_user)


def sample() -> Any:
    return build(
        step("test.greet", id="hello", text="Hello", times=1),
        step(
            "test.choose",
            id="fork",
            condition="True",
            then=[step("test.wait", id="wait"), step("test.greet", id="bye", text="Bye", times=2)],
        ),
    )


@pytest.fixture
def draft(db: None) -> Flow:
    return create_flow(key="draft", name="A draft", document=sample())


@pytest.fixture
def live(db: None) -> Flow:
    return publish_flow(sample(), key="live", name="A live flow")


@pytest.fixture
def waiting(live: Flow) -> FlowRun:
    run = create_flowrun(live, state={"n": 1})
    run_due()
    run.refresh_from_db()
    assert run.status == "waiting"
    return run


@pytest.fixture
def older(db: None) -> FlowRun:
    """A run that waits on a version that is not the published one any more."""
    flow = publish_flow(sample(), key="older", name="Older")
    run = create_flowrun(flow)
    run_due()
    edit_draft(
        flow,
        lambda document: replace(document, steps=document.steps[1:]),
        revision=None,
        author=None,
    )
    publish(flow)
    run.refresh_from_db()
    return run


@pytest.fixture
def failed(db: None) -> FlowRun:
    flow = publish_flow(build(step("test.fail", id="oops")), key="failing", name="Failing")
    run = create_flowrun(flow)
    run_due()
    run.refresh_from_db()
    assert run.outcome == "errored"
    return run


def url(name: str, *args: object) -> str:
    return reverse(f"admin:flowcontrol_core_{name}", args=args)


def text_of(response: Any) -> str:
    """Give the visible text of a page, entities resolved, in one line."""
    content = html.unescape(response.content.decode())
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())
