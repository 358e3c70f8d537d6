"""What stands in for an action that reaches the world outside: it shows the call, unmade."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, time
from itertools import islice
from typing import Any

from django.db.models import Model, QuerySet

from flowcontrol_core import bounds
from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.bound_step import BoundStep
from flowcontrol_core.actions.config import BoundConfig, secrets_of
from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.models import describe_object
from flowcontrol_core.redaction import HIDDEN, is_secret, redact, redact_json, secrets_in

_MOST_ROWS = 20


class Uncalled(BaseAction):
    """Takes the place of an action: it evaluates the configuration, and continues.

    ``shown`` is that of the last call, without secrets. An expression that fails, fails the step,
    as it would in the call.
    """

    def __init__(self, action: BaseAction) -> None:
        self.action = action
        # A step has one of these to itself.
        self.secret_fields = action.secret_fields  # type: ignore[misc]
        self.shown: dict[str, Any] = {}

    def run(self, *, run: RunContext, obj: Any, config: BoundConfig) -> None:
        self.shown = _shown_config(self.action, run, config)


def uncalled(bound: BoundStep) -> tuple[BoundStep, Uncalled]:
    """Return a step whose action is not called, and what stands in for the action.

    It needs no secret: none is asked for.
    """
    action = Uncalled(bound.action)
    return replace(bound, action=action, secrets=frozenset()), action


def _shown_config(action: BaseAction, run: RunContext, config: BoundConfig) -> dict[str, Any]:
    hidden = {*action.secret_fields, *secrets_of(config)}
    secrets = [*secrets_in(run.state.peek()), *secrets_in(run.payload)]
    secrets += [str(config.source(name)) for name in action.secret_fields if config.source(name)]
    names = (name for name in action.Config.base_fields if config.source(name) not in _EMPTY)
    return {
        name: HIDDEN if name in hidden or is_secret(name) else _evaluated(config, name, secrets)
        for name in names
    }


_EMPTY: tuple[Any, ...] = (None, "", [], {}, ())


def _evaluated(config: BoundConfig, name: str, secrets: Iterable[str]) -> Any:
    value = getattr(config, name)
    # A mapping is evaluated with what the call returns.
    is_later = callable(value) and not isinstance(value, Model | QuerySet)
    return _shown(config.source(name) if is_later else value, list(secrets))


def _shown(value: Any, secrets: list[str]) -> Any:
    """Return a value as JSON, redacted and bounded."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        listed = {str(key): _shown(item, secrets) for key, item in value.items()}
        return redact_json(listed)
    if isinstance(value, list | tuple | set | frozenset | QuerySet):
        return [_shown(item, secrets) for item in islice(value, _MOST_ROWS)]
    text = redact(_text_of(value), secrets)
    most = bounds.DRY_RUN_VALUE_CHARACTERS
    return text if len(text) <= most else f"{text[:most]}…"


_TEXTS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (Model, describe_object),
    ((datetime, date, time), lambda value: str(value.isoformat())),
)


def _text_of(value: Any) -> str:
    for kind, text in _TEXTS:
        if isinstance(value, kind):
            return text(value)
    return str(value)
