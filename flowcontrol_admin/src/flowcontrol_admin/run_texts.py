"""A run in sentences: what it is doing, since when, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.flows import step_label, step_of
from flowcontrol.models import FlowRun, Outcome, Status
from flowcontrol.registry import registry
from flowcontrol_core.document.tree import Step

#: Days, hours and minutes as they are written after a number.
_UNITS = ((_("d"), 86_400), (_("h"), 3_600), (_("min"), 60))
#: What a run is doing: at a step, and where there is none.
_HEADLINES = {
    Status.PENDING: (_("Waiting to start since %(since)s."), _("Created on %(since)s.")),
    Status.RUNNING: (_("Running “%(step)s” since %(since)s."), _("Running since %(since)s.")),
    Status.WAITING: (_("Waiting at “%(step)s” since %(since)s."), _("Waiting since %(since)s.")),
    Status.PAUSED: (_("Paused at “%(step)s” since %(since)s."), _("Paused since %(since)s.")),
    Status.BLOCKED: (_("Blocked at “%(step)s” since %(since)s."), _("Blocked since %(since)s.")),
    Status.DONE: (
        _("Ended as %(outcome)s on %(since)s, at “%(step)s”."),
        _("Ended as %(outcome)s on %(since)s."),
    ),
}


def show_datetime(when: datetime | None) -> str:
    """Write a time in the zone and language of the reader."""
    if when is None:
        return ""
    local = timezone.localtime(when)
    # Without “a.m.”, so that it may stand before the full stop of a sentence.
    return f"{date_format(local, 'DATE_FORMAT')} {local:%H:%M:%S}"


def show_short(when: datetime | None) -> str:
    """Write a time for the column of a list."""
    return date_format(timezone.localtime(when), "SHORT_DATETIME_FORMAT") if when else "-"


def show_length(seconds: float) -> str:
    """Write a duration with its two largest units."""
    if seconds < 1:
        return gettext("%(ms)d ms") % {"ms": round(seconds * 1000)}
    parts = []
    for name, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{int(count)} {name}")
    if seconds and len(parts) < len(("first", "second")):
        parts.append(f"{seconds:.0f} s" if parts else f"{seconds:.3g} s")
    return " ".join(parts[:2]) or "0 s"


def duration(run: FlowRun, now: datetime) -> str:
    """Return how long a run has taken, from its first step on."""
    if run.started_at is None:
        return ""
    return show_length(((run.finished_at or now) - run.started_at).total_seconds())


def where(run: FlowRun, step: Step | None) -> str:
    """Return the name of the step that a run is at."""
    return step_label(step) if step is not None else step_of(run)


def headline(run: FlowRun, step: Step | None) -> str:
    """Return in one sentence what a run is doing, where, and since when."""
    name = "" if run.outcome == Outcome.COMPLETE else where(run, step)
    at_step, elsewhere = _HEADLINES[Status(run.status)]
    outcome, since = run.get_outcome_display(), show_datetime(run.since)
    return str(at_step if name else elsewhere) % {"step": name, "since": since, "outcome": outcome}


def what_next(run: FlowRun) -> list[str]:
    """Return what the run waits for, and when a worker checks it again."""
    if run.status == Status.DONE:
        return []
    if run.status == Status.PAUSED:
        return [gettext("It stays here until it is resumed.")]
    return [*_waits(run), *_next_check(run)] or [
        gettext("Nothing is scheduled: an operator has to act.")
    ]


def _waits(run: FlowRun) -> Iterator[str]:
    if run.wait_until and run.status != Status.PENDING:
        yield gettext("Continues at %(time)s.") % {"time": show_datetime(run.wait_until)}
    if run.wait_trigger:
        name = registry.trigger_label(run.wait_trigger)
        yield gettext("Waits for the trigger “%(name)s”.") % {"name": name}
    if run.wait_child:
        yield gettext("Waits until another run has ended.")
    if run.wait_timeout:
        yield gettext("Times out at %(time)s.") % {"time": show_datetime(run.wait_timeout)}
    if run.blocked_on:
        text = gettext("Continues by itself once “%(key)s” is installed.")
        yield text % {"key": run.blocked_on}


def _next_check(run: FlowRun) -> Iterator[str]:
    is_told = bool(run.wait_until) or run.due_at == run.wait_timeout
    if run.due_at is None or (is_told and run.status != Status.PENDING):
        return
    texts = {
        Status.PENDING: gettext("Due at %(time)s."),
        Status.RUNNING: gettext("The lease of its worker expires at %(time)s."),
    }
    text = texts.get(Status(run.status), gettext("Next check at %(time)s."))
    yield text % {"time": show_datetime(run.due_at)}


def since_overdue(run: FlowRun, now: datetime) -> str:
    """Return since when a run is overdue."""
    due = run.due_at or now
    length = show_length((now - due).total_seconds())
    text = gettext("Overdue since %(time)s (%(length)s).")
    return text % {"time": show_datetime(due), "length": length}
