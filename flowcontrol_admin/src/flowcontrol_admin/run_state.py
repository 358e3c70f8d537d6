"""The state of a run as a table: each value as a person writes it, and which step changed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowcontrol.redaction import redact_json
from flowcontrol_admin.timeline import Call, Loop, Pass, Row
from flowcontrol_core.flows.descriptions import listed_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One key of the state; ``step`` changed it last, from ``before``."""

    key: str
    text: str
    #: Whether it takes more than one line.
    is_long: bool = False
    step: str = ""
    before: str = ""
    at: datetime | None = None


def values_of(
    state: Any, rows: Iterable[Row] = (), names: Mapping[str, str] | None = None
) -> list[Value]:
    """Return the keys of a state, or of a payload, with secrets hidden.

    ``names`` has what is shown instead of the UUIDs of runs.
    """
    shown = redact_json(state)
    if not isinstance(shown, Mapping):
        # It is damaged.
        return [Value(key="", text=listed_value(shown), is_long=True)]
    changed = {change.key: (call, change) for call in calls_in(rows) for change in call.changes}
    found = []
    for key, value in shown.items():
        text = named(listed_value(value), names or {})
        call, change = changed.get(key, (None, None))
        found.append(
            Value(
                key=key,
                text=text,
                is_long="\n" in text,
                step=call.label if call else "",
                before=named(change.before, names or {}) if change else "",
                at=call.at if call else None,
            )
        )
    return found


def named(text: str, names: Mapping[str, str]) -> str:
    """Return a text with names in the place of UUIDs."""
    for uuid, name in names.items():
        text = text.replace(uuid, name)
    return text


def calls_in(rows: Iterable[Row]) -> Iterator[Call]:
    """Yield the calls among rows, those in loops too."""
    for row in rows:
        match row:
            case Call():
                yield row
            case Pass(call=call):
                yield call
            case Loop(rows=inside):
                yield from calls_in(inside)
            case _:
                pass
