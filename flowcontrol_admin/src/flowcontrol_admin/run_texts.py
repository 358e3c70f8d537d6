"""A run in sentences: what it is doing, since when, and what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.clock import clock
from flowcontrol.flows import step_label, step_of
from flowcontrol.models import FlowRun, Outcome, Status
from flowcontrol.registry import registry
from flowcontrol_core.document.tree import Document, Step

_MINUTE = 60
#: Days, hours and minutes as they are written after a number.
_UNITS = ((_("d"), 86_400), (_("h"), 3_600), (_("min"), _MINUTE))
#: What a run is doing: at a step, and where there is none.
_HEADLINES = {
    Status.PENDING: (_("Waiting to start"), _("Waiting to start")),
    Status.RUNNING: (_("Running “%(step)s”"), _("Running")),
    Status.WAITING: (_("Waiting at “%(step)s”"), _("Waiting")),
    Status.PAUSED: (_("Paused at “%(step)s”"), _("Paused")),
    Status.BLOCKED: (_("Blocked at “%(step)s”"), _("Blocked")),
}
_OUTCOMES = {
    Outcome.COMPLETE: (_("Complete"), _("Complete")),
    Outcome.ABORTED: (_("Stopped at “%(step)s”"), _("Stopped")),
    Outcome.ERRORED: (_("Failed at “%(step)s”"), _("Failed")),
    Outcome.OBSOLETE: (_("No longer needed, at “%(step)s”"), _("No longer needed")),
    Outcome.CANCELED: (_("Canceled at “%(step)s”"), _("Canceled")),
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


def show_brief(when: datetime | None) -> str:
    """Write a time briefly: without the date today, without the year this year."""
    if when is None:
        return ""
    local, today = timezone.localtime(when), timezone.localtime(clock().now())
    if local.date() == today.date():
        return f"{local:%H:%M}"
    style = "j M" if local.year == today.year else "j M Y"
    return f"{date_format(local, style)}, {local:%H:%M}"


def show_distance(when: datetime, now: datetime) -> str:
    """Write how far a time is from now, such as “2 h ago” or “in 8 min”."""
    seconds = (when - now).total_seconds()
    if abs(seconds) < 1:
        return gettext("now")
    text = gettext("in %(length)s") if seconds > 0 else gettext("%(length)s ago")
    return text % {"length": show_span(abs(seconds))}


def show_span(seconds: float) -> str:
    """Write a duration that changes while it is read: without seconds, from a minute on."""
    return show_length(seconds - seconds % _MINUTE if seconds >= _MINUTE else round(seconds))


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


def headline(run: FlowRun, name: str) -> str:
    """Return what a run is doing, or how it ended, at the step of that name."""
    if run.status == Status.DONE:
        at_step, elsewhere = _OUTCOMES[Outcome(run.outcome)]
    else:
        at_step, elsewhere = _HEADLINES[Status(run.status)]
    return str(at_step if name else elsewhere) % {"step": name}


def since_text(run: FlowRun, now: datetime) -> str:
    """Return since when a run is as it is, and for how long; when it ended, where it has."""
    if run.status == Status.DONE:
        return show_distance(run.since, now)
    length = show_span(max((now - run.since).total_seconds(), 0))
    words = {"time": show_brief(run.since), "length": length}
    return gettext("since %(time)s, for %(length)s") % words


def label_in(document: Document) -> Callable[[str], str]:
    """Return what names the steps of a document by their labels."""

    def label_of(step_id: str) -> str:
        step = document.find(step_id)
        return step_label(step) if step else ""

    return label_of


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
        yield _when(gettext("Continues at %(time)s (%(distance)s)."), run.wait_until)
    if run.wait_trigger:
        name = registry.trigger_label(run.wait_trigger)
        yield gettext("Waits for the trigger “%(name)s”.") % {"name": name}
    if run.wait_child:
        yield gettext("Waits until another run has ended.")
    if run.wait_timeout:
        yield _when(gettext("Times out at %(time)s (%(distance)s)."), run.wait_timeout)
    if run.blocked_on:
        text = gettext("Continues by itself once this is installed: %(key)s.")
        yield text % {"key": run.blocked_on}


def _next_check(run: FlowRun) -> Iterator[str]:
    is_told = bool(run.wait_until) or run.due_at == run.wait_timeout
    if run.due_at is None or (is_told and run.status != Status.PENDING):
        return
    is_past = run.due_at < clock().now()
    if is_past and run.status not in (Status.PENDING, Status.RUNNING):
        # That it is overdue is said elsewhere.
        return
    texts = {
        Status.PENDING: gettext("Due at %(time)s (%(distance)s)."),
        Status.RUNNING: gettext("The lease of its worker expires at %(time)s (%(distance)s)."),
    }
    text = texts.get(Status(run.status), gettext("Next check at %(time)s (%(distance)s)."))
    yield _when(text, run.due_at)


def _when(text: str, when: datetime) -> str:
    distance = show_distance(when, clock().now())
    return text % {"time": show_brief(when), "distance": distance}


def since_overdue(run: FlowRun, now: datetime) -> str:
    """Return since when a run is overdue."""
    due = run.due_at or now
    length = show_length((now - due).total_seconds())
    text = gettext("Overdue since %(time)s (%(length)s).")
    return text % {"time": show_datetime(due), "length": length}
