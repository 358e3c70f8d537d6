"""The contract that every action has to keep, as one call for a plugin's own tests."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import translation

from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.plugins.actions import BaseAction
from flowcontrol_core.plugins.config import bind, read_config, to_stored
from flowcontrol_core.plugins.registry import Registry

_ZONES = (ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata"))


def check_action(cls: type[BaseAction], *configs: Mapping[str, Any]) -> None:
    """Raise AssertionError, saying what is wrong, where an action does not keep the contract.

    ``configs`` are examples as a browser would send them (field name to text). Checked are: it can
    be registered; its instance has no state; each example validates, is stored as JSON, and means
    the same when it is read back under another language and time zone; the summary is plain text.
    """
    action = Registry().add_action(cls, plugin="contract").action
    _check_stateless(action)
    for config in configs:
        _check_config(action, config)


def _check_stateless(action: BaseAction) -> None:
    assert not vars(action), (
        f"{type(action).__qualname__} keeps {sorted(vars(action))} on its instance, which is "
        "shared by all threads; keep it in run.memo or run.state."
    )


def _check_config(action: BaseAction, config: Mapping[str, Any]) -> None:
    name = type(action).__qualname__
    form = action.Config(data=dict(config))
    assert form.is_valid(), f"The example {config!r} of {name} does not validate: {form.errors}"
    stored = to_stored(form)
    again = json.loads(json.dumps(stored, allow_nan=False))
    meanings = []
    for language, zone in (("en", _ZONES[0]), ("de", _ZONES[1])):
        with translation.override(language):
            try:
                values = read_config(action.Config, again, zone)
            except FlowcontrolError as error:
                raise AssertionError(
                    f"The stored configuration {again!r} of {name} cannot be read back: {error}"
                ) from error
        meanings.append(pickle.dumps(values))
        summary = str(action.summary(bind(action.Config, values)))
        assert "\n" not in summary, f"The summary of {name} has more than one line: {summary!r}"
    assert meanings[0] == meanings[1], (
        f"The configuration {again!r} of {name} means something else in another language or zone."
    )
