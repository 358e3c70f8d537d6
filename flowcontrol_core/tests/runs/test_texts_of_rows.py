"""Every text for people is stored on every database, whatever it contains; keys are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from flowcontrol import flows, runs
from flowcontrol.engine import cancel_flowrun, create_flowrun, start_flowrun
from flowcontrol.errors import StateError, UnknownFlowError
from flowcontrol.testing import flow, publish_flow
from flowcontrol_core.checks import check_characters
from flowcontrol_core.models import Flow, FlowEvent, FlowRun, SkippedFiring, columns
from flowcontrol_core.runs.operations.operator_actions import perform
from tests.shop.models import Customer

from .conftest import PAID, Lab, events, fresh, publish, sweep, think

pytestmark = pytest.mark.django_db

BAD = "x\0y\udcff" + "z" * 300
GOOD = "xy?zz"


class Odd(Customer):
    """A customer whose text no database stores."""

    text = BAD

    class Meta:
        proxy = True
        app_label = "shop"

    def __str__(self) -> str:
        return self.text


def test_who_did_something_to_a_run_and_why_is_stored(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=run.now.replace(year=2100)))
    run = create_flowrun(publish(think("wait")), by=BAD, reason=BAD)
    sweep()
    perform("pause", run.pk, by=BAD, reason=BAD)
    perform("resume", run.pk, by=BAD, reason=BAD)
    cancel_flowrun(run, by=BAD, reason=BAD)
    sweep()
    row = fresh(run)
    assert row.outcome == "canceled"
    assert GOOD in row.reason
    actors = {event.actor for event in events(run) if event.actor}
    assert {len(actor) for actor in actors} == {200}
    assert {actor[:5] for actor in actors} == {GOOD}


def test_who_did_something_to_a_flow_and_why_is_stored(lab: Lab) -> None:
    target = publish(think())
    flows.pause(target, by=BAD, reason=BAD)
    flows.resume(target, by=BAD, reason=BAD)
    for event in FlowEvent.objects.filter(key=target.key).exclude(actor="")[:2]:
        assert (event.actor[:5], event.note[:5]) == (GOOD, GOOD)


def test_an_object_with_such_a_text_has_runs_and_skipped_firings(lab: Lab) -> None:
    obj = Odd.objects.create(name="Ada")
    target = publish(think())
    run = create_flowrun(target, obj)
    sweep()
    assert (fresh(run).object_text[:5], fresh(run).outcome) == (GOOD, "complete")
    flows.associate_trigger(target, "lab.paid", condition="payload.n > 1")
    PAID.fire(obj, {"n": 1})
    assert SkippedFiring.objects.get().object_text[:5] == GOOD


def test_what_an_action_says_and_raises_is_stored(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        run.log(BAD)
        raise RuntimeError(BAD)

    lab.on("think", work)
    run = create_flowrun(publish(think()))
    sweep()
    (event,) = events(run)
    assert GOOD in fresh(run).reason
    assert GOOD in event.error["message"]
    assert event.steps[0]["messages"][0][:5] == GOOD


@pytest.mark.parametrize("key", ["a\0b", "a\udcffb", "é" * 400])
def test_events_are_told_apart_by_any_key(lab: Lab, key: str) -> None:
    flows.associate_trigger(publish(think()), "lab.paid")
    for unique_key in (key, key, f"{key}2"):
        PAID.fire(None, {}, unique_key=unique_key)
    assert FlowRun.objects.count() == 2


def test_a_wait_for_a_key_that_no_database_stores_fails_its_step(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.\0"))
    run = create_flowrun(publish(think("wait")))
    sweep()
    assert "U+0000" in fresh(run).reason


KEYS: dict[str, Callable[[Any], Any]] = {
    "state": lambda run: run.state.update({"b\0oom": 1}),
    "half of a character": lambda run: run.state.update({"b\ud83d": 1}),
    "variable": lambda run: run.set_variable("b\0", 1),
    "half of a character of a variable": lambda run: run.set_variable("b\ud83d", 1),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_the_state_that_no_database_stores_fails_its_step(lab: Lab, name: str) -> None:
    lab.on("think", lambda run, obj: KEYS[name](run))
    run = create_flowrun(publish(think()))
    sweep()
    row = fresh(run)
    assert (row.outcome, row.state) == ("errored", {})
    assert "Step s1 (lab.think) failed: state: text with a" in row.reason


@pytest.mark.parametrize("name", KEYS)
def test_a_step_that_catches_the_refusal_of_a_key_goes_on(lab: Lab, name: str) -> None:
    def work(run: Any, obj: Any) -> None:
        with pytest.raises(StateError):
            KEYS[name](run)

    lab.on("think", work)
    run = create_flowrun(publish(think()))
    sweep()
    assert (fresh(run).outcome, fresh(run).state) == ("complete", {})


@pytest.mark.parametrize("key", ["key\0", "\0\ud800", "\udcff"])
def test_a_key_that_no_database_stores_names_nothing(lab: Lab, key: str) -> None:
    create_flowrun(publish(think()))
    assert runs.find(key) == []
    assert list(Flow.objects.filter(key__in=["other", key])) == []
    assert Flow.objects.exclude(key=key).count() == Flow.objects.exclude(key__in=[key]).count() == 1
    assert Flow.objects.filter(key__in=[key, Flow.objects.get().key]).count() == 1
    for start in (runs.start, runs.create, start_flowrun):
        with pytest.raises(UnknownFlowError):
            start(key)


def test_a_run_in_memory_has_the_texts_that_are_stored(lab: Lab) -> None:
    obj = Odd.objects.create(name="Ada")
    target = publish(think())
    for run in (start_flowrun(target, obj, by=BAD), create_flowrun(target, obj, by=BAD)):
        assert run.object_text == fresh(run).object_text
        assert run.object_text[:5] == GOOD


EMOJI = "Ada 🙂"


@pytest.fixture
def three_bytes() -> Iterator[None]:
    """Let the connection to MariaDB have the character set utf8mb3, as projects of old have."""
    if connection.vendor != "mysql":
        pytest.skip("Only MariaDB has the character set utf8mb3.")
    columns._holds_all.clear()
    with connection.cursor() as cursor:
        cursor.execute("SET NAMES utf8mb3")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET NAMES utf8mb4")
    columns._holds_all.clear()


def test_an_emoji_is_replaced_where_the_character_set_has_none(lab: Lab, three_bytes: None) -> None:
    def work(run: Any, obj: Any) -> None:
        run.state["said"] = EMOJI
        raise RuntimeError(EMOJI)

    lab.on("think", work)
    Odd.text = EMOJI
    try:
        run = create_flowrun(publish(think()), Odd.objects.create(name="Ada"), by=EMOJI)
    finally:
        Odd.text = BAD
    sweep()
    row = fresh(run)
    assert (row.object_text, row.outcome) == ("Ada ?", "errored")
    assert events(run)[0].actor == "Ada ?"
    assert EMOJI in events(run)[-1].error["message"]
    (warning,) = check_characters(databases=["default"])
    assert warning.id == "flowcontrol.W012"
    assert "utf8mb4" in (warning.hint or "")


def test_an_emoji_is_stored_where_it_can_be(lab: Lab) -> None:
    columns._holds_all.clear()
    target = publish_flow(flow(think()), name=EMOJI)
    run = create_flowrun(target, by=EMOJI, reason=EMOJI)
    target.refresh_from_db()
    assert (target.name, events(run)[0].actor) == (EMOJI, EMOJI)
    assert check_characters(databases=["default"]) == []
    assert check_characters() == []
