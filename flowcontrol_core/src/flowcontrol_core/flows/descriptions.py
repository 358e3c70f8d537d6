"""Documents in words: steps by number, places, summaries and differences."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.core.validators import EMPTY_VALUES
from django.forms import Field
from django.utils.choices import flatten_choices
from django.utils.formats import date_format
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext

from flowcontrol_core.document.diff import (
    ABSENT,
    ChangedStep,
    Diff,
    FieldChange,
    config_changes,
    diff,
)
from flowcontrol_core.document.format import STEP_KEYS
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.errors import FlowcontrolError, raise_interruption
from flowcontrol_core.flows.config_forms import (
    known_action,
    label_of_field,
    meant_config,
    shown_choices,
)
from flowcontrol_core.flows.edits import branch_label, step_label
from flowcontrol_core.redaction import HIDDEN, redact

logger = logging.getLogger(__name__)
MAX_SHOWN = 300
#: How much of what two long texts share is shown before the first difference.
MAX_BEFORE = 40


class Describer:
    """Names the steps and places of one document in words."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def step(self, step_id: str) -> str:
        """Return the name of a step: its number and its action."""
        visit = self.document.index.get(step_id)
        if visit is None:
            return step_id
        named = {"number": visit.number, "step": step_label(visit.step)}
        return gettext("%(number)s “%(step)s”") % named

    def place(self, place: Place, *, moving: str | None = None) -> str:
        """Return where a place is; its index does not count the step ``moving``."""
        if place.parent is None:
            where, siblings = gettext("Top level"), self.document.steps
        else:
            parent, branch = self.document.find(place.parent), place.branch or ""
            label = branch_label(parent, branch) if parent else branch
            words = {"branch": label, "step": self.step(place.parent)}
            where = gettext("In “%(branch)s” of %(step)s") % words
            siblings = parent.branches.get(branch, ()) if parent else ()
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
        real = _real_changes(changed, before.document, after.document)
        if changes := tuple(_field_text(change, changed.new) for change in real):
            yield DiffLine("changed", after.step(changed.new.id), changed.new.id, changes)


def _real_changes(changed: ChangedStep, before: Document, after: Document) -> list[FieldChange]:
    """Return what of a step means something else now, and is not only stored in another way."""
    old, new = _meaning(changed.old, before), _meaning(changed.new, after)
    changes: Iterable[FieldChange] = changed.changes
    if old is not None and new is not None:
        # The values are those of the present version of the action.
        own = {*STEP_KEYS} - {"config_version"}
        changes = [each for each in changes if each.field in own] + [*config_changes(old, new)]
    return [change for change in changes if not _is_nothing(change, changed.new)]


def _meaning(step: Step, document: Document) -> dict[str, Any] | None:
    """Return the configuration of a step as its form understands it; None where it cannot."""
    action = known_action(step.action)
    try:
        return meant_config(step, action, document) if action else None
    except FlowcontrolError:
        return None
    except BaseException as error:
        raise_interruption(error)
        logger.exception("The form of the action %s failed.", step.action)
        return None


def _is_nothing(change: FieldChange, step: Step) -> bool:
    """Return whether both values are empty ones, which the form of the step takes for the same."""
    if known_action(step.action) is None:
        return False
    field = _field(step, change.field.removeprefix("config."))
    empty = field.empty_values if field else EMPTY_VALUES
    return all(value is ABSENT or value in empty for value in (change.old, change.new))


def _field(step: Step, name: str) -> Field | None:
    action = known_action(step.action)
    return action.Config.base_fields.get(name) if action else None


def _field_text(change: FieldChange, step: Step | None) -> FieldText:
    """Return a change in words: of a value of a step's configuration, or of another value."""
    name = change.field.removeprefix("config.")
    if step is None or name == change.field:
        old, new = _show(_decoded(change.old)), _show(_decoded(change.new))
        return FieldText(name.replace("_", " "), *_shortened(old, new))
    old, new = (_shown_field(step, name, value) for value in (change.old, change.new))
    return FieldText(field_label(step, name), *_shortened(old, new))


