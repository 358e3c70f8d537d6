"""What happened between two checkpoints, kept small.

An entry a call, with times in UTC and durations in seconds. Of a step that is called again and
again, as in a loop, the first and the last passes are kept, and a count for the rest; calls with
effects and failures are kept all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from flowcontrol_core.engine.codec import encode
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.state import ABSENT, Change
from flowcontrol_core.redaction import redact_json

FIRST = 2
LAST = 2
MAX_KEPT = 500
#: Of more entries, the first and the last ones are shown.
MAX_ENTRIES = 1000
MAX_VALUE_LENGTH = 500


class Call(NamedTuple):
    """One call of an action (a tuple, because many are made)."""

    number: int
    step: str
    action: str
    method: str
    at: datetime
    seconds: float
    answer: str
    changes: Mapping[str, Change]
    attempt: int = 1
    messages: tuple[str, ...] = ()
    error: str = ""
    keep: bool = False
    #: The branch that was entered, and what the run waits for since.
    branch: str | None = None
    wait: Wait | None = None


class Recorder:
    """Collects the calls of a run until its next checkpoint."""

    __slots__ = ("_kept", "_omitted", "_passes")

    def __init__(self) -> None:
        self._passes: dict[str, list[Call]] = {}
        self._kept: list[Call] = []
        self._omitted: Counter[str] = Counter()

    def add(self, call: Call) -> None:
        """Note a call."""
        if call.keep and len(self._kept) < MAX_KEPT:
            self._kept.append(call)
            return
        passes = self._passes.setdefault(call.step, [])
        passes.append(call)
        if len(passes) > FIRST + LAST:
            del passes[FIRST]
            self._omitted[call.step] += 1

    def take(self) -> list[dict[str, Any]]:
        """Give the entries for the history row, oldest first, and forget them."""
        entries = self.entries()
        self.clear()
        return entries

    def clear(self) -> None:
        """Forget what was collected: it has been written."""
        self._passes, self._kept, self._omitted = {}, [], Counter()

    def entries(self) -> list[dict[str, Any]]:
        """Give the entries for the history row, oldest first, then the counts for the rest."""
        calls = [*self._kept, *chain.from_iterable(self._passes.values())]
        calls.sort(key=lambda call: call.number)
        omitted = self._omitted.copy()
        if len(calls) > MAX_ENTRIES:
            half = MAX_ENTRIES // 2
            omitted.update(call.step for call in calls[half:-half])
            calls = calls[:half] + calls[-half:]
        counts = [{"step": step, "omitted": count} for step, count in omitted.items()]
        return [_entry(call) for call in calls] + counts

    def snapshot(self) -> Any:
        """Remember what was collected, to be given to ``restore``."""
        return _copied(self._passes), list(self._kept), self._omitted.copy()

    def restore(self, snapshot: Any) -> None:
        """Go back to what was remembered: the calls after it were rolled back."""
        passes, kept, omitted = snapshot
        self._passes, self._kept, self._omitted = _copied(passes), list(kept), omitted.copy()

    def __bool__(self) -> bool:
        return bool(self._kept or self._passes)


def _copied(passes: Mapping[str, list[Call]]) -> dict[str, list[Call]]:
    """Copy what is collected; the calls themselves never change."""
    return {step: list(calls) for step, calls in passes.items()}


def _entry(call: Call) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "number": call.number,
        "step": call.step,
        "action": call.action,
        "at": call.at.isoformat(),
        "seconds": round(call.seconds, 6),
        "answer": str(call.answer),
    }
    if call.method != "run":
        entry["method"] = call.method
    if call.changes:
        entry["changes"] = {key: _change(key, change) for key, change in call.changes.items()}
    if call.attempt > 1:
        entry["attempt"] = call.attempt
    if call.messages:
        entry["messages"] = list(call.messages)
    if call.error:
        entry["error"] = call.error
    if call.branch:
        entry["branch"] = call.branch
    if call.wait is not None:
        entry["wait"] = _wait(call.wait)
    return entry


def _wait(wait: Wait) -> dict[str, str]:
    times = {"until": wait.until, "timeout": wait.timeout}
    shown = {name: moment.isoformat() for name, moment in times.items() if moment is not None}
    others = {"trigger": wait.trigger, "child": wait.child}
    return shown | {name: value for name, value in others.items() if value}


def _change(key: str, change: Change) -> list[Any]:
    """Give ``[before, after]``; a side that was not there is left out of its list."""
    return [[] if value is ABSENT else [_shown(key, value)] for value in change]


def _shown(key: str, value: Any) -> Any:
    encoded = redact_json(encode(value), key)
    if isinstance(encoded, str | list | dict):
        text = json.dumps(encoded, ensure_ascii=False)
        if len(text) > MAX_VALUE_LENGTH:
            return f"{text[:MAX_VALUE_LENGTH]}…"
    return encoded
