"""The history of a run, made ready for printing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, TypeAlias

from django.utils.dateparse import parse_datetime

from flowcontrol import flows
from flowcontrol.flows import step_label
from flowcontrol.models import EventKind, RunEvent
from flowcontrol.redaction import redact_json
from flowcontrol_admin.run_texts import show_length
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.flows.descriptions import shown_value
from flowcontrol_core.flows.step_checks import is_loop

#: What the row of the failed call says as well.
_FAILURES = ("step_failed", "step_retried")
#: What took fewer seconds than this has no duration beside it.
LEAST_SHOWN = 0.001
#: Loops deeper inside of others than this have no row of their own: templates print them in turn.
MOST_NESTED = 8


class Waited(NamedTuple):
    """What a call waits for: a time, a trigger until a time-out, or another run (its UUID)."""

    until: datetime | None = None
    timeout: datetime | None = None
    trigger: str = ""
    child: str = ""


class Change(NamedTuple):
    """What a step did to one key of the state; an empty text stands for “was not there”."""

    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an action."""

    kind: ClassVar[str] = "call"
    step: str
    label: str
    at: datetime | None = None
    seconds: float = 0
    #: What the action answered, as it is stored.
    code: str = ""
    continued: bool = False
    entered: bool = False
    branch: str = ""
    method: str = ""
    attempt: int = 1
    changes: tuple[Change, ...] = ()
    messages: tuple[str, ...] = ()
    error: str = ""
    wait: Waited | None = None
    #: The event that tells how it failed: type, message and traceback.
    failure: RunEvent | None = None
    #: The UUIDs of the runs that it started, as far as the state names them.
    started: tuple[str, ...] = ()
    #: How many calls of the same step were left out before this one.
    skipped: int = 0
    #: Whether exactly one call before it was left out: not worth a row.
    is_after_one: bool = False

    @property
    def length(self) -> str:
        return show_length(self.seconds)

    @property
    def is_plain(self) -> bool:
        """Return whether nothing but that the run continues is to be said of it."""
        return self.continued and not (self.changes or self.messages or self.error)


@dataclass(frozen=True, slots=True)
class Gap:
    """Calls that were left out, where they would stand; ``label`` names their only step."""

    kind: ClassVar[str] = "gap"
    count: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened at a checkpoint: the run was suspended, ended, was canceled, and so on."""

    kind: ClassVar[str] = "event"
    event: RunEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The beginning of a pass of a loop; ``number`` is 0 where it is not known."""

    kind: ClassVar[str] = "pass"
    number: int
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """All passes of a loop, in one row."""

    kind: ClassVar[str] = "loop"
    step: str
    label: str
    at: datetime | None
    length: str
    passes: int
    failures: int
    #: Whether its beginning is not among the shown events, or not all of its passes are.
    is_cut: bool
    rows: tuple[Row, ...]


Row: TypeAlias = Call | Gap | Happened | Pass | Loop


def timeline(events: Iterable[RunEvent], document: Document | None) -> list[Row]:
    """Return the history as the run's page prints it; damaged parts are left out."""
    shown = document or Document()
    rows = [row for event in events for row in _rows(event, shown)]
    loops = {row.step: _loops_around(row.step, shown) for row in rows if isinstance(row, Call)}
    return [*_with_loops(rows, loops)]


def _rows(event: RunEvent, document: Document) -> Iterator[Call | Gap | Happened]:
    """Yield the rows of one checkpoint: its calls are numbered, so a gap shows where it is."""
    listed = event.steps if isinstance(event.steps, list) else []
    entries = [item for item in listed if isinstance(item, dict)]
    omitted = {
        str(item.get("step", "")): _number(item["omitted"]) for item in entries if "omitted" in item
    }
    calls = [item for item in entries if "omitted" not in item]
    seen: Counter[str] = Counter()
    last: Any = None
    failed = _failed_call(event, calls)
    for item in calls:
        number, step = item.get("number"), str(item.get("step", ""))
        is_numbered = isinstance(number, int) and isinstance(last, int)
        left_out = number - last - 1 if is_numbered else 0
        if left_out > 1:
            yield Gap(left_out)
        last, seen[step] = number, seen[step] + 1
        is_after = seen[step] == flows.bounds.HISTORY_FIRST_CALLS + 1
        call = _call(item, document)
        if item is failed:
            call = replace(call, failure=event)
        skipped = omitted.get(step, 0) if is_after else 0
        # That a step comes back from its branch tells nothing by itself.
        if not (call.is_plain and call.method) or skipped or left_out == 1:
            yield replace(call, skipped=skipped, is_after_one=left_out == 1)
    if last is None:
        yield from (Gap(count, _label(step, "", document)) for step, count in omitted.items())
    if failed is None and (event.kind != EventKind.STEPS or event.code):
        yield Happened(event)


