"""The history of a run as a track, in the words of its flow.

What is past is folded, what the run is at is framed, and what follows in the flow is dashed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, TypeAlias

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.flows import branch_label, describe_step, step_label
from flowcontrol.models import EventKind, FlowRun, RunEvent, Status
from flowcontrol.registry import registry
from flowcontrol_admin.pictures import Picture, ends, picture_of
from flowcontrol_admin.run_state import named
from flowcontrol_admin.run_texts import label_in, show_brief, show_length, show_span
from flowcontrol_admin.timeline import LEAST_SHOWN, Call, Change, Gap, Happened, Loop, Pass, Row
from flowcontrol_core.document.tree import Document, Step, Visit

#: This many of the steps that follow have a row each, the rest are named in one.
MOST_NEXT = 4
#: This many steps in a row are folded into one line, and at most this many are named there.
LEAST_FOLDED, MOST_NAMED = 2, 4
#: What says nothing that the rows of the steps do not say.
_QUIET = frozenset({"", "yielded"})
EVENT_ICONS = {"paused": "pause", "resumed": "play", "skipped": "skip", "canceled": "cross"}


@dataclass(frozen=True, slots=True)
class Child:
    """A run that the run started; ``object`` is its text, hidden from some users."""

    run: FlowRun
    object: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a step."""

    call: Call
    #: Such as “1 of 3”.
    number: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the track.

    ``kind`` is ``step``, ``fold``, ``loop``, ``pass``, ``gap``, ``event``, ``start``, ``end``,
    ``next`` or ``more``; ``status`` is one of the marks of the diagram; ``key`` names the row, and
    stays as it is from one answer to the next.
    """

    kind: str
    key: str = ""
    icon: str = ""
    picture: Picture | None = None
    status: str = ""
    label: str = ""
    text: str = ""
    strong: str = ""
    at: datetime | None = None
    length: str = ""
    #: How many seconds of how many it has waited, where the end is known.
    waited: tuple[int, int] | None = None
    is_now: bool = False
    is_open: bool = False
    attempts: tuple[Attempt, ...] = ()
    children: tuple[Child, ...] = ()
    event: RunEvent | None = None
    lines: tuple[Line, ...] = ()

    @property
    def is_repeated(self) -> bool:
        """Return whether its attempts are worth rows of their own."""
        return any(attempt.number for attempt in self.attempts)

    @property
    def is_foldable(self) -> bool:
        """Return whether it is a finished step of which nothing special is to be said."""
        is_plain = self.kind == "step" and self.status == "done"
        return is_plain and not (self.is_now or self.strong or self.text or self.children)


class _Group(NamedTuple):
    """All attempts of one execution of a step."""

    attempts: tuple[Attempt, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(attempt.call for attempt in self.attempts)


_Item: TypeAlias = _Group | Gap | Happened | Pass | Loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Makes the rows of one run."""

    run: FlowRun
    document: Document
    now: datetime
    #: The step that the run is at; empty where it is at none.
    present: str = ""
    children: Mapping[str, Child]
    is_first_page: bool = True
    is_last_page: bool = True

    def lines(self, rows: Iterable[Row]) -> list[Line]:
        """Return all rows of the track, the earliest first."""
        shown = self._lines(list(rows), is_last=self.is_last_page)
        lines = [*self._start(), *folded(shown)]
        if self.is_last_page:
            lines += [*self._present(lines), *self._following(), *self._end()]
        return [*_with_keys(lines, Counter())]

    def _lines(self, rows: list[Row], *, is_last: bool) -> list[Line]:
        """Return the rows of one level; ``is_last`` says that the present may be among them."""
        items = [*_grouped(rows)]
        begins = [_begin(item) for item in items]
        last = len(items) - 1
        return [
            line
            for number, item in enumerate(items)
            for line in self._line(
                item,
                begins[number + 1] if number < last else None,
                is_last=is_last and number == last,
            )
        ]

    def _line(self, item: _Item, end: datetime | None, *, is_last: bool) -> Iterator[Line]:
        match item:
            case _Group():
                yield self._step(item, end, is_last=is_last)
            case Loop():
                yield self._loop(item, is_last=is_last)
            case Pass():
                yield Line(kind="pass", label=_pass_label(item), attempts=(Attempt(item.call),))
            case Gap():
                yield Line(kind="gap", label=item.label, text=_gap_text(item))
            case Happened():
                yield self._event(item.event)

    def _step(self, group: _Group, end: datetime | None, *, is_last: bool) -> Line:
        first, last = group.calls[0], group.calls[-1]
        step = self._find(first.step)
        is_now = is_last and first.step == self.present
        line = Line(
            kind="step",
            key=first.step,
            picture=picture_of(step),
            status=self._status(last, is_now=is_now),
            label=first.label,
            text=_text(group, self.run, is_now=is_now),
            strong=_taken(step, last),
            at=first.at,
            is_now=is_now,
            waited=self._waited(first.at) if is_now else None,
            attempts=tuple(_numbered(self._with_changes(group.attempts), step)),
            children=tuple(self._children(group)),
        )
        is_going = is_now and self.run.is_live
        return replace(line, length=_length(group, end, self.now if is_going else None))

    def _waited(self, began: datetime | None) -> tuple[int, int] | None:
        end = self.run.wait_until or self.run.wait_timeout
        if began is None or end is None or self.run.status != Status.WAITING:
            return None
        whole = (end - began).total_seconds()
        passed = min(max((self.now - began).total_seconds(), 0), whole)
        return (int(passed), int(whole)) if whole > 0 else None

    def _status(self, last: Call, *, is_now: bool) -> str:
        if last.error:
            return "failed"
        waits = {Status.WAITING, Status.PAUSED, Status.PENDING, Status.BLOCKED}
        if not is_now:
            return "done"
        return "waiting" if self.run.status in waits else "current"

    def _loop(self, loop: Loop, *, is_last: bool) -> Line:
        inside = self._lines(list(loop.rows), is_last=is_last)
        is_now = any(map(_has_present, inside))
        failed = any(line.status == "failed" for line in _all(inside))
        status = ("failed" if failed and is_now else "current") if is_now else "done"
        return Line(
            kind="loop",
            key=loop.step,
            picture=picture_of(self._find(loop.step)),
            status="failed" if loop.failures and not self.run.is_live else status,
            label=loop.label,
            text=_passes(loop),
            at=loop.at,
            length=self._length(loop.at) if is_now and self.run.is_live else loop.length,
            is_open=is_now or bool(loop.failures),
            lines=tuple(_by_pass(inside)),
        )

    def _length(self, began: datetime | None) -> str:
        return show_span((self.now - began).total_seconds()) if began else ""

    def _event(self, event: RunEvent) -> Line:
        text = event_text(event, self.document) or event.get_kind_display()
        is_bad = event.kind in (EventKind.FAILED, EventKind.BLOCKED)
        icon = EVENT_ICONS.get(event.code, "person" if event.actor else "document")
        return Line(
            kind="event",
            key=f"event-{event.pk}",
            icon="warning" if is_bad else icon,
            status="failed" if is_bad else "skipped",
            text=text,
            at=event.at,
            event=event,
        )

    def _with_changes(self, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        """Return attempts with all changes at the last one: from how it was to how it became."""
        names = {uuid: str(child.run) for uuid, child in self.children.items()}
        found: dict[str, Change] = {}
        for change in (change for attempt in attempts for change in attempt.call.changes):
            first = found.get(change.key, change)
            shown = Change(change.key, first.before, named(change.after, names))
            found[change.key] = shown
        *others, last = [replace(each, call=replace(each.call, changes=())) for each in attempts]
        return (*others, replace(last, call=replace(last.call, changes=tuple(found.values()))))

    def _children(self, group: _Group) -> Iterator[Child]:
        names = [call.wait.child for call in group.calls if call.wait and call.wait.child]
        names += [name for call in group.calls for name in call.started]
        yield from (self.children[name] for name in dict.fromkeys(names) if name in self.children)

    def _start(self) -> Iterator[Line]:
        if not self.is_first_page:
            return
        trigger = registry.trigger_label(self.run.trigger) if self.run.trigger else ""
        label = _("Started by") if trigger else _("Created")
        yield Line(kind="start", icon="play", label=label, strong=trigger, at=self.run.created_at)

    def _present(self, lines: list[Line]) -> Iterator[Line]:
        """Yield the step that the run is at, where no call of it is among the rows."""
        step = self.document.find(self.present)
        if step is None or any(map(_has_present, lines)):
            return
        is_failed = self.run.status in (Status.DONE, Status.BLOCKED)
        is_running = self.run.status == Status.RUNNING
        yield Line(
            kind="step",
            key=f"now-{step.id}",
            picture=picture_of(step),
            status="failed" if is_failed else "current" if is_running else "waiting",
            label=step_label(step),
            text=describe_step(step, self.document).rest,
            is_now=True,
            at=self.run.since,
            length=show_span((self.now - self.run.since).total_seconds()),
        )

    def _following(self) -> Iterator[Line]:
        """Yield the steps that follow in the flow."""
        following = next_steps(self.document, self.present) if self._may_go_on() else []
        for step in following[:MOST_NEXT]:
            picture = picture_of(step)
            said, key = describe_step(step, self.document), f"next-{step.id}"
            yield Line(kind="next", key=key, picture=picture, label=said.head, text=said.rest)
        if rest := following[MOST_NEXT:]:
            names = [*dict.fromkeys(step_label(step) for step in rest)][:MOST_NAMED]
            more = ngettext("Then %(count)d more step:", "Then %(count)d more steps:", len(rest))
            shown = ", ".join(names) + (" …" if len(rest) > len(names) else "")
            label = more % {"count": len(rest)}
            yield Line(kind="more", key="more", icon="more", label=label, text=shown)

    def _may_go_on(self) -> bool:
        return self.run.is_live or bool(self.present)

    def _end(self) -> Iterator[Line]:
        if self.run.is_live or self.present:
            return
        began = self.run.started_at or self.run.created_at
        ended = self.run.finished_at
        yield Line(
            kind="end",
            icon="flag",
            label=_("Ended: %(outcome)s") % {"outcome": self.run.get_outcome_display()},
            at=ended,
            length=show_length((ended - began).total_seconds()) if ended else "",
        )

    def _find(self, step_id: str) -> Step:
        return self.document.find(step_id) or Step(id=step_id, action="")


def event_text(event: RunEvent, document: Document) -> str:
    """Return what happened, with the labels of steps."""
    return event.explanation.describe(label_in(document))


def folded(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield rows with those finished steps in one line of which nothing special is to be said."""
    for is_foldable, group in groupby(lines, lambda line: line.is_foldable):
        found = [*group]
        if is_foldable and len(found) >= LEAST_FOLDED:
            yield _fold(found)
        else:
            yield from found


def next_steps(document: Document, step_id: str) -> list[Step]:
    """Return the steps after one, as far as the flow leads to them whatever happens."""
    visit = document.index.get(step_id)
    steps = () if visit or step_id else document.steps
    following = [step for step in steps if not step.disabled]
    while visit is not None:
        following += siblings_after(document, visit)
        visit = visit.around
    last = (number for number, step in enumerate(following) if ends(step))
    return following[: next(last, len(following)) + 1]


def siblings_after(document: Document, visit: Visit) -> tuple[Step, ...]:
    """Return the steps after one in its list, without those that are switched off."""
    around, branch = visit.around, visit.branch or ""
    siblings = around.step.branches[branch] if around else document.steps
    return tuple(step for step in siblings[visit.position + 1 :] if not step.disabled)


def _grouped(rows: Iterable[Row]) -> Iterator[_Item]:
    """Yield rows with all attempts of a step as one."""
    group: list[Attempt] = []
    for row in rows:
        if isinstance(row, Happened) and _is_quiet(row.event, group):
            continue
        if isinstance(row, Call) and group and _is_again(group[-1].call, row):
            group.append(Attempt(row))
        else:
            yield from [_Group(tuple(group))] if group else []
            group = [Attempt(row)] if isinstance(row, Call) else []
            if not isinstance(row, Call):
                yield row
    yield from [_Group(tuple(group))] if group else []


def _is_quiet(event: RunEvent, group: list[Attempt]) -> bool:
    """Return whether an event tells nothing that the row of the step before does not tell."""
    has_stopped = bool(group) and group[-1].call.code == "abort"
    is_told = event.code in _QUIET or (event.code == "aborted" and has_stopped)
    return is_told and not (event.actor or event.error)


def _is_again(before: Call, call: Call) -> bool:
    """Return whether a call continues what the one before began."""
    is_open = bool(before.error) or before.code == "suspend_and_repeat"
    return is_open and before.step == call.step


def _begin(item: _Item) -> datetime | None:
    match item:
        case _Group():
            return item.calls[0].at
        case Happened():
            at: datetime = item.event.at
            return at
        case Pass():
            return item.call.at
        case Loop():
            return item.at
    return None


def _length(group: _Group, end: datetime | None, now: datetime | None) -> str:
    """Return how long a step took, what it waited included."""
    calls = group.calls
    has_waited = any(call.wait for call in calls) or len(calls) > 1
    first, last = calls[0], calls[-1]
    if not has_waited or first.at is None or last.at is None:
        seconds = sum(call.seconds for call in calls)
        return show_length(seconds) if seconds >= LEAST_SHOWN else ""
    until = now or (end if last.wait else None) or last.at
    seconds = max((until - first.at).total_seconds(), 0)
    return show_span(seconds) if seconds >= LEAST_SHOWN else ""


def _numbered(attempts: tuple[Attempt, ...], step: Step) -> Iterator[Attempt]:
    """Yield attempts with their numbers, where one of them failed."""
    failures = sum(bool(attempt.call.error) for attempt in attempts)
    if not failures or (len(attempts) == 1 and attempts[0].call.attempt == 1):
        yield from attempts
        return
    most = max([step.retry.attempts if step.retry else 1, *(a.call.attempt for a in attempts)])
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        words = {"number": attempt.call.attempt, "most": most}
        number = _("%(number)d of %(most)d") % words
        yield replace(attempt, number=number, text=_after(attempt.call, following))


def _after(call: Call, following: Attempt | None) -> str:
    """Return what came after a failed attempt."""
    if not call.error or following is None or not (call.at and following.call.at):
        return ""
    length = show_length((following.call.at - call.at).total_seconds())
    return _("then waited %(length)s") % {"length": length}


def _taken(step: Step, call: Call) -> str:
    """Return the label of the branch that a step took."""
    if not (call.entered and call.branch):
        return ""
    return branch_label(step, call.branch)


def _text(group: _Group, run: FlowRun, *, is_now: bool) -> str:
    """Return what a step waited for, or that it failed."""
    last = group.calls[-1]
    if last.error:
        return _("failed")
    wait = next((call.wait for call in reversed(group.calls) if call.wait), None)
    if wait is None:
        return _plain_text(last)
    if wait.trigger:
        trigger = registry.trigger_label(wait.trigger)
        text = _("waits for “%(trigger)s”") if is_now else _("waited for “%(trigger)s”")
        return text % {"trigger": trigger}
    if wait.child:
        return _("waits for the run it started") if is_now else _("waited for the run it started")
    until = run.wait_until if is_now and run.wait_until else wait.until
    if until is None:
        return _("waits") if is_now else _("waited")
    text = _("waits until %(time)s") if is_now else _("waited until %(time)s")
    return text % {"time": show_brief(until)}


def _plain_text(call: Call) -> str:
    if call.code == "abort":
        return _("stopped the flow")
    return _("came back from its branch") if call.method and call.continued else ""


def _passes(loop: Loop) -> str:
    words = {"count": f"{loop.passes:,}"}
    if loop.is_cut:
        text = ngettext("%(count)s recorded pass", "%(count)s recorded passes", loop.passes)
    else:
        text = ngettext("%(count)s pass", "%(count)s passes", loop.passes)
    return text % words


def _pass_label(row: Pass) -> str:
    return _("Pass %(number)s") % {"number": f"{row.number:,}"} if row.number else _("Next pass")


def _gap_text(gap: Gap) -> str:
    words = {"count": f"{gap.count:,}", "label": gap.label}
    if gap.label:
        text = ngettext(
            "“%(label)s”: %(count)s more call is not shown.",
            "“%(label)s”: %(count)s more calls are not shown.",
            gap.count,
        )
    else:
        text = ngettext("%(count)s call is not shown.", "%(count)s calls are not shown.", gap.count)
    return text % words


def _by_pass(lines: list[Line]) -> Iterator[Line]:
    """Yield the rows of a loop with those of each pass inside it."""
    present: Line | None = None
    inside: list[Line] = []
    for line in lines:
        if line.kind != "pass":
            inside.append(line)
            continue
        yield from _pass(present, inside)
        present, inside = line, []
    yield from _pass(present, inside)


def _pass(line: Line | None, inside: list[Line]) -> Iterator[Line]:
    # What lies between two passes that are shown belongs to neither.
    tail = [*inside]
    gaps: list[Line] = []
    while tail and tail[-1].kind == "gap":
        gaps.insert(0, tail.pop())
    if line is None:
        yield from folded(tail)
    else:
        yield replace(line, lines=tuple(folded(tail)))
    yield from gaps


def _fold(lines: list[Line]) -> Line:
    text = ngettext("%(count)d step done", "%(count)d steps done", len(lines))
    names = [*dict.fromkeys(line.label for line in lines)]
    shown = ", ".join(names[:MOST_NAMED]) + (" …" if len(names) > MOST_NAMED else "")
    return Line(
        kind="fold",
        key=f"fold-{lines[0].key}",
        icon="check",
        status="done",
        label=text % {"count": len(lines)},
        text=shown,
        at=lines[0].at,
        lines=tuple(lines),
    )


def _all(lines: Iterable[Line]) -> Iterator[Line]:
    for line in lines:
        yield line
        yield from _all(line.lines)


def _has_present(line: Line) -> bool:
    return any(each.is_now for each in _all([line]))


def _with_keys(lines: Iterable[Line], seen: Counter[str]) -> Iterator[Line]:
    """Yield rows whose keys are all different: each is counted among those of its step."""
    for line in lines:
        seen[line.key or line.kind] += 1
        key = f"{line.key or line.kind}-{seen[line.key or line.kind]}"
        yield replace(line, key=key, lines=tuple(_with_keys(line.lines, seen)))
