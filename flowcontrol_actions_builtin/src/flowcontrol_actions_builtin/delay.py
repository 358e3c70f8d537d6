"""The action that suspends a run until a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.forms import ExpressionField
from flowcontrol_actions_builtin import calendar
from flowcontrol_actions_builtin.forms import ConfigForm, DefaultChoiceField, unit_field
from flowcontrol_actions_builtin.summaries import describe_duration, join_phrases
from flowcontrol_actions_builtin.values import read_datetime, typed_number, whole_number


class _DelayForm(ConfigForm):
    mode = DefaultChoiceField(
        choices=[
            ("for", _("for an amount of time")),
            ("weekday", _("until a weekday")),
            ("time", _("until a time of day")),
            ("date", _("until a date, or a time before or after it")),
        ],
        label=_("Wait"),
    )
    amount = ExpressionField(
        label=_("Amount"),
        required=False,
        help_text=_("A whole number or an expression. With a date, negative means earlier."),
    )
    unit = unit_field(_("Days and more follow the calendar of the flow's time zone."))
    weekday = forms.TypedChoiceField(
        label=_("Weekday"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", "---------"), *WEEKDAYS.items()],
        help_text=_("The next one: on a Monday after the time of day, “Monday” is a week away."),
    )
    base = ExpressionField(
        label=_("Date"),
        required=False,
        help_text=_("A date, a date with time, or its text, such as: object.created_at"),
    )
    time_of_day = forms.TimeField(
        label=_("Time of day"),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
        help_text=_("In the time zone of the flow. Leave empty to start a weekday at midnight."),
    )
    if_past = DefaultChoiceField(
        choices=[
            ("continue", _("continue immediately")),
            ("next_day", _("wait for the same time of day, today or tomorrow")),
            ("next_year", _("wait for the same day of the next year")),
            ("abort", _("stop the flow")),
        ],
        label=_("If that is in the past"),
        help_text=_("Applies to dates and amounts."),
    )
    needs = {"mode": {"for": "amount", "weekday": "weekday", "time": "time_of_day", "date": "base"}}


class Delay(BaseAction):
    """Suspend the run until a time, computed in the time zone of the flow."""

    name = "delay"
    icon = "clock"
    verbose_name = _("Delay")
    description = _("Suspends the run for an amount of time, or until a weekday, time or date.")
    group = _("Waiting")
    effects = Effects.NONE
    Config = _DelayForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        due = _due_time(run, config)
        if due < run.now:
            return _handle_past(run, config, due)
        return run.suspend(until=due) if due > run.now else FlowDirective.CONTINUE

    def summary(self, config: BoundConfig) -> str:
        mode, amount, clock = map(config.source, ("mode", "amount", "time_of_day"))
        if mode == "date" and amount:
            mode = "before" if (typed_number(amount) or 0) < 0 else "after"
        sentences = {
            "for": gettext("Wait for %(duration)s"),
            "weekday": gettext("Wait until %(weekday)s"),
            "time": gettext("Wait until %(time)s"),
            "date": gettext("Wait until %(base)s"),
            "before": gettext("Wait until %(duration)s before %(base)s"),
            "after": gettext("Wait until %(duration)s after %(base)s"),
        }
        values = {
            "duration": describe_duration(config, "amount", "unit"),
            "weekday": WEEKDAYS.get(config.source("weekday")),
            "base": config.source("base"),
            "time": f"{clock:%H:%M}" if clock else "",
        }
        at = gettext("at %(time)s") if clock and mode != "time" else ""
        return join_phrases(values, sentences[mode], at)


def _choice(name: str) -> str:
    """Return the text of what is to be done with a time that is in the past."""
    field: Any = _DelayForm.base_fields["if_past"]
    return str(dict(field.choices)[name])


def _due_time(run: RunContext, config: Any) -> datetime:
    match config.mode:
        case "weekday":
            clock = config.time_of_day or calendar.MIDNIGHT
            return calendar.next_weekday(run.now, config.weekday, clock, run.time_zone)
        case "time":
            return calendar.next_time(run.now, config.time_of_day, run.time_zone)
        case "date":
            return _shifted(read_datetime(config.base, run.time_zone), run, config)
        case _:
            return _shifted(run.now, run, config)


def _shifted(due: datetime, run: RunContext, config: Any) -> datetime:
    unit = calendar.Unit(config.unit)
    if config.source("amount"):
        amount = whole_number(config.amount, gettext("The amount of time"))
        due = calendar.shift(due, amount, unit, run.time_zone)
    if config.time_of_day is not None:
        due = calendar.snap(due, config.time_of_day, unit, run.time_zone)
    return due


def _handle_past(run: RunContext, config: Any, due: datetime) -> FlowDirective:
    run.log(gettext("%(time)s is in the past.") % {"time": due.isoformat(timespec="seconds")})
    match config.if_past:
        case "next_day":
            clock = config.time_of_day or due.astimezone(run.time_zone).time()
            return run.suspend(until=calendar.next_time(run.now, clock, run.time_zone))
        case "next_year":
            return run.suspend(until=calendar.next_year(due, run.now, run.time_zone))
        case "abort":
            text = gettext("%(time)s is in the past, and “%(choice)s” is chosen for that case.")
            time = due.astimezone(run.time_zone).isoformat(sep=" ", timespec="minutes")
            return BaseAction.abort(text % {"time": time, "choice": _choice(config.if_past)})
        case _:
            return FlowDirective.CONTINUE