def _failed_call(event: RunEvent, calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the call whose failure an event is about, and nothing else."""
    last = calls[-1] if calls and event.code in _FAILURES else None
    return last if last is not None and last.get("error") else None


def _loops_around(step: str, document: Document) -> tuple[Step, ...]:
    """Return the loops that a step is inside of, the outermost first; itself, where it is one."""
    visit = document.index.get(step)
    around = (each.step for each in visit.lineage) if visit else ()
    return tuple(each for each in around if is_loop(each, if_missing=False))[:MOST_NESTED]


_Loops: TypeAlias = Mapping[str, tuple[Step, ...]]


def _with_loops(rows: Iterable[Row], loops: _Loops, depth: int = 0) -> Iterator[Row]:
    """Yield the rows, with those of each loop as one; ``depth`` counts the loops around them."""
    loop: Step | None = None
    inside: list[Row] = []
    pending: list[Row] = []
    for row in rows:
        if not isinstance(row, Call):
            # It belongs to the loop if more of the loop follows.
            pending.append(row)
            continue
        around = loops[row.step]
        found = around[depth] if len(around) > depth else None
        begins = found is not None and row.step == found.id and not row.method
        if found is not loop or begins:
            yield from [_loop(loop, inside, loops, depth, pending)] if loop else inside
            yield from pending
            loop, inside = found, [row]
        else:
            inside += [*pending, row]
        pending = []
    yield from [_loop(loop, inside, loops, depth, pending)] if loop else inside
    yield from pending


def _loop(loop: Step, rows: list[Row], loops: _Loops, depth: int, after: list[Row]) -> Loop:
    """Return the row of a loop; ``after`` are the rows up to the next call."""
    calls = [row for row in rows if isinstance(row, Call)]
    first, last = calls[0], calls[-1]
    is_cut = first.step != loop.id or bool(first.method)
    own = [call for call in calls if call.step == loop.id]
    # How the calls that are not recorded are spread over several executions is not known.
    passes = sum(call.entered + (0 if depth else call.skipped) for call in own)
    if depth:
        is_cut = is_cut or any(isinstance(row, Gap) for row in [*rows, *after])
    ended = last.at + timedelta(seconds=last.seconds) if last.at else None
    return Loop(
        step=loop.id,
        label=step_label(loop),
        at=first.at,
        length=_length(first.at, ended),
        passes=passes,
        failures=sum(bool(call.error) for call in calls),
        is_cut=is_cut,
        rows=tuple(_with_passes(loop, _with_loops(rows, loops, depth + 1), not is_cut)),
    )


def _length(began: datetime | None, ended: datetime | None) -> str:
    seconds = (ended - began).total_seconds() if began and ended else 0
    return show_length(seconds) if seconds >= LEAST_SHOWN else ""


def _with_passes(loop: Step, rows: Iterable[Row], is_numbered: bool) -> Iterator[Row]:
    """Yield the rows of a loop, with the calls that begin a pass as such."""
    passes = 0
    for row in rows:
        if isinstance(row, Call) and row.step == loop.id:
            passes += row.skipped + row.entered
            if row.entered:
                yield Pass(number=passes if is_numbered else 0, call=row)
                continue
        yield row


def pretty(value: Any) -> str:
    """Write JSON for editing, with secrets hidden."""
    return json.dumps(redact_json(value), indent=2, ensure_ascii=False, default=str)


def _label(step: str, action: str, document: Document) -> str:
    return step_label(document.find(step) or Step(id=step, action=action)) or step


def _call(item: Mapping[str, Any], document: Document) -> Call:
    step, at, answer = str(item.get("step", "")), item.get("at"), str(item.get("answer", ""))
    return Call(
        step=step,
        label=_label(step, str(item.get("action", "")), document),
        at=_time(at),
        seconds=float(item.get("seconds") or 0),
        code=answer,
        continued=answer == "continue",
        entered=answer == "enter",
        branch=str(item.get("branch", "")),
        method=str(item.get("method", "")),
        attempt=_number(item.get("attempt", 1)),
        changes=tuple(_changes(item.get("changes"))),
        wait=_waited(item.get("wait")),
        started=tuple(_started(item)),
        messages=tuple(str(message) for message in item.get("messages", ())),
        error=str(item.get("error", "")),
    )


def _time(text: Any) -> datetime | None:
    try:
        return parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _waited(wait: Any) -> Waited | None:
    if not isinstance(wait, dict):
        return None
    return Waited(
        until=_time(wait.get("until")),
        timeout=_time(wait.get("timeout")),
        trigger=str(wait.get("trigger", "")),
        child=str(wait.get("child", "")),
    )


def _started(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the UUIDs of runs in what a call has written to the state."""
    changes = item.get("changes")
    for sides in changes.values() if isinstance(changes, dict) else ():
        after = sides[1] if isinstance(sides, list) and len(sides) > 1 else None
        value = after[0] if isinstance(after, list) and after else None
        if isinstance(value, dict) and isinstance(value.get("run"), str):
            yield value["run"]


def _changes(changes: Any) -> Iterator[Change]:
    for key, sides in changes.items() if isinstance(changes, dict) else ():
        if isinstance(sides, list) and len(sides) == len(("before", "after")):
            yield Change(key, *(_side(side) for side in sides))


def _side(side: Any) -> str:
    if not isinstance(side, list) or not side:
        return ""
    return shown_value(side[0])


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 1
