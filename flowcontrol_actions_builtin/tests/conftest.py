"""What the tests of single actions share: a run in memory, and calling an action in it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flowcontrol.base import BaseAction, BoundConfig, FlowDirective, RunContext
from flowcontrol_core.actions.config import bind, read_config, to_stored
from flowcontrol_core.actions.context import FlowReference
from flowcontrol_core.engine.state import State
from flowcontrol_core.expressions import Scope

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
    """Return a configuration as a version has it, from the values of its form."""

    def bound(action: type[BaseAction], **values: Any) -> BoundConfig:
        form = action.Config(data=values)
        assert form.is_valid(), form.errors
        return bind(action.Config, read_config(action.Config, to_stored(form), BERLIN))

    return bound


@pytest.fixture
def errors_of() -> Callable[..., Mapping[str, list[str]]]:
    """Return the errors of the form of an action, by field."""

    def errors_of(action: type[BaseAction], **values: Any) -> Mapping[str, list[str]]:
        return {
            name: [str(error) for error in errors]
            for name, errors in action.Config(data=values).errors.items()
        }

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
        directive: FlowDirective | None = getattr(action(), method)(run=run, obj=obj, config=config)
        return directive

    return call
