"""Promise 5: no run, however broken, keeps another one from being executed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from django import forms

from flowcontrol.expressions import ExpressionFilter
from flowcontrol.forms import ExpressionField
from flowcontrol.testing import flow, publish_flow, step, temporary_registry
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.engine.directives import FlowDirective, Kind, Wait
from flowcontrol_core.models import Flow, FlowRun, FlowVersion, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    PAID,
    Lab,
    events,
    fresh,
    publish,
    send,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db


numbers = count()


class Strict(BaseAction):
    name = "strict"
    effects = Effects.NONE

    class Config(forms.Form):
        number = forms.IntegerField()

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["number"] = config.number


class Telling(BaseAction):
    name = "telling"
    effects = Effects.NONE

    class Config(forms.Form):
        text = ExpressionField()

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["said"] = config.text


class Exploding(Strict):
    name = "exploding"
    armed = False

    class Config(forms.Form):
        def clean(self) -> dict[str, Any]:
            if Exploding.armed:
                raise ZeroDivisionError("clean")
            return {"number": 2}


def changed(**values: Any) -> Callable[[], FlowRun]:
    """Make a run whose row was damaged."""

    def make() -> FlowRun:
        run = create_flowrun(publish(think(), think(), key=f"changed-{next(numbers)}"))
        FlowRun.objects.filter(pk=run.pk).update(**values)
        return run

    return make


def with_definition(change: Callable[[dict[str, Any]], None]) -> Callable[[], FlowRun]:
    """Make a run whose version was damaged."""

    def make() -> FlowRun:
        run = create_flowrun(publish(think(), key=f"damaged-{next(numbers)}"))
        document = run.version.document
        change(document)
        FlowVersion.objects.filter(pk=run.version_id).update(document=document)
        return run

    return make


def missing_action(run_key: str = "missing") -> FlowRun:
    with temporary_registry(Strict, plugin="gone"):
        return create_flowrun(publish_flow(flow(step("gone.strict", number=1)), key=run_key))


SHOUT = ExpressionFilter("shout", lambda text: f"{text}!")


def missing_filter() -> FlowRun:
    with temporary_registry(filters=[SHOUT]):
        return create_flowrun(
            publish_flow(flow(step("lab2.telling", text="'a'|shout")), key="missing-filter")
        )


def missing_filter_of_guard() -> FlowRun:
    with temporary_registry(filters=[SHOUT]):
        return create_flowrun(publish(think(), guard="'a'|shout", key="missing-filter-of-guard"))


def invalid_config() -> FlowRun:
    return with_definition(lambda d: d["steps"][0].update(config={}))()


def exploding_config() -> FlowRun:
    run = create_flowrun(publish_flow(flow(step("lab2.exploding")), key="exploding"))
    Exploding.armed = True
    return run


def gone_model() -> FlowRun:
    run = create_flowrun(publish(think("look"), key="stale"))
    FlowRun.objects.filter(pk=run.pk).update(object_type="gone.thing", object_key="1")
    return run


def with_object(key: str, **fields: Any) -> FlowRun:
    customer = Customer.objects.create(name="Ada")
    return create_flowrun(publish(think("look"), key=key, **fields), customer)


def deleted_object() -> FlowRun:
    run = with_object("deleted")
    Customer.objects.all().delete()
    return run


def unreadable_key() -> FlowRun:
    run = with_object("unreadable")
    FlowRun.objects.filter(pk=run.pk).update(object_key="no number")
    return run


def failing_guard() -> FlowRun:
    flow = publish(think(), guard="state.text|upper", key="failing-guard")
    return create_flowrun(flow, state={"text": "x" * 20_000})


def raising(word: str, make_step: Callable[[str], Any] = think) -> Callable[[], FlowRun]:
    return lambda: create_flowrun(publish(make_step(word), key=f"raising-{next(numbers)}"))


def without_flow() -> FlowRun:
    run = create_flowrun(publish(think(), key="without-flow"))
    FlowRun.objects.filter(pk=run.pk).update(flow_id=1_000_000)
    return run


E, B, GONE = Outcome.ERRORED, Status.BLOCKED, Outcome.OBSOLETE
BAD: dict[str, tuple[Callable[[], FlowRun], str, str]] = {
    "state that is no object": (changed(state=[1]), E, "not a JSON object"),
    "state with a damaged value": (changed(state={"a": {"$decimal": "x"}}), E, "cannot be read"),
    "cursor that is no list": (changed(cursor={"step": 1}), E, "cursor is not a list"),
    "cursor without a phase": (changed(cursor=[{"step": "s1"}]), E, "cursor cannot be read"),
    "unknown step": (changed(cursor=[{"step": "zz", "phase": "run"}]), E, "no enabled step 'zz'"),
    "unknown step before": (
        changed(cursor=[{"step": "zz", "phase": "after"}]), E, "no enabled step 'zz'"
    ),
    "unknown step around": (
        changed(cursor=[{"step": "zz", "phase": "inside"}, {"step": "s2", "phase": "run"}]),
        E,
        "no enabled step 'zz'",
    ),
    "missing version": (changed(version_id=1_000_000), E, "does not exist or is a draft"),
    "missing flow": (without_flow, E, "flow of this run no longer exists"),
    "damaged version": (with_definition(lambda d: d.update(steps=5)), B, "steps"),
    "unknown time zone": (with_definition(lambda d: d.update(time_zone="Mo/on")), B, "Mo/on"),
    "missing action": (missing_action, B, "The action gone.strict is not registered"),
    "missing filter": (missing_filter, B, "Expressions have no |shout here"),
    "missing filter of the guard": (missing_filter_of_guard, B, "Expressions have no |shout here"),
    "invalid configuration": (invalid_config, B, "does not validate: word"),
    "exploding configuration": (exploding_config, B, "ZeroDivisionError"),
    "removed model": (gone_model, GONE, "is no longer installed"),
    "deleted object": (deleted_object, GONE, "Ada"),
    "unreadable key": (unreadable_key, GONE, "Ada"),
    "failing guard": (failing_guard, E, "long"),
    "raising action": (raising("raise"), E, "ValueError: no"),
    "raising database action": (raising("raise", write), E, "ValueError: no"),
    "raising external action": (raising("raise", send), E, "ValueError: no"),
    "too large a state": (raising("large"), E, "more than the 262144 allowed"),
    "value that is no JSON": (raising("alien"), E, "cannot be stored in the state"),
    "recursion": (raising("recurse"), E, "RecursionError"),
    "odd payload": (changed(payload=[1]), Outcome.COMPLETE, ""),
}  # fmt: skip


def recurse(run: Any, obj: Any) -> None:
    recurse(run, obj)


def refuse(run: Any, obj: Any) -> None:
    raise ValueError("no")


@pytest.fixture(autouse=True)
def _behaviours(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Exploding, "armed", False)
    lab.on("raise", refuse)
    lab.on("large", lambda run, obj: run.state.update(text="x" * 300_000))
    lab.on("alien", lambda run, obj: run.state.update(thing=object()))
    lab.on("recurse", recurse)
    lab.on("look", lambda run, obj: run.state.update(name=obj.name))
    with temporary_registry(Strict, Exploding, Telling, plugin="lab2"):
        yield


def good_runs(number: int) -> list[FlowRun]:
    flow = publish(think(), write("good"), key="good")
    return [create_flowrun(flow) for _ in range(number)]


def test_bad_runs_in_front_of_good_ones_do_not_keep_them_from_being_done(lab: Lab) -> None:
    bad = {name: make() for name, (make, _, _) in BAD.items() if name != "odd payload"}
    good = good_runs(20)
    sweep()
    assert [fresh(run).outcome for run in good] == ["complete"] * 20
    assert Customer.objects.filter(name="good").count() == 20
    for name, run in bad.items():
        row = fresh(run)
        assert row.reason, name
        assert row.status in (Status.DONE, Status.BLOCKED), name
        assert events(run), name


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_bad_run_is_visible_with_its_reason(lab: Lab, name: str) -> None:
    make, verdict, reason = BAD[name]
    run = make()
    sweep()
    row = fresh(run)
    assert verdict in (row.status, row.outcome), (row.status, row.outcome, row.reason)
    assert reason in row.reason
    if verdict == E:
        assert row.due_at is None
        assert events(run)[-1].error["traceback"]


def test_run_that_misses_an_action_continues_when_it_is_registered(lab: Lab) -> None:
    run = missing_action()
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on, row.due_at) == (Status.BLOCKED, "gone.strict", None)
    assert sweep() == 0
    with temporary_registry(Strict, plugin="gone"):
        assert sweep() == 1
    row = fresh(run)
    assert (row.outcome, row.state, row.blocked_on) == ("complete", {"number": 1}, None)


@pytest.mark.parametrize("make", [missing_filter, missing_filter_of_guard])
def test_run_that_misses_a_filter_continues_when_it_is_registered(
    lab: Lab, make: Callable[[], FlowRun]
) -> None:
    run = make()
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on, row.due_at) == (Status.BLOCKED, "|shout", None)
    assert row.reason_code == "missing_filter"
    assert sweep() == 0
    with temporary_registry(filters=[SHOUT]):
        assert sweep() == 1
    assert fresh(run).outcome == "complete"


def test_run_whose_configuration_does_not_validate_is_tried_again(lab: Lab) -> None:
    run = exploding_config()
    sweep()
    assert fresh(run).status == Status.BLOCKED
    Exploding.armed = False
    lab.clock.advance(timedelta(minutes=15))
    sweep()
    assert fresh(run).outcome == "complete"


def test_repeated_try_of_a_blocked_run_writes_no_more_history(lab: Lab) -> None:
    run = exploding_config()
    for _ in range(5):
        sweep()
        lab.clock.advance(timedelta(minutes=15))
    assert len(events(run)) == 1


def test_errored_run_with_a_damaged_cursor_can_be_sent_to_a_step(lab: Lab) -> None:
    run = BAD["cursor that is no list"][0]()
    sweep()
    operate.go_to_step(run, "s2", by="ada")
    sweep()
    row = fresh(run)
    assert (row.outcome, row.state) == ("complete", {"n": 1})


def test_failing_flow_query_stops_no_run_for_ever(lab: Lab) -> None:
    run = without_flow()
    Flow.objects.create(pk=1_000_000, key="late", name="Late")
    FlowVersion.objects.filter(pk=run.version_id).update(flow_id=1_000_000)
    sweep()
    assert fresh(run).outcome == "complete"


FIRST = datetime.min.replace(tzinfo=ZoneInfo("Asia/Kolkata"))
LAST = datetime.max.replace(tzinfo=ZoneInfo("America/New_York"))
ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "before all time": lambda run, obj: run.suspend(until=FIRST),
    "after all time": lambda run, obj: run.suspend(until=LAST),
    "too long": lambda run, obj: run.suspend(timeout=timedelta.max),
    "no uuid": lambda run, obj: run.suspend(child="order-17"),
    "a trigger, not its key": lambda run, obj: run.suspend(trigger=PAID),
    "a surrogate": lambda run, obj: FlowDirective(Kind.ABORT, reason="\ud800"),
    "no text": lambda run, obj: FlowDirective(Kind.ABORT, reason=cast("str", object())),
    "no wait": lambda run, obj: FlowDirective(Kind.SUSPEND, wait=cast("Wait", "later")),
    "no time": lambda run, obj: FlowDirective(Kind.SUSPEND, wait=Wait(until=cast("Any", "soon"))),
    "no key": lambda run, obj: run.suspend(trigger="\ud800"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_answer_that_cannot_be_stored_ends_its_own_run_only(lab: Lab, answer: str) -> None:
    lab.on("bad", ANSWERS[answer])
    bad = create_flowrun(publish(think("bad"), key="bad"))
    good = publish(think("good"), key="good")
    runs = [create_flowrun(good) for _ in range(2)]
    sweep()
    assert [fresh(run).outcome for run in runs] == [Outcome.COMPLETE] * 2
    assert fresh(bad).outcome in (Outcome.ERRORED, Outcome.ABORTED)
    assert fresh(bad).reason


@pytest.mark.parametrize("at", [FIRST, LAST, datetime(2026, 1, 1)])
def test_start_at_a_time_that_cannot_be_stored_is_refused(lab: Lab, at: datetime) -> None:
    with pytest.raises(ValueError, match="The time"):
        create_flowrun(publish(think()), at=at)
    assert not FlowRun.objects.exists()
