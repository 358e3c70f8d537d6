"""Promise 13: a history row a checkpoint says what happened, in bounded space, without secrets."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django import forms
from django.utils import translation

from flowcontrol.testing import flow, publish_flow, step, temporary_registry
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.models import RunEvent
from flowcontrol_core.runs.execution.start import create_flowrun
from tests import operate
from tests.translation import words

from .conftest import (
    Lab,
    events,
    fresh,
    loop,
    publish,
    send,
    start,
    steps_of,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db


def test_each_checkpoint_has_one_row_that_lists_its_steps(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=1)))
    run = start(think(), write(), send(), think("wait"), think())
    sweep()
    lab.clock.advance(days=1)
    sweep()
    assert [(event.kind, [entry["step"] for entry in event.steps]) for event in events(run)] == [
        ("steps", ["s1", "s2"]),
        ("steps", ["s3"]),
        ("suspended", ["s4"]),
        ("ended", ["s5"]),
    ]


def test_entry_says_which_action_when_how_long_and_what_changed(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        run.state["price"] = Decimal("1.50")
        run.state["old"] = 2
        del run.state["gone"]
        run.log("Ran.")

    lab.on("work", work)
    run = start(think("work"))
    type(run).objects.filter(pk=run.pk).update(state={"old": 1, "gone": 1, "same": 1})
    sweep()
    (entry,) = steps_of(run)
    assert entry["action"] == "lab.think"
    assert entry["at"] == lab.clock.now().isoformat()
    assert entry["seconds"] >= 0
    assert entry["changes"] == {
        "price": [[], [{"$decimal": "1.50"}]],
        "old": [[1], [2]],
        "gone": [[1], []],
    }
    assert entry["messages"] == ["Ran."]


def test_long_loop_is_kept_short(lab: Lab) -> None:
    run = start(loop(1000, think("a"), think("b"), think("c")))
    sweep()
    assert fresh(run).state == {"n": 3000}
    (event,) = events(run)
    shown = [entry["step"] for entry in event.steps if "answer" in entry]
    omitted = {entry["step"]: entry["omitted"] for entry in event.steps if "omitted" in entry}
    assert all(shown.count(name) == 4 for name in ("s1", "s2", "s3", "s4"))
    assert omitted["s2"] == 996


def test_failure_in_a_loop_is_kept_with_its_traceback(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        run.state["n"] = run.state.get("n", 0) + 1
        if run.state["n"] == 500:
            raise ValueError("the five hundredth")

    lab.on("work", work)
    run = start(loop(1000, think("work"), id="loop"))
    sweep()
    (event,) = events(run)
    (failed,) = [entry for entry in event.steps if "error" in entry]
    assert failed["error"] == "ValueError: the five hundredth"
    assert event.kind == "failed"
    assert (event.error["type"], event.error["step"]) == ("ValueError", "s1")
    assert "in work" in event.error["traceback"]


def test_steps_with_effects_in_a_loop_are_kept_all(lab: Lab, settings: Any) -> None:
    # All in one checkpoint, however slow the machine is.
    settings.FLOWCONTROL = {"COALESCE": 3600.0}
    run = start(loop(20, think("a"), write("b")))
    sweep()
    steps = [entry["step"] for entry in steps_of(run) if "answer" in entry]
    assert steps.count("s3") == 20
    assert steps.count("s2") < 20


def test_huge_traceback_is_cut_in_the_middle(lab: Lab) -> None:
    def work(run: Any, obj: Any) -> None:
        raise ValueError("x" * 100_000)

    lab.on("work", work)
    run = start(think("work"))
    sweep()
    (event,) = events(run)
    assert len(event.error["traceback"]) < 20_100
    assert len(event.error["message"]) <= 2_000
    assert len(fresh(run).reason) < 1_000


@pytest.mark.parametrize("name", ["password", "api_key", "user_token", "SESSION"])
def test_secret_values_are_hidden_in_changes(lab: Lab, name: str) -> None:
    def work(run: Any, obj: Any) -> None:
        run.state[name] = "hunter2"
        run.state["nested"] = {name: "hunter2"}

    lab.on("work", work)
    run = start(think("work"))
    sweep()
    assert "hunter2" not in str(steps_of(run))
    assert fresh(run).state[name] == "hunter2"


class Login(BaseAction):
    name = "login"
    effects = Effects.NONE
    secret_fields = ("passphrase",)

    class Config(forms.Form):
        passphrase = forms.CharField()

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.log(f"Trying {config.passphrase}.")
        raise ValueError(f"401 for {config.passphrase} and token={run.state['token']}")


def test_secret_values_are_hidden_in_errors(lab: Lab) -> None:
    document = flow(step("lab2.login", passphrase="hunter2"))
    with temporary_registry(Login, plugin="lab2"):
        run = create_flowrun(publish_flow(document), state={"token": "s3cret-token"})
        sweep()
    row = fresh(run)
    assert "ValueError: 401 for •••" in row.reason
    written = [row.reason, *RunEvent.objects.values_list("values", "steps", "error")]
    for secret in ("hunter2", "s3cret-token"):
        assert secret not in str(written)
    assert "Traceback" in events(run)[0].error["traceback"]


@pytest.mark.parametrize("place", ["state", "payload"])
def test_secret_values_are_hidden_where_the_guard_fails(lab: Lab, place: str) -> None:
    flow = publish(think(), guard=f"{place}.text|truncatechars:{place}.token")
    values: Any = {place: {"text": "a text", "token": "s3cret-token"}}
    run = create_flowrun(flow, **values)
    sweep()
    row = fresh(run)
    assert (row.outcome, row.reason_code) == ("errored", "guard_failed")
    assert "•••" in row.reason
    written = [row.reason_values, *RunEvent.objects.values_list("values", "steps", "error")]
    assert "s3cret-token" not in str(written)


def test_history_has_keys_and_no_translated_labels(lab: Lab) -> None:
    run = start(think())
    with translation.override("de"):
        sweep()
    (event,) = events(run)
    assert (event.kind, event.steps[0]["answer"]) == ("ended", "continue")


def test_history_is_read_in_the_language_of_the_reader(lab: Lab) -> None:
    lab.on("fail", lambda run, obj: 1 / 0)
    run = start(think("fail", id="first"))
    with translation.override("de"):
        sweep()
        operate.skip(run, by="Ada", reason="egal")
    assert [event.message for event in events(run)] == [
        "Step first (lab.think) failed: ZeroDivisionError: division by zero",
        "The step is skipped. egal",
    ]
    german = {
        "Step %(step)s (%(action)s) failed: %(error)s": "Schritt %(step)s: %(error)s",
        "The step is skipped.": "Der Schritt wird übersprungen.",
    }
    with words(german):
        assert [event.message for event in events(run)] == [
            "Schritt first: ZeroDivisionError: division by zero",
            "Der Schritt wird übersprungen. egal",
        ]
