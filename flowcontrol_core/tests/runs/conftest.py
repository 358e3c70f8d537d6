"""Small actions whose behaviour each test writes itself, and a counter of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

from flowcontrol.testing import flow, manual_clock, publish_flow, step, temporary_registry
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.document.tree import Step
from flowcontrol_core.engine.directives import FlowDirective
from flowcontrol_core.errors import interruptions
from flowcontrol_core.flows.edits import edit_draft
from flowcontrol_core.flows.publication import publish as publish_draft
from flowcontrol_core.models import (
    NO_OBJECT,
    Flow,
    FlowRun,
    RunEvent,
    TriggerEvent,
    about_object,
)
from flowcontrol_core.runs.execution.batch import Batch
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.queue import claim
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.store.clock import ManualClock, clock
from flowcontrol_core.runs.store.guard import CallGuard
from tests.shop.models import Customer, Parcel, Voucher

Behaviour = Callable[..., Any]
# A step may find that its database cannot do what the test is about.
interruptions.add(pytest.skip.Exception)


class WorkerDied(GeneratorExit):
    """Stands for a killed process: the engine catches all else, or gives back what it has."""


@dataclass(slots=True)
class Lab:
    """What the actions of a test do, by the word in their configuration, and who was called."""

    clock: ManualClock
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def on(self, word: str, behaviour: Behaviour) -> None:
        """Return what a step with this word does: a function of ``run`` and ``obj``."""
        self.behaviours[word] = behaviour

    def call(self, word: str, run: Any, obj: Any) -> Any:
        self.calls.append(word)
        self.keys.append(run.idempotency_key)
        behaviour = self.behaviours.get(word)
        if behaviour is None:
            run.state["n"] = run.state.get("n", 0) + 1
            return None
        answer = behaviour(run, obj)
        # What a lambda happens to give is no answer.
        return answer if isinstance(answer, FlowDirective) else None


_lab: list[Lab] = []


class _WithWord(BaseAction):
    class Config(forms.Form):
        word = forms.CharField(initial="step")

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        return _lab[-1].call(config.word, run, obj)


class Think(_WithWord):
    name = "think"
    effects = Effects.NONE


class Write(_WithWord):
    """Creates a customer, if the test says nothing else."""

    name = "write"
    effects = Effects.DATABASE

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        if config.word not in _lab[-1].behaviours:
            Customer.objects.create(name=config.word)
        return super().run(run=run, obj=obj, config=config)


class Send(_WithWord):
    name = "send"
    effects = Effects.EXTERNAL


class Loop(BaseAction):
    name = "loop"
    effects = Effects.NONE
    has_children = True
    is_loop = True

    class Config(forms.Form):
        times = forms.IntegerField()

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        done = run.memo.get("done", 0)
        run.memo["done"] = done + 1
        return self.enter() if done < config.times else None

    return_from_children = run


class Box(BaseAction):
    """A container that is no loop."""

    name = "box"
    effects = Effects.NONE
    has_children = True

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        return self.enter()


ACTIONS = (Think, Write, Send, Loop, Box)
PAID = Trigger(name="paid", label="Paid")


@pytest.fixture(autouse=True)
def _no_turn_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no batch give runs back, however slow the machine is."""
    monkeypatch.setattr(claim, "TURN", 3600.0)


