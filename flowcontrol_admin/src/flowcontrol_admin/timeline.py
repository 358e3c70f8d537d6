"""The history of a run, made ready for printing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from flowcontrol.flows import step_label
from flowcontrol.models import EventKind, RunEvent
from flowcontrol.redaction import redact_json
from flowcontrol_admin.run_texts import show_length
from flowcontrol_core.document.tree import Document, Step

#: What an action has answered; the history stores the keys.
_ANSWERS = {
    "continue": _("continue"),
    "enter": _("enter"),
    "leave": _("leave"),
    "break": _("break"),
    "abort": _("abort"),
    "suspend": _("suspend"),
    "suspend_and_repeat": _("suspend and repeat"),
    "failed": _("failed"),
}


class Change(NamedTuple):
    """What a step did to one key of the state; an empty text stands for “was not there”."""

    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an action, or a count of those that were left out."""

    step: str
    label: str
    at: datetime | None = None
    length: str = ""
    answer: str = ""
    method: str = ""
    attempt: int = 1
    changes: tuple[Change, ...] = ()
    messages: tuple[str, ...] = ()
    error: str = ""
    omitted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One history row: its calls, and what happened then."""

    event: RunEvent
    calls: tuple[Call, ...]

    @property
    def is_plain(self) -> bool:
        """Return whether it is nothing but a list of steps."""
        return self.event.kind == EventKind.STEPS and not self.event.message


def entries(events: Iterable[RunEvent], document: Document | None) -> list[Entry]:
    """Return the history as the run's page prints it; damaged parts are left out."""
    return [
        Entry(event=event, calls=tuple(_calls(event.steps, document or Document())))
        for event in events
    ]


def pretty(value: Any) -> str:
    """Write JSON for reading, with secrets hidden."""
    return json.dumps(redact_json(value), indent=2, ensure_ascii=False, default=str)


def _calls(listed: Any, document: Document) -> Iterator[Call]:
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict):
            yield _call(item, document)


def _call(item: Mapping[str, Any], document: Document) -> Call:
    step, at, answer = str(item.get("step", "")), item.get("at"), str(item.get("answer", ""))
    placed = document.find(step) or Step(id=step, action=str(item.get("action", "")))
    label = step_label(placed) or step
    if "omitted" in item:
        return Call(step=step, label=label, omitted=_number(item["omitted"]))
    return Call(
        step=step,
        label=label,
        at=parse_datetime(at) if isinstance(at, str) else None,
        length=show_length(float(item.get("seconds") or 0)),
        answer=str(_ANSWERS.get(answer, answer)),
        method=str(item.get("method", "")),
        attempt=_number(item.get("attempt", 1)),
        changes=tuple(_changes(item.get("changes"))),
        messages=tuple(str(message) for message in item.get("messages", ())),
        error=str(item.get("error", "")),
    )


def _changes(changes: Any) -> Iterator[Change]:
    for key, sides in changes.items() if isinstance(changes, dict) else ():
        if isinstance(sides, list) and len(sides) == len(("before", "after")):
            yield Change(key, *(_side(side) for side in sides))


def _side(side: Any) -> str:
    if not isinstance(side, list) or not side:
        return ""
    return json.dumps(side[0], ensure_ascii=False, default=str)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 1
