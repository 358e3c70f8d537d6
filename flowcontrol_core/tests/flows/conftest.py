"""Small actions, and flows made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.fields import ExpressionField, FlowField, TemplateField
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.document.format import parse
from flowcontrol_core.document.tree import Document
from flowcontrol_core.models import Flow
from tests.shop.models import Customer


class SmallAction(BaseAction):
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        return None


class Greet(SmallAction):
    name = "greet"
    verbose_name = "Greet"
    config_version = 2
    secret_fields = ("token",)

    class Config(forms.Form):
        text = TemplateField()
        times = forms.IntegerField(initial=3, min_value=1)
        when = forms.DateTimeField(required=False)
        token = forms.CharField(required=False)
        customer = forms.ModelChoiceField(Customer.objects.all(), required=False)

    def upgrade_config(self, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        return {"text": config["message"], "times": config["times"]}


class Choose(SmallAction):
    name = "choose"
    verbose_name = "If"
    branches = ("then", "else")

    class Config(forms.Form):
        condition = ExpressionField(initial="True")


class Loop(SmallAction):
    name = "loop"
    has_children = True
    is_loop = True


class LeaveLoop(SmallAction):
    name = "leave"

    def needs_loop(self, config: BoundConfig) -> bool:
        return True


class ForCustomers(SmallAction):
    name = "customers"
    object_type = "shop.customer"


class Start(SmallAction):
    name = "start"

    class Config(forms.Form):
        flow = FlowField()

    def starts_flows(self, config: Any) -> Iterable[str]:
        return [config.flow]


class Wait(SmallAction):
    name = "wait"

    class Config(forms.Form):
        trigger = forms.CharField()

    def waits_for(self, config: Any) -> Iterable[str]:
        return [config.trigger]


class Guarded(SmallAction):
    name = "guarded"
    permission = "shop.delete_order"


class Unhappy(SmallAction):
    name = "unhappy"

    def check(self, config: BoundConfig) -> Iterable[str]:
        return ["The gateway has no account."]


class Broken(SmallAction):
    name = "broken"

    def check(self, config: BoundConfig) -> Iterable[str]:
        raise ZeroDivisionError("check")

    def needs_loop(self, config: BoundConfig) -> bool:
        raise ZeroDivisionError("loop")

    def waits_for(self, config: BoundConfig) -> Iterable[str]:
        raise ZeroDivisionError("waits")

    def starts_flows(self, config: BoundConfig) -> Iterable[str]:
        raise ZeroDivisionError("starts")


class BrokenForm(SmallAction):
    name = "broken_form"

    class Config(forms.Form):
        def clean(self) -> dict[str, Any]:
            raise ZeroDivisionError("clean")


ACTIONS = (
    Greet, Choose, Loop, LeaveLoop, ForCustomers, Start, Wait, Guarded, Unhappy, Broken, BrokenForm,
)  # fmt: skip


class TriggerConfig(forms.Form):
    country = forms.CharField(max_length=2)


@pytest.fixture(autouse=True)
def actions() -> Iterator[Registry]:
    triggers = [
        Trigger(name="paid", label="Order paid", model="shop.Order"),
        Trigger(name="noon", label="Noon"),
        Trigger(name="abroad", label="From abroad", Config=TriggerConfig),
    ]
    with registry.temporary(*ACTIONS, triggers=triggers) as content:
        yield content


@pytest.fixture
def author(db: None) -> User:
    return User.objects.create_user("ada", is_staff=True)


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("grace", is_staff=True)


def step(step_id: str, action: str, **rest: Any) -> dict[str, Any]:
    return {"id": step_id, "action": f"test.{action}", **rest}


def greet(step_id: str, **config: Any) -> dict[str, Any]:
    return step(step_id, "greet", config={"text": "Hello", "times": 1, **config}, config_version=2)


def choose(step_id: str, **branches: list[dict[str, Any]]) -> dict[str, Any]:
    return step(step_id, "choose", config={"condition": "True"}, branches=branches)


def document(*steps: dict[str, Any], **options: Any) -> Document:
    return parse({"format": 1, "steps": list(steps), **options})


MakeFlow = Callable[..., Flow]