ARCHIVE = "archive"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Actions ``lab.think``, ``lab.write``, ``lab.send``, ``lab.loop``, and a clock that stands."""
    with manual_clock() as clock, temporary_registry(*ACTIONS, triggers=[PAID], plugin="lab"):
        _lab.append(Lab(clock))
        yield _lab[-1]
        _lab.pop()


@pytest.fixture
def archive(db: None, tmp_path: Path) -> Iterator[Any]:
    """A second database with tables of its own, beside whatever the first one is."""
    connections.databases[ARCHIVE] = {
        **connections.databases["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "archive.sqlite3"),
        "OPTIONS": {},
    }
    database: Any = connections[ARCHIVE]
    # Django's test cases allow the databases only that were configured before.
    database.ensure_connection = lambda: database.connection or database.connect()
    with database.schema_editor() as editor:
        for model in (Customer, Voucher, Parcel):
            editor.create_model(model)
    try:
        yield Customer.objects.using(ARCHIVE)
    finally:
        database.close()
        del connections[ARCHIVE]
        del connections.databases[ARCHIVE]


def think(word: str = "think", **options: Any) -> Step:
    return step("lab.think", word=word, **options)


def write(word: str = "write", **options: Any) -> Step:
    return step("lab.write", word=word, **options)


def send(word: str = "send", **options: Any) -> Step:
    return step("lab.send", word=word, **options)


def loop(times: int, *body: Step, **options: Any) -> Step:
    return step("lab.loop", times=times, body=list(body), **options)


def publish(*steps: Step, guard: str = "", object: str | None = None, **fields: Any) -> Flow:  # noqa: A002
    return publish_flow(flow(*steps, guard=guard, object=object), **fields)


def start(*steps: Step, **fields: Any) -> FlowRun:
    """Publish a flow of these steps and create a run of it."""
    return create_flowrun(publish(*steps, **fields))


def republish(changed: Flow, *steps: Step) -> Flow:
    """Publish other steps as the flow's next version; its runs stay where they are."""
    document = flow(*steps)
    edit_draft(changed, lambda _: document, revision=None, author=None)
    publish_draft(changed)
    changed.refresh_from_db()
    return changed


def sweep() -> int:
    return continue_flowruns().executed


def fresh(run: FlowRun) -> FlowRun:
    """Return the row as it stands."""
    return FlowRun.objects.get(pk=run.pk)


def customers() -> list[str]:
    return list(Customer.objects.order_by("pk").values_list("name", flat=True))


def events(run: FlowRun) -> list[RunEvent]:
    return list(RunEvent.objects.filter(run_id=run.pk).order_by("pk"))


def steps_of(run: FlowRun) -> list[dict[str, Any]]:
    return [entry for event in events(run) for entry in event.steps]


def make_due(run: FlowRun, lab: Lab) -> None:
    """Let the lease of a run whose worker died expire."""
    lab.clock.set(max(lab.clock.now(), fresh(run).due_at or lab.clock.now()))


def event(obj: Customer | None = None, **payload: Any) -> TriggerEvent:
    """Keep an event as firing does, without waking anybody."""
    about = NO_OBJECT if obj is None else about_object(obj)
    return TriggerEvent.objects.create(
        key="lab.paid",
        **about,
        payload=payload,
        created_at=clock().now(),
        undelivered_since=clock().now(),
    )


def execute(runs: list[FlowRun]) -> None:
    """Execute claimed runs as a sweep does."""
    guard = CallGuard()
    with guard.installed(), Heartbeat() as heartbeat:
        Batch(runs, guard, heartbeat).execute()


def deadlock() -> OperationalError:
    """Return the error of a deadlock as the database under test words it."""
    if connection.vendor == "mysql":
        return OperationalError(
            1213, "Deadlock found when trying to get lock; try restarting transaction"
        )
    return OperationalError("deadlock detected")


@dataclass(slots=True)
class Once:
    """A function that raises on one of its calls, before it does its work or ``after``."""

    work: Callable[..., Any]
    error: BaseException
    at: int = 1
    after: bool = False
    calls: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        now = self.calls == self.at
        if now and not self.after:
            raise self.error
        answer = self.work(*args, **kwargs)
        if now:
            raise self.error
        return answer


@dataclass(slots=True)
class Counts:
    """What was sent to the database: BEGIN, COMMIT and savepoints are counted apart."""

    sql: list[str] = field(default_factory=list)

    @property
    def queries(self) -> list[str]:
        return [sql for sql in self.sql if not sql.startswith(_TRANSACTION)]

    @property
    def commits(self) -> int:
        return sum(sql.startswith("COMMIT") for sql in self.sql)


_TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@contextmanager
def counted() -> Iterator[Counts]:
    counts = Counts()
    with CaptureQueriesContext(connection) as captured:
        yield counts
    counts.sql += [query["sql"] for query in captured.captured_queries]
