"""Flows as YAML: portable, without secrets, and with a list of the plugins they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from django import forms

from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.bound_step import upgraded_config
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.storage import StoredField
from flowcontrol_core.document.serialize import to_data
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.flows import yaml_text
from flowcontrol_core.flows.drafts import get_document, present_version, published_version
from flowcontrol_core.flows.lifecycle import LIMITS, POLICIES, RETENTION
from flowcontrol_core.models import Flow, FlowTrigger

FORMAT = 1
#: The key of what stands for a value that is not in the file; its value says why.
MARKER = "$flowcontrol"
SECRET = "secret"  # noqa: S105 - the reason, no password
REFERENCE = "reference"
UNKNOWN = "unknown"

_HEAD = f"""\
# Flows of flowcontrol, to be imported on this or another site.
# Where a value is `{MARKER}: ...`, it is not in this file and has to be entered after the import:
# `{SECRET}` is one that is never exported, `{REFERENCE}` a row of this site's database without a
# natural key, `{UNKNOWN}` one of an action that is not installed here, so it may be a secret.
"""


def export_flows(flows: Iterable[Flow], *, drafts: bool = False) -> str:
    """Write flows as YAML, each as it is published; with ``drafts``, as it is being edited.

    A flow that was never published is written as its draft. Needs no plugin. Raises EditError
    where the text would be too large to be imported.
    """
    data = [_flow(flow, drafts=drafts) for flow in flows]
    keys = {key for item in data for key in _keys(item)}
    return _HEAD + yaml_text.dump({"format": FORMAT, "plugins": _plugins(keys), "flows": data})


def map_steps(document: Document, change: Callable[[Step], Step]) -> Document:
    """Give the document with each step changed; ``change`` leaves id and branches alone."""
    return replace(document, steps=_mapped(document.steps, change))


def _mapped(steps: tuple[Step, ...], change: Callable[[Step], Step]) -> tuple[Step, ...]:
    return tuple(
        replace(
            change(step),
            branches={name: _mapped(inside, change) for name, inside in step.branches.items()},
        )
        for step in steps
    )


def _flow(flow: Flow, *, drafts: bool) -> dict[str, Any]:
    version = None if drafts else published_version(flow)
    version = version or present_version(flow)
    document = get_document(version) if version else Document()
    return {
        "key": flow.key,
        "name": flow.name,
        "description": flow.description,
        "limits": _given(flow, (*LIMITS, *POLICIES)),
        **_given(flow, RETENTION),
        "triggers": [_trigger(item) for item in FlowTrigger.objects.filter(flow=flow)],
        "document": to_data(map_steps(document, _portable)),
    }


def _given(flow: Flow, names: Iterable[str]) -> dict[str, Any]:
    """Give the columns of a flow that are not empty."""
    values = {name: getattr(flow, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _trigger(association: FlowTrigger) -> dict[str, Any]:
    names = ("trigger", "mode", "active", "condition", "config", "step")
    return {name: getattr(association, name) for name in names}


def _portable(step: Step) -> Step:
    """Give a step in the action's present version, markers in place of what is not exported."""
    try:
        action = registry.get_action(step.action).action
        config = upgraded_config(step, action)
    except FlowcontrolError:
        # Which of its fields are secret only the action could say.
        return replace(step, config={name: {MARKER: UNKNOWN} for name in step.config})
    # What the form has no field for may be the secret of an older version: it is left out.
    known = [name for name in config if name in action.Config.base_fields]
    portable = {name: _value(action, name, config[name]) for name in known}
    return replace(step, config=portable, config_version=action.config_version)


def _value(action: BaseAction, name: str, value: Any) -> Any:
    if value in (None, "", [], {}):
        return value
    if name in action.secret_fields:
        return {MARKER: SECRET}
    field = action.Config.base_fields.get(name)
    if isinstance(field, forms.ModelChoiceField) and not isinstance(field, StoredField):
        return {MARKER: REFERENCE} if _has_primary_key(field, value) else value
    return value


def _has_primary_key(field: forms.Field, value: Any) -> bool:
    """A natural key is stored as a list, a primary key as a text."""
    values = value if isinstance(field, forms.ModelMultipleChoiceField) else [value]
    return any(not isinstance(item, list) for item in values)


def _keys(item: Mapping[str, Any]) -> Iterable[str]:
    """Give the keys of all actions and triggers of an exported flow."""
    yield from (association["trigger"] for association in item["triggers"])
    pending = list(item["document"]["steps"])
    while pending:
        step = pending.pop()
        yield step["action"]
        for inside in step.get("branches", {}).values():
            pending += inside


def _plugins(keys: Iterable[str]) -> list[dict[str, str]]:
    found: dict[str, str] = {}
    for key in sorted(keys):
        plugin, distribution = _origin(key)
        found[plugin] = found.get(plugin) or distribution
    return [
        {"name": plugin, **({"distribution": distribution} if distribution else {})}
        for plugin, distribution in sorted(found.items())
    ]


def _origin(key: str) -> tuple[str, str]:
    """Give the plugin of a key, and its distribution where that is known."""
    if registry.knows_action(key):
        entry = registry.get_action(key)
        return entry.plugin, entry.distribution
    trigger = registry.triggers.get(key)
    return (trigger.plugin, trigger.distribution) if trigger else (key.partition(".")[0], "")
