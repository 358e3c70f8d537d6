"""The action that suspends a run until a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.forms import ExpressionField
from flowcontrol_actions_builtin import reckoning
from flowcontrol_actions_builtin.fields import UNITS, DefaultChoiceField, UnitField, label_of
from flowcontrol_actions_builtin.reckoning import MIDNIGHT, Unit
from flowcontrol_actions_builtin.values import whole_number

MODES: list[tuple[str, Any]] = [
    ("for", _("for an amount of time")),
    ("weekday", _("until a weekday")),
    ("time", _("until a time of day")),
    ("date", _("until a date, or some time before or after it")),
]
POLICIES: list[tuple[str, Any]] = [
    ("continue", _("go on at once")),
    ("next_day", _("wait for the same time of day, today or tomorrow")),
    ("next_year", _("wait for the same day of the next year")),
    ("abort", _("stop the flow")),
]
_REQUIRED = {"for": "amount", "weekday": "weekday", "time": "time_of_day", "date": "base"}


class _DelayForm(forms.Form):
    mode = DefaultChoiceField(choices=MODES, label=_("Wait"))
    amount = ExpressionField(
        label=_("Amount"),
        required=False,
        help_text=_(
            "A whole number or an expression. With a date: how much later to go on, or, where "
            "negative, how much earlier."
        ),
    )
    unit = UnitField(
        initial=Unit.DAYS,
        help_text=_("Days, weeks and months are those of the calendar in the flow's time zone."),
    )
    weekday = forms.TypedChoiceField(
        label=_("Weekday"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", "---------"), *((str(day), name) for day, name in WEEKDAYS.items())],
        help_text=_("The coming one: on a Monday, after its time, “Monday” is in a week."),
    )
    base = ExpressionField(
        label=_("Date"),
        required=False,
        help_text=_("Such as: object.created_at. A date, a date with time, or the text of one."),
    )
    time_of_day = forms.TimeField(
        label=_("Time of day"),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
        help_text=_("In the flow's time zone. The weekday begins at midnight without it."),
    )
    if_past = DefaultChoiceField(
        choices=POLICIES, label=_("If that is in the past"), help_text=_("For dates and amounts.")
    )

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or self.cleaned_data)
        needed = _REQUIRED.get(cleaned.get("mode", ""))
        if needed and needed not in self.errors and cleaned.get(needed) in (None, ""):
            self.add_error(
                needed,
                forms.ValidationError(
                    _("Waiting “%(mode)s” needs this."),
                    code="required",
                    params={"mode": label_of(MODES, cleaned["mode"])},
                ),
            )
        return cleaned


class Delay(BaseAction):
    """Suspend the run until a time, reckoned in the flow's time zone."""

    name = "delay"
    verbose_name = _("Delay")
    description = _("Suspends the run for an amount of time, or until a weekday, time or date.")
    group = _("Waiting")
    effects = Effects.NONE
    Config = _DelayForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        moment = _MOMENTS[config.mode](run, config)
        if moment < run.now:
            return _handle_past(run, config, moment)
        return run.suspend(until=moment) if moment > run.now else FlowDirective.CONTINUE

    def summary(self, config: BoundConfig) -> str:
        return _SENTENCES[config.source("mode") or "for"](config)


def _after_amount(run: RunContext, config: Any) -> datetime:
    return _shifted_and_snapped(run.now, run, config)


def _on_weekday(run: RunContext, config: Any) -> datetime:
    clock = config.time_of_day or MIDNIGHT
    return reckoning.next_weekday(run.now, config.weekday, clock, run.time_zone)


def _at_time_of_day(run: RunContext, config: Any) -> datetime:
    return reckoning.next_time(run.now, config.time_of_day, run.time_zone)


def _around_date(run: RunContext, config: Any) -> datetime:
    base = reckoning.read_moment(config.base, run.time_zone)
    return _shifted_and_snapped(base, run, config)


def _shifted_and_snapped(moment: datetime, run: RunContext, config: Any) -> datetime:
    unit = Unit(config.unit)
    if config.source("amount"):
        amount = whole_number(config.amount, say("The amount of time"))
        moment = reckoning.shift(moment, amount, unit, run.time_zone)
    if config.time_of_day is not None:
        moment = reckoning.snap(moment, config.time_of_day, unit, run.time_zone)
    return moment


def _handle_past(run: RunContext, config: Any, moment: datetime) -> FlowDirective:
    run.log(say("%(moment)s is in the past.") % {"moment": moment.isoformat(timespec="seconds")})
    zone = run.time_zone
    if config.if_past == "abort":
        return FlowDirective.ABORT
    if config.if_past == "next_day":
        clock = config.time_of_day or moment.astimezone(zone).time()
        return run.suspend(until=reckoning.next_time(run.now, clock, zone))
    if config.if_past == "next_year":
        return run.suspend(until=reckoning.next_year(moment, run.now, zone))
    return FlowDirective.CONTINUE


_MOMENTS: dict[str, Callable[[RunContext, Any], datetime]] = {
    "for": _after_amount,
    "weekday": _on_weekday,
    "time": _at_time_of_day,
    "date": _around_date,
}


def _say_amount(config: BoundConfig) -> str:
    values = {"amount": config.source("amount"), "unit": _unit(config)}
    return _with_time(say("Wait for %(amount)s %(unit)s") % values, config)


def _say_weekday(config: BoundConfig) -> str:
    weekday = str(WEEKDAYS.get(config.source("weekday"), config.source("weekday")))
    return _with_time(say("Wait until %(weekday)s") % {"weekday": weekday}, config)


def _say_time(config: BoundConfig) -> str:
    return say("Wait until %(time)s") % {"time": _clock(config)}


def _say_date(config: BoundConfig) -> str:
    values = {
        "base": config.source("base"),
        "amount": config.source("amount"),
        "unit": _unit(config),
    }
    if not values["amount"]:
        sentence = say("Wait until %(base)s")
    elif str(values["amount"]).startswith("-"):
        values["amount"] = str(values["amount"])[1:].strip()
        sentence = say("Wait until %(amount)s %(unit)s before %(base)s")
    else:
        sentence = say("Wait until %(amount)s %(unit)s after %(base)s")
    return _with_time(sentence % values, config)


def _unit(config: BoundConfig) -> str:
    return label_of(UNITS, config.source("unit"))


def _clock(config: BoundConfig) -> str:
    clock = config.source("time_of_day")
    return clock.strftime("%H:%M") if hasattr(clock, "strftime") else str(clock)


def _with_time(sentence: str, config: BoundConfig) -> str:
    if config.source("time_of_day") is None:
        return sentence
    return say("%(sentence)s, at %(time)s") % {"sentence": sentence, "time": _clock(config)}


_SENTENCES: dict[str, Callable[[BoundConfig], str]] = {
    "for": _say_amount,
    "weekday": _say_weekday,
    "time": _say_time,
    "date": _say_date,
}
