"""Asynchronous actions: in an event loop of their own, where the time-out is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django import forms
from django.conf import settings
from django.utils import timezone, translation

from flowcontrol.testing import flow, publish_flow, run_flow, step, temporary_registry
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.fields import ExpressionField, TemplateField
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.errors import RegistrationError
from flowcontrol_core.models import Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from tests.shop.models import Customer

from .conftest import Lab, customers, fresh, steps_of, sweep

ended: list[str] = []


class Fetch(BaseAction):
    """Waits as a client of a service does."""

    name = "fetch"
    effects = Effects.EXTERNAL
    branches = ("found",)

    class Config(forms.Form):
        seconds = forms.FloatField()
        text = TemplateField(required=False)
        total = ExpressionField(required=False)
        way = forms.CharField(required=False)

    async def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        try:
            await asyncio.sleep(config.seconds)
        finally:
            ended.append(config.way)
        if config.way == "exit":
            raise SystemExit(3)
        if config.way == "cancel":
            raise asyncio.CancelledError
        if config.way == "beat":
            for _ in range(4):
                await asyncio.sleep(0.1)
                await run.aheartbeat()
        if config.way == "write":
            await Customer.objects.acreate(name="asynchronous")
        name = "" if obj is None else obj.name
        run.state["seen"] = [name, config.text, config.total, translation.get_language()]
        run.state["zone"] = timezone.get_current_timezone_name()
        return self.enter()

    async def return_from_children(self, *, run: Any, obj: Any, config: Any) -> None:
        await asyncio.sleep(0)
        run.state["returned"] = True


@pytest.fixture
def fetching(lab: Lab) -> Iterator[Lab]:
    ended.clear()
    with temporary_registry(Fetch, plugin="aio"):
        yield lab


def fetch(seconds: float = 0, **options: Any) -> Any:
    return step("aio.fetch", seconds=seconds, **options)


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_call_sees_what_any_other_sees(fetching: Lab) -> None:
    ada = Customer.objects.create(name="Ada")
    document = flow(
        fetch(text="Dear {{ object.name }}", total="1|add:2", way="write"),
        object="shop.customer",
        time_zone="Asia/Tokyo",
    )
    publish_flow(document)
    run = create_flowrun("flow", ada)
    sweep()
    found = fresh(run)
    assert found.outcome == Outcome.COMPLETE, found.reason
    assert found.state == {
        "seen": ["Ada", "Dear Ada", 3, settings.LANGUAGE_CODE],
        "zone": "Asia/Tokyo",
        "returned": True,
    }
    assert customers() == ["Ada", "asynchronous"]


@pytest.mark.django_db(transaction=True)
def test_its_time_out_interrupts_it(fetching: Lab) -> None:
    publish_flow(flow(fetch(30, way="long", timeout=0.1)))
    run = create_flowrun("flow")
    begun = time.monotonic()
    sweep()
    assert time.monotonic() - begun < 10
    assert fresh(run).outcome == Outcome.ERRORED
    assert "interrupted after its time-out of 0.1 s" in fresh(run).reason_values["error"]
    assert "time-out" in steps_of(run)[0]["error"]
    assert ended == ["long"], "it was cancelled, and could clean up"


@pytest.mark.django_db(transaction=True)
def test_a_time_out_is_retried_by_its_name(fetching: Lab) -> None:
    retry = {"attempts": 2, "backoff": "1s", "errors": ["TimeoutError"]}
    publish_flow(flow(fetch(30, timeout=0.1, retry=retry)))
    run = create_flowrun("flow")
    sweep()
    assert fresh(run).status == Status.WAITING


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_begins_its_time_anew(fetching: Lab) -> None:
    publish_flow(flow(fetch(way="beat", timeout=0.3)))
    run = create_flowrun("flow")
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE, fresh(run).reason


@pytest.mark.parametrize("way", ["exit", "cancel"])
def test_what_it_raises_fails_its_step(way: str) -> None:
    with temporary_registry(Fetch, plugin="aio"):
        run = run_flow(flow(fetch(way=way)))
    assert run.outcome == "errored"


def made(name: str, function: Any, effects: Effects = Effects.NONE) -> type[BaseAction]:
    def plain(self: Any, *, run: Any, obj: Any, config: Any) -> None:
        return None

    members = {"name": "made", "effects": effects, "run": plain, name: function}
    return type("Made", (BaseAction,), members)


async def waits(self: Any, **_: Any) -> None:
    return None


def yields(self: Any, **_: Any) -> Iterator[None]:
    yield None


async def waits_and_yields(self: Any, **_: Any) -> AsyncIterator[None]:
    yield None


@pytest.mark.parametrize("effects", [Effects.NONE, Effects.DATABASE])
@pytest.mark.parametrize("name", ["run", "return_from_children"])
def test_async_def_needs_external(name: str, effects: Effects) -> None:
    with pytest.raises(RegistrationError, match=rf"{name}\(\) is `async def`.*Effects.EXTERNAL"):
        Registry().add_action(made(name, waits, effects), plugin="test")
    Registry().add_action(made(name, waits, Effects.EXTERNAL), plugin="test")


@pytest.mark.parametrize("function", [yields, waits_and_yields])
def test_a_generator_is_refused_at_registration(function: Any) -> None:
    with pytest.raises(RegistrationError, match="has a `yield`"):
        Registry().add_action(made("run", function, Effects.EXTERNAL), plugin="test")


@pytest.mark.parametrize("name", ["summary", "check", "waits_for", "upgrade_config"])
def test_what_is_asked_about_an_action_is_not_asynchronous(name: str) -> None:
    with pytest.raises(RegistrationError, match=rf"{name}\(\) is `async def`: write `def`"):
        Registry().add_action(made(name, waits, Effects.EXTERNAL), plugin="test")


def test_a_coroutine_of_a_synchronous_action_fails_its_step_with_a_sentence() -> None:
    hidden = made("run", lambda self, **_: waits(self))
    with temporary_registry(hidden, plugin="aio"):
        run = run_flow(flow(step("aio.made")))
    assert run.outcome == "errored"
    assert "returned a coroutine" in run.reason
