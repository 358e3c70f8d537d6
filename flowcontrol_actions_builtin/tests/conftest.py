"""What the tests of single actions share: a run in memory, and calling an action in it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flowcontrol.base import BaseAction, BoundConfig, FlowDirective, RunContext, Wakeup
from flowcontrol_core.definition import parse
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.state import State
from flowcontrol_core.expressions import Scope
from flowcontrol_core.plugins.binding import compile_flow
from flowcontrol_core.plugins.config import bind, read_config, to_stored
from flowcontrol_core.plugins.context import FlowReference
from flowcontrol_core.runtime.activation import Activation, Stop, StopKind
from flowcontrol_core.runtime.clock import ManualClock
from flowcontrol_core.runtime.database import WriteGuard

BERLIN = ZoneInfo("Europe/Berlin")
# A Monday, 12:00 in Berlin.
NOON = datetime(2024, 6, 3, 10, tzinfo=UTC)

Bind = Callable[..., BoundConfig]
Call = Callable[..., FlowDirective | None]


@pytest.fixture
def run() -> RunContext:
    """A run of no flow in particular, about to execute a step."""
    return RunContext(
        uuid=uuid.UUID(int=1),
        flow=FlowReference("test", "Test"),
        state=State(),
        now=NOON,
        time_zone=BERLIN,
    )


@pytest.fixture
def bound() -> Bind:
    """Give a configuration as a version has it, from the values of its form."""

    def bound(action: type[BaseAction], **values: Any) -> BoundConfig:
        form = action.Config(data=values)
        assert form.is_valid(), form.errors
        return bind(action.Config, read_config(action.Config, to_stored(form), BERLIN))

    return bound


@pytest.fixture
def errors_of() -> Callable[..., Mapping[str, list[str]]]:
    """Give the errors of the form of an action, by field."""

    def errors_of(action: type[BaseAction], **values: Any) -> Mapping[str, list[str]]:
        return {name: list(errors) for name, errors in action.Config(data=values).errors.items()}

    return errors_of


@pytest.fixture
def call(run: RunContext, bound: Bind) -> Call:
    """Call an action in the run, as the engine does."""

    def call(
        action: type[BaseAction], obj: Any = None, method: str = "run", **values: Any
    ) -> FlowDirective | None:
        payload = run.wakeup.payload if run.wakeup is not None else run.payload
        scope = Scope(obj=obj, state=run.state.peek(), now=run.now, payload=payload)
        config = bound(action, **values).at(scope)
        directive: FlowDirective | None = getattr(action(), method)(
            run=run, obj=obj, config=config
        )
        return directive

    return call


@dataclass
class Walk:
    """A run of a whole flow, in memory: ``go()`` executes it up to its next wait or its end."""

    activation: Activation
    clock: ManualClock
    stop: Stop | None = None
    trail: list[str] = field(default_factory=list)

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.activation.state.peek())

    @property
    def outcome(self) -> str:
        assert self.stop is not None
        return self.stop.outcome

    @property
    def wait(self) -> Wait:
        assert self.stop is not None
        assert self.stop.kind is StopKind.SUSPENDED, self.stop
        assert self.stop.wait is not None
        return self.stop.wait

    def go(self) -> Walk:
        self.stop = None
        while self.stop is None:
            found = self.activation.look()
            if isinstance(found, Stop):
                self.stop = found
            else:
                self.trail.append(found.step.id)
                self.stop = self.activation.call(found)
        return self

    def wake(self, wakeup: Wakeup) -> Walk:
        """Go on after a wait, for the given reason."""
        if wakeup.kind in ("time", "timeout") and self.wait.wake_at is not None:
            self.clock.set(self.wait.wake_at)
        self.activation.context.wakeup = wakeup
        return self.go()


@pytest.fixture
def walk() -> Callable[..., Walk]:
    """Execute a flow of steps in memory."""

    def walk(steps: list[dict[str, Any]], state: Mapping[str, Any] | None = None) -> Walk:
        document = parse({"format": 1, "time_zone": "Europe/Berlin", "steps": steps})
        clock = ManualClock(NOON)
        activation = Activation(
            uuid=uuid.UUID(int=1),
            flow=FlowReference("test", "Test"),
            compiled=compile_flow(document),
            clock=clock,
            guard=WriteGuard(),
            cursor=(),
            state=State(state),
        )
        activation.prepare()
        return Walk(activation, clock).go()

    return walk


@pytest.fixture
def step() -> Callable[..., dict[str, Any]]:
    """Write a step: its id, its action (of this plugin, if there is no dot), its configuration."""

    def step(name: str, action: str, config: Any = None, **branches: Any) -> dict[str, Any]:
        key = action if "." in action else f"builtin.{action}"
        return {"id": name, "action": key, "config": config or {}, "branches": branches}

    return step