def _shortened(old: str, new: str) -> tuple[str, str]:
    """Return two texts from where they differ on, with a little of what stands before."""
    if max(len(old), len(new)) <= MAX_SHOWN:
        return old, new
    pairs = enumerate(zip(old, new, strict=False))
    shared = next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))
    start = max(0, shared - MAX_BEFORE)
    return _cut(old, start), _cut(new, start)


def _cut(text: str, start: int = 0) -> str:
    end = start + MAX_SHOWN
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")


def _shown_field(step: Step, name: str, value: Any) -> str:
    """Return a value of a step's configuration as its form shows it; secrets hidden."""
    if is_secret(step, name):
        return HIDDEN
    value = _decoded(value)
    choices = getattr(_field(step, name), "choices", None)
    # Others are made anew by a function each time, perhaps with a query.
    shown = shown_choices(choices) if isinstance(choices, list) else []
    labels: dict[Any, Any] = dict(flatten_choices(shown))
    if isinstance(value, list):
        return _show([_label(labels, item) for item in value])
    return _show(_label(labels, value))


def _label(labels: Mapping[Any, Any], value: Any) -> Any:
    return labels.get(value, value) if isinstance(value, Hashable) else value


def is_secret(step: Step, name: str) -> bool:
    """Return whether a value of a step's configuration is never shown; unknown actions' all are."""
    action = known_action(step.action)
    return action is None or name in action.secret_fields


def field_label(step: Step, name: str) -> str:
    """Return the label of a field of a step's configuration, as its form shows it."""
    return label_of_field(step.action, name)


def shown_config(step: Step) -> list[tuple[str, str]]:
    """Return the stored configuration of a step as labels and values, secrets hidden."""
    return [
        (field_label(step, name), _cut(_shown_field(step, name, value)))
        for name, value in step.config.items()
    ]


def shown_value(value: Any) -> str:
    """Return a stored value as a person writes it, shortened where it is long."""
    return _cut(_show(_decoded(value)))


def shown_plain(value: Any) -> str:
    """Return a plain value as a person writes it, without secrets, shortened where it is long."""
    return _cut(redact(_show(value)))


def listed_value(value: Any) -> str:
    """Return a stored value as a person writes it, an item a line."""
    return "\n".join(_lines(_decoded(value)))


def _decoded(value: Any) -> Any:
    try:
        return decode(value)
    except FlowcontrolError:
        # It is damaged: shown as it stands.
        return str(value)


def _lines(value: Any) -> Iterator[str]:
    if not value or not isinstance(value, list | dict):
        yield _show(value)
        return
    items = value.items() if isinstance(value, dict) else (("", item) for item in value)
    for name, item in items:
        head = f"{name}:" if isinstance(value, dict) else "-"
        lines = [*_lines(item)]
        if item and isinstance(item, list | dict):
            yield head
            yield from (f"    {line}" for line in lines)
        else:
            yield f"{head} {lines[0]}"


def _show(value: Any) -> str:
    if value is ABSENT or value in (None, "", [], {}):
        return gettext("(empty)")
    write = next((write for kind, write in _WRITERS if isinstance(value, kind)), str)
    return write(value)


def _nested(value: Any) -> str:
    text = _show(value)
    return f"({text})" if value and isinstance(value, Mapping | list) else text


def _show_policy(policy: RetryPolicy) -> str:
    text = gettext("%(attempts)d attempts, first wait %(backoff)gs, factor %(factor)g")
    return text % asdict(policy)


def _show_datetime(value: datetime) -> str:
    return date_format(localtime(value) if is_aware(value) else value, "DATETIME_FORMAT")


# The first that fits counts: a datetime is a date too.
_WRITERS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (bool, lambda value: gettext("yes") if value else gettext("no")),
    (datetime, _show_datetime),
    (date, lambda value: date_format(value, "DATE_FORMAT")),
    (Decimal, lambda value: format(value, "f")),
    (Mapping, lambda value: "; ".join(f"{name}: {_nested(value[name])}" for name in value)),
    (list, lambda value: ", ".join(map(_nested, value))),
    (RetryPolicy, _show_policy),
)
