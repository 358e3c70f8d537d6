"""The contract of all actions, as one call for a plugin's own tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from django.utils import translation

from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.config import bind, read_config, store_values, to_stored
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.errors import FlowcontrolError

_ZONES = (ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata"))


def check_action(cls: type[BaseAction], *configs: Mapping[str, Any]) -> None:
    """Raise AssertionError, saying what is wrong, where an action breaks the contract.

    ``configs`` are examples as a browser would send them (field name to text). Checked are: it can
    be registered; its instance has no state; each example validates, is stored as JSON, and means
    the same when it is read back under another language and time zone; the summary is plain text.
    """
    action = Registry().add_action(cls, plugin="contract").action
    _check_stateless(action)
    for config in configs:
        _check_config(action, config)


def _check_stateless(action: BaseAction) -> None:
    if attributes := vars(action):
        _fail(
            f"{type(action).__qualname__} has {sorted(attributes)} on its instance, which is "
            "shared by all threads; store it in run.memo or run.state."
        )


def _check_config(action: BaseAction, config: Mapping[str, Any]) -> None:
    name = type(action).__qualname__
    form = action.Config(data=dict(config))
    if not form.is_valid():
        _fail(f"The example {config!r} of {name} does not validate: {form.errors.as_json()}")
    stored = json.loads(json.dumps(to_stored(form), allow_nan=False))
    for language, zone in (("en", _ZONES[0]), ("de", _ZONES[1])):
        with translation.override(language):
            values = _read_back(action, stored, zone)
            summary = str(action.summary(bind(action.Config, values)))
        if "\n" in summary:
            _fail(f"The summary of {name} has more than one line: {summary!r}")
        if (again := store_values(form.fields, values)) != stored:
            _fail(
                f"The configuration {stored!r} of {name} means {again!r} when it is read in the "
                f"language {language!r} and the zone {zone}."
            )


def _read_back(action: BaseAction, stored: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    try:
        return read_config(action.Config, stored, zone)
    except FlowcontrolError as error:
        raise AssertionError(
            f"The stored configuration {stored!r} of {type(action).__qualname__} cannot be read "
            f"back: {error}"
        ) from error


def _fail(message: str) -> NoReturn:
    raise AssertionError(message)
