"""What happened between two checkpoints, in few entries.

One entry a call, with times in UTC and durations in seconds. Of a step that is called again and
again, as in a loop, the first and the last calls are recorded, and a count for the rest; of calls
with effects and failures, all are recorded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import chain, starmap
from operator import attrgetter
from typing import Any, NamedTuple

from flowcontrol_core import bounds
from flowcontrol_core.engine.codec import encode
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.state import NO_VALUE, Change
from flowcontrol_core.redaction import HIDDEN, is_secret, redact_json


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
        """Record a call."""
        if call.keep and len(self._kept) < bounds.HISTORY_KEPT_CALLS:
            self._kept.append(call)
            return
        passes = self._passes.setdefault(call.step, [])
        passes.append(call)
        # One more than is shown: a single one is not worth a count in its place.
        if len(passes) > bounds.HISTORY_FIRST_CALLS + bounds.HISTORY_LAST_CALLS + 1:
            del passes[bounds.HISTORY_FIRST_CALLS]
            self._omitted[call.step] += 1

    def take(self) -> list[dict[str, Any]]:
        """Return the entries for the history row, oldest first, and forget them."""
        entries = self.entries()
        self.clear()
        return entries

    def clear(self) -> None:
        """Forget what was recorded: it has been written."""
        self._passes, self._kept, self._omitted = {}, [], Counter()

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries for the history row, oldest first, then the counts for the rest."""
        omitted = self._omitted.copy()
        passes = _copied(self._passes) if omitted else self._passes
        for step in omitted:
            del passes[step][bounds.HISTORY_FIRST_CALLS]
            omitted[step] += 1
        calls = [*self._kept, *chain.from_iterable(passes.values())]
        calls.sort(key=attrgetter("number"))
        if len(calls) > bounds.HISTORY_ENTRIES:
            half = bounds.HISTORY_ENTRIES // 2
            omitted.update(call.step for call in calls[half:-half])
            calls = calls[:half] + calls[-half:]
        return [*map(entry_of, calls), *starmap(_omitted_entry, omitted.items())]

    def snapshot(self) -> Any:
        """Return what was recorded, for ``restore``."""
        return _copied(self._passes), list(self._kept), self._omitted.copy()

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot: the calls after it were rolled back."""
        passes, kept, omitted = snapshot
        self._passes, self._kept, self._omitted = _copied(passes), list(kept), omitted.copy()

    def __bool__(self) -> bool:
        return bool(self._kept or self._passes)


def _copied(passes: Mapping[str, list[Call]]) -> dict[str, list[Call]]:
    """Copy what was recorded; the calls themselves never change."""
    return {step: list(calls) for step, calls in passes.items()}


def entry_of(call: Call) -> dict[str, Any]:
    """Return a call as the history shows it: JSON, bounded and redacted."""
    always = {
        "number": call.number,
        "step": call.step,
        "action": call.action,
        "at": call.at.isoformat(),
        "seconds": round(call.seconds, 6),
        "answer": str(call.answer),
    }
    notable: dict[str, Any] = {
        "method": call.method if call.method != "run" else None,
        # A side that was not there is an empty list.
        "changes": {
            key: [_shown(key, before), _shown(key, after)]
            for key, (before, after) in call.changes.items()
        },
        "attempt": call.attempt if call.attempt > 1 else None,
        "messages": list(call.messages),
        "error": call.error,
        "branch": call.branch,
        "wait": None if call.wait is None else _wait(call.wait),
    }
    return always | {name: value for name, value in notable.items() if value}


def _omitted_entry(step: str, count: int) -> dict[str, Any]:
    return {"step": step, "omitted": count}


def _wait(wait: Wait) -> dict[str, str]:
    times = {"until": wait.until, "timeout": wait.timeout}
    shown = {name: time.isoformat() for name, time in times.items() if time is not None}
    others = {"trigger": wait.trigger, "child": wait.child}
    return shown | {name: value for name, value in others.items() if value}


def _shown(key: str, value: Any) -> list[Any]:
    """Return a list of a value as the history shows it; empty where there is none."""
    if value is NO_VALUE:
        return []
    if is_secret(key):
        return [HIDDEN]
    encoded = encode(value)
    if not isinstance(encoded, str | list | dict):
        return [encoded]
    encoded = redact_json(encoded)
    text = json.dumps(encoded, ensure_ascii=False)
    is_long = len(text) > bounds.HISTORY_VALUE_CHARACTERS
    return [f"{text[: bounds.HISTORY_VALUE_CHARACTERS]}…" if is_long else encoded]
