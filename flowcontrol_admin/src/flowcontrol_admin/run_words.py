"""A run in words: what it is doing, since when, why, and what comes next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.tree import Step
from flowcontrol_core.flows.edits import step_label
from flowcontrol_core.flows.overview import step_of
from flowcontrol_core.models import FlowRun, Status

#: Days, hours and minutes as they are written behind a number.
_UNITS = ((_("d"), 86_400), (_("h"), 3_600), (_("min"), 60))
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


def moment(when: datetime | None) -> str:
    """Write a time in the zone and language of the reader."""
    if when is None:
        return ""
    local = timezone.localtime(when)
    # Without “a.m.”, so that it may stand before the full stop of a sentence.
    return f"{date_format(local, 'DATE_FORMAT')} {local:%H:%M:%S}"


def length(seconds: float) -> str:
    """Write a duration with its two largest units."""
    if seconds < 1:
        return say("%(ms)d ms") % {"ms": round(seconds * 1000)}
    parts = []
    for name, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{int(count)} {name}")
    if seconds and len(parts) < len(("first", "second")):
        parts.append(f"{seconds:.0f} s" if parts else f"{seconds:.3g} s")
    return " ".join(parts[:2]) or "0 s"


def answer(key: str) -> str:
    """Name what an action has answered; history has the keys."""
    return str(_ANSWERS.get(key, key))


def duration(run: FlowRun, now: datetime) -> str:
    """Say how long a run has taken, from its first step on."""
    if run.started_at is None:
        return ""
    return length(((run.finished_at or now) - run.started_at).total_seconds())


def where(run: FlowRun, step: Step | None) -> str:
    """Name the step that a run is at."""
    if step is not None:
        return step_label(step)
    return step_of(run)


def headline(run: FlowRun, step: Step | None) -> str:
    """Say in one sentence what a run is doing, where, and since when."""
    words = {"step": where(run, step), "since": moment(run.since)}
    at_step = bool(words["step"])
    if run.status == Status.DONE:
        ended = say("Ended as %(outcome)s on %(since)s, at “%(step)s”.")
        plain = say("Ended as %(outcome)s on %(since)s.")
        words["outcome"] = run.get_outcome_display()
        return (ended if at_step and run.outcome != "complete" else plain) % words
    return (_doing_at() if at_step else _doing())[run.status] % words


def _doing_at() -> dict[str, str]:
    return {
        Status.PENDING: say("Waits to begin, since %(since)s."),
        Status.RUNNING: say("Is at “%(step)s”, since %(since)s."),
        Status.WAITING: say("Waits at “%(step)s”, since %(since)s."),
        Status.PAUSED: say("Is paused at “%(step)s”, since %(since)s."),
        Status.BLOCKED: say("Is blocked at “%(step)s”, since %(since)s."),
    }


def _doing() -> dict[str, str]:
    return {
        Status.PENDING: say("Has not begun; created on %(since)s."),
        Status.RUNNING: say("Is being executed, since %(since)s."),
        Status.WAITING: say("Waits, since %(since)s."),
        Status.PAUSED: say("Is paused, since %(since)s."),
        Status.BLOCKED: say("Is blocked, since %(since)s."),
    }


def what_next(run: FlowRun) -> list[str]:
    """Say what the run waits for, and when somebody looks at it again."""
    if run.status == Status.DONE:
        return []
    if run.status == Status.PAUSED:
        return [say("It stays there until somebody resumes it.")]
    said = [*_waits(run), *_looks(run)]
    return said or [say("Nothing is planned: it needs somebody to do something.")]


def _waits(run: FlowRun) -> list[str]:
    said = []
    if run.wait_until and run.status != Status.PENDING:
        said.append(say("It goes on at %(time)s.") % {"time": moment(run.wait_until)})
    if run.wait_trigger:
        said.append(say("It waits for the trigger “%(name)s”.") % {"name": _trigger(run)})
    if run.wait_child:
        said.append(say("It waits for another run to end."))
    if run.wait_timeout:
        said.append(say("It gives up waiting at %(time)s.") % {"time": moment(run.wait_timeout)})
    if run.blocked_on:
        text = say("It goes on by itself once the action “%(key)s” is installed.")
        said.append(text % {"key": run.blocked_on})
    return said


def _looks(run: FlowRun) -> list[str]:
    if run.due_at is None:
        return []
    if run.status == Status.PENDING:
        text = say("It is due at %(time)s.")
    elif run.wait_until:
        return []
    elif run.status == Status.RUNNING:
        text = say("Its worker's lease lasts until %(time)s.")
    else:
        text = say("A worker looks at it at %(time)s.")
    return [text % {"time": moment(run.due_at)}]


def _trigger(run: FlowRun) -> str:
    entry = registry.triggers.get(run.wait_trigger or "")
    return str(entry.trigger.label) if entry else str(run.wait_trigger)


def since_overdue(run: FlowRun, now: datetime) -> str:
    """Say for how long a run is overdue."""
    due = run.due_at or now
    text = say("Overdue since %(time)s (%(length)s).")
    words: dict[str, Any] = {
        "time": moment(due),
        "length": length((now - due).total_seconds()),
    }
    return text % words
