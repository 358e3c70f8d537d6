"""The history of a run, made ready for printing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from flowcontrol.redaction import redact_json
from flowcontrol_admin.run_words import answer, length
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.flows.edits import step_label
from flowcontrol_core.models import RunEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
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
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""

    @property
    def is_plain(self) -> bool:
        """Say whether it is nothing but a list of steps."""
        return self.event.kind == "steps" and not self.event.message


def entries(events: Iterable[RunEvent], document: Document | None) -> list[Entry]:
    """Give the history as the run's page prints it; damaged parts are left out."""
    steps = {visit.step.id: visit.step for visit in document.walk()} if document else {}
    return [_entry(event, steps) for event in events]


def pretty(value: Any) -> str:
    """Write JSON for reading, with secrets hidden."""
    return json.dumps(redact_json(value), indent=2, ensure_ascii=False, default=str)


def _entry(event: RunEvent, steps: Mapping[str, Step]) -> Entry:
    error: Mapping[str, Any] = event.error if isinstance(event.error, dict) else {}
    listed = event.steps if isinstance(event.steps, list) else []
    return Entry(
        event=event,
        calls=tuple(_call(item, steps) for item in listed if isinstance(item, dict)),
        error_type=str(error.get("type", "")),
        error_message=str(error.get("message", "")),
        traceback=str(error.get("traceback", "")),
    )


def _call(item: Mapping[str, Any], steps: Mapping[str, Step]) -> Call:
    step_id = str(item.get("step", ""))
    label = _label(step_id, str(item.get("action", "")), steps)
    if "omitted" in item:
        return Call(step=step_id, label=label, omitted=_number(item["omitted"]))
    changes = item.get("changes")
    return Call(
        step=step_id,
        label=label,
        at=_time(item.get("at")),
        length=length(float(item.get("seconds") or 0)),
        answer=answer(str(item.get("answer", ""))),
        method=str(item.get("method", "")),
        attempt=_number(item.get("attempt", 1)),
        changes=tuple(_changes(changes)) if isinstance(changes, dict) else (),
        messages=tuple(str(message) for message in item.get("messages", ())),
        error=str(item.get("error", "")),
    )


def _changes(changes: Mapping[str, Any]) -> Iterable[Change]:
    for key, sides in changes.items():
        if isinstance(sides, list) and len(sides) == len(("before", "after")):
            yield Change(key=key, before=_side(sides[0]), after=_side(sides[1]))


def _side(side: Any) -> str:
    if not isinstance(side, list) or not side:
        return ""
    return json.dumps(side[0], ensure_ascii=False, default=str)


def _label(step_id: str, action: str, steps: Mapping[str, Step]) -> str:
    step = steps.get(step_id)
    if step is not None:
        return step_label(step)
    if registry.knows_action(action):
        return step_label(Step(id=step_id, action=action))
    return action or step_id


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 1


def _time(value: Any) -> datetime | None:
    return parse_datetime(value) if isinstance(value, str) else None
