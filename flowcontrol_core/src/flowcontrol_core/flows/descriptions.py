"""Documents in words: steps by number, places, summaries and differences."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext

from flowcontrol_core.actions.bound_step import bind_step
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.diff import ABSENT, Diff, FieldChange
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.flows.config_forms import zone_of
from flowcontrol_core.flows.edits import step_label
from flowcontrol_core.redaction import HIDDEN

logger = logging.getLogger(__name__)
MAX_SHOWN = 300


def step_numbers(document: Document) -> dict[str, str]:
    """Number the steps as they are read: ``2``, and ``2.then.1`` inside of it."""
    numbers: dict[str, str] = {}
    for visit in document.walk():
        around = f"{numbers[visit.parent.id]}.{visit.branch}." if visit.parent else ""
        numbers[visit.step.id] = f"{around}{visit.position + 1}"
    return numbers


def summarize_step(step: Step, document: Document) -> str:
    """Say in a plain sentence what a step does; empty where its action cannot say."""
    try:
        bound = bind_step(step, zone_of(document))
        return str(bound.action.summary(bound.config))
    except FlowcontrolError:
        return ""
    except Exception:
        logger.exception("The summary of the action %s failed.", step.action)
        return ""


class Describer:
    """Names the steps and places of one document in words."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._numbers = step_numbers(document)
        self._steps = {visit.step.id: visit.step for visit in document.walk()}

    def step(self, step_id: str) -> str:
        """Name a step: its number and its action."""
        step = self._steps.get(step_id)
        return f"{self._numbers[step_id]} “{step_label(step)}”" if step else step_id

    def place(self, place: Place, *, moving: str | None = None) -> str:
        """Say where a place is; its index does not count the step ``moving``."""
        where = self._list_name(place)
        others = [step for step in self._siblings(place) if step.id != moving]
        if place.index == 0 or place.index > len(others):
            if not others:
                return where
            return gettext("%(where)s, at the beginning") % {"where": where}
        before = self.step(others[place.index - 1].id)
        return gettext("%(where)s, after %(step)s") % {"where": where, "step": before}

    def _list_name(self, place: Place) -> str:
        if place.parent is None:
            return gettext("Top level")
        words = {"branch": place.branch, "step": self.step(place.parent)}
        return gettext("In “%(branch)s” of %(step)s") % words

    def _siblings(self, place: Place) -> tuple[Step, ...]:
        if place.parent is None:
            return self.document.steps
        parent = self._steps.get(place.parent)
        return parent.branches.get(place.branch or "", ()) if parent else ()


class FieldText(NamedTuple):
    """One changed value in words."""

    name: str
    old: str
    new: str


class DiffLine(NamedTuple):
    """One difference in words; ``kind`` is ``option``, ``added``, ``removed``, ``moved``,
    ``changed``; ``step`` is the id of the step it is about.
    """

    kind: str
    text: str
    step: str = ""
    changes: tuple[FieldText, ...] = ()


def describe_diff(difference: Diff, old: Document, new: Document) -> list[DiffLine]:
    """Say what changed from one document to another, one line a step."""
    before, after = Describer(old), Describer(new)
    lines = []
    if difference.options:
        changes = tuple(_field_text(change, None) for change in difference.options)
        lines.append(DiffLine("option", gettext("Settings of the flow"), "", changes))
    lines += _added(difference, after)
    lines += _removed(difference, before)
    lines += _moved(difference, before, after)
    lines += _changed(difference, after)
    return lines


def _added(difference: Diff, after: Describer) -> Iterator[DiffLine]:
    for item in difference.added:
        words = {"step": after.step(item.step.id), "place": after.place(item.place)}
        yield DiffLine("added", gettext("%(step)s: %(place)s") % words, item.step.id)


def _removed(difference: Diff, before: Describer) -> Iterator[DiffLine]:
    for item in difference.removed:
        words = {"step": before.step(item.step.id), "place": before.place(item.place)}
        yield DiffLine("removed", gettext("%(step)s: %(place)s") % words, item.step.id)


def _moved(difference: Diff, before: Describer, after: Describer) -> Iterator[DiffLine]:
    for item in difference.moved:
        words = {
            "step": after.step(item.step.id),
            "old": before.place(item.old, moving=item.step.id),
            "new": after.place(item.new, moving=item.step.id),
        }
        text = gettext("%(step)s: from “%(old)s” to “%(new)s”") % words
        yield DiffLine("moved", text, item.step.id)


def _changed(difference: Diff, after: Describer) -> Iterator[DiffLine]:
    for item in difference.changed:
        changes = tuple(_field_text(change, item.new) for change in item.changes)
        yield DiffLine("changed", after.step(item.new.id), item.new.id, changes)


def _field_text(change: FieldChange, step: Step | None) -> FieldText:
    name = change.field.removeprefix("config.")
    is_config = step is not None and name != change.field
    if is_config and step is not None and is_secret(step, name):
        return FieldText(field_label(step, name), HIDDEN, HIDDEN)
    label = field_label(step, name) if is_config and step is not None else name.replace("_", " ")
    return FieldText(label, _shown(change.old), _shown(change.new))


def is_secret(step: Step, name: str) -> bool:
    """Say whether a value of a step's configuration is never shown; unknown actions' all are."""
    if not registry.knows_action(step.action):
        return True
    return name in registry.get_action(step.action).action.secret_fields


def field_label(step: Step, name: str) -> str:
    """Give the label of a field of a step's configuration, as its form shows it."""
    if registry.knows_action(step.action):
        field = registry.get_action(step.action).action.Config.base_fields.get(name)
        if field is not None and field.label:
            return str(field.label)
    return name.replace("_", " ")


def shown_config(step: Step) -> list[tuple[str, str]]:
    """Give the stored configuration of a step as labels and values, secrets hidden."""
    return [
        (field_label(step, name), HIDDEN if is_secret(step, name) else _shown(value))
        for name, value in step.config.items()
    ]


def _shown(value: Any) -> str:
    if value is ABSENT or value in (None, ""):
        return gettext("(empty)")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, RetryPolicy):
        return gettext("%(attempts)d attempts, first wait %(backoff)gs, factor %(factor)g") % {
            "attempts": value.attempts,
            "backoff": value.backoff,
            "factor": value.factor,
        }
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
