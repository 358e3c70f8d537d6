"""Documents in words: steps by number, places, summaries and differences."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from django.utils.translation import gettext

from flowcontrol_core.actions.bound_step import bind_step
from flowcontrol_core.document.diff import ABSENT, Diff, FieldChange, diff
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step
from flowcontrol_core.errors import FlowcontrolError, raise_interruption
from flowcontrol_core.flows.config_forms import known_action, zone_of
from flowcontrol_core.flows.edits import step_label
from flowcontrol_core.redaction import HIDDEN
from flowcontrol_core.zones import in_zone

logger = logging.getLogger(__name__)
MAX_SHOWN = 300


def summarize_step(step: Step, document: Document) -> str:
    """Return in a plain sentence what a step does; empty where its action has none."""
    try:
        zone = zone_of(document)
        bound = bind_step(step, zone)
        with in_zone(zone):
            return str(bound.action.summary(bound.config))
    except FlowcontrolError:
        return ""
    except BaseException as error:
        raise_interruption(error)
        logger.exception("The summary of the action %s failed.", step.action)
        return ""


class Describer:
    """Names the steps and places of one document in words."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def step(self, step_id: str) -> str:
        """Return the name of a step: its number and its action."""
        visit = self.document.index.get(step_id)
        return f"{visit.number} “{step_label(visit.step)}”" if visit else step_id

    def place(self, place: Place, *, moving: str | None = None) -> str:
        """Return where a place is; its index does not count the step ``moving``."""
        if place.parent is None:
            where, siblings = gettext("Top level"), self.document.steps
        else:
            words = {"branch": place.branch, "step": self.step(place.parent)}
            where = gettext("In “%(branch)s” of %(step)s") % words
            parent = self.document.find(place.parent)
            siblings = parent.branches.get(place.branch or "", ()) if parent else ()
        others = [step.id for step in siblings if step.id != moving]
        if 0 < place.index <= len(others):
            words = {"where": where, "step": self.step(others[place.index - 1])}
            return gettext("%(where)s, after %(step)s") % words
        return gettext("%(where)s, at the beginning") % {"where": where} if others else where


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


def describe_diff(old: Document, new: Document) -> list[DiffLine]:
    """Return what changed from one document to another, one line a step."""
    return list(_diff_lines(diff(old, new), Describer(old), Describer(new)))


def _diff_lines(difference: Diff, before: Describer, after: Describer) -> Iterator[DiffLine]:
    if difference.options:
        changes = tuple(_field_text(change, None) for change in difference.options)
        yield DiffLine("option", gettext("Settings of the flow"), "", changes)
    placed = gettext("%(step)s: %(place)s")
    for kind, steps, describer in (
        ("added", difference.added, after),
        ("removed", difference.removed, before),
    ):
        for item in steps:
            words = {"step": describer.step(item.step.id), "place": describer.place(item.place)}
            yield DiffLine(kind, placed % words, item.step.id)
    for moved in difference.moved:
        step_id = moved.step.id
        words = {
            "step": after.step(step_id),
            "old": before.place(moved.old, moving=step_id),
            "new": after.place(moved.new, moving=step_id),
        }
        text = gettext("%(step)s: from “%(old)s” to “%(new)s”") % words
        yield DiffLine("moved", text, step_id)
    for changed in difference.changed:
        changes = tuple(_field_text(change, changed.new) for change in changed.changes)
        yield DiffLine("changed", after.step(changed.new.id), changed.new.id, changes)


def _field_text(change: FieldChange, step: Step | None) -> FieldText:
    """Return a change in words: of a value of a step's configuration, or of another value."""
    name = change.field.removeprefix("config.")
    if step is None or name == change.field:
        return FieldText(name.replace("_", " "), _shown(change.old), _shown(change.new))
    hidden = is_secret(step, name)
    old, new = (HIDDEN if hidden else _shown(value) for value in (change.old, change.new))
    return FieldText(field_label(step, name), old, new)


def is_secret(step: Step, name: str) -> bool:
    """Return whether a value of a step's configuration is never shown; unknown actions' all are."""
    action = known_action(step.action)
    return action is None or name in action.secret_fields


def field_label(step: Step, name: str) -> str:
    """Return the label of a field of a step's configuration, as its form shows it."""
    action = known_action(step.action)
    field = action.Config.base_fields.get(name) if action else None
    return str(field.label) if field and field.label else name.replace("_", " ")


def shown_config(step: Step) -> list[tuple[str, str]]:
    """Return the stored configuration of a step as labels and values, secrets hidden."""
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
        text = gettext("%(attempts)d attempts, first wait %(backoff)gs, factor %(factor)g")
        return text % asdict(value)
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
