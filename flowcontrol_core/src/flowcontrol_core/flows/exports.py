"""Flows as YAML: portable, without secrets, and with a list of the plugins they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django import forms

from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.bound_step import upgraded_config
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.storage import StoredField
from flowcontrol_core.document.format import to_data
from flowcontrol_core.document.tree import Document, Step, map_steps
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.flows import yaml_text
from flowcontrol_core.flows.drafts import get_document, present_version, published_version
from flowcontrol_core.flows.flow_triggers import COLUMNS
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
    """Return flows as YAML, each as it is published; with ``drafts``, as it is being edited.

    A flow that was never published is written as its draft. Needs no plugin. Raises EditError
    where the text would be too large to be imported.
    """
    exported = [_Exported.read(flow, drafts=drafts) for flow in flows]
    keys = {key for item in exported for key in item.used()}
    data = [item.data() for item in exported]
    return _HEAD + yaml_text.dump({"format": FORMAT, "plugins": _plugins(keys), "flows": data})


def export_step(step: Step) -> str:
    """Return a step with everything inside it as YAML, to be pasted into this or another flow."""
    keys = [visit.step.action for visit in step.walk()]
    data = to_data(Document(steps=map_steps((step,), _portable)))["steps"]
    return yaml_text.dump({"format": FORMAT, "plugins": _plugins(keys), "steps": data})


@dataclass(frozen=True, slots=True)
class _Exported:
    """A flow to be exported, with its document and its triggers."""

    flow: Flow
    document: Document
    triggers: list[FlowTrigger]

    @classmethod
    def read(cls, flow: Flow, *, drafts: bool) -> _Exported:
        version = (None if drafts else published_version(flow)) or present_version(flow)
        return cls(flow, get_document(version), list(FlowTrigger.objects.filter(flow=flow)))

    def used(self) -> Iterator[str]:
        """Yield the keys of all actions and triggers."""
        yield from (association.trigger for association in self.triggers)
        yield from (visit.step.action for visit in self.document.walk())

    def data(self) -> dict[str, Any]:
        portable = map_steps(self.document.steps, _portable)
        return {
            "key": self.flow.key,
            "name": self.flow.name,
            "description": self.flow.description,
            "limits": _given(self.flow, (*LIMITS, *POLICIES)),
            **_given(self.flow, RETENTION),
            "triggers": [_given(association, COLUMNS) for association in self.triggers],
            "document": to_data(replace(self.document, steps=portable)),
        }


def _given(row: Flow | FlowTrigger, names: Iterable[str]) -> dict[str, Any]:
    """Return the columns of a row that are not empty."""
    values = {name: getattr(row, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _portable(step: Step) -> Step:
    """Return a step in the action's present version, markers in place of what is not exported."""
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
    field = action.Config.base_fields[name]
    if isinstance(field, forms.ModelChoiceField) and not isinstance(field, StoredField):
        # A natural key is stored as a list, a primary key as a text.
        values = value if isinstance(field, forms.ModelMultipleChoiceField) else [value]
        if not all(isinstance(item, list) for item in values):
            return {MARKER: REFERENCE}
    return value


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
    """Return the plugin of a key, and its distribution where that is known."""
    entry = registry.get_action(key) if registry.knows_action(key) else registry.triggers.get(key)
    return (entry.plugin, entry.distribution) if entry else (key.partition(".")[0], "")
