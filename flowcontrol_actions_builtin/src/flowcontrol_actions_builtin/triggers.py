"""The action that suspends a run until a trigger fires."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.errors import UnknownTriggerError
from flowcontrol.forms import ExpressionField, TriggerField
from flowcontrol.registry import registry
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.fields import (
    UNITS,
    DefaultChoiceField,
    StateKeyField,
    UnitField,
    label_of,
)
from flowcontrol_actions_builtin.reckoning import Unit, shift
from flowcontrol_actions_builtin.values import whole_number

MATCHES: list[tuple[str, Any]] = [
    ("object", _("for the object of this run")),
    ("any", _("for any object, or none")),
]


class _WaitForm(forms.Form):
    trigger = TriggerField(label=_("Trigger"))
    match = DefaultChoiceField(choices=MATCHES, label=_("Fired"))
    condition = ExpressionField(
        label=_("Condition"),
        required=False,
        help_text=_(
            "Sees the payload of the trigger as “payload”. Where it is false, the run goes on "
            "waiting."
        ),
    )
    at_most = ExpressionField(
        label=_("Wait at most"),
        required=False,
        help_text=_("A whole number or an expression. Empty: for ever."),
    )
    at_most_unit = UnitField(initial=Unit.DAYS)
    result_key = StateKeyField(
        label=_("Result"),
        help_text=_('A key of the state for {"timed_out": …, "trigger": …, "payload": …}.'),
    )


class WaitForTrigger(BaseAction):
    """Suspend the run until a trigger fires, or a time-out is over.

    The time at which waiting ends is fixed on entry and kept in the memo, so that an event which
    the condition refuses does not prolong it.
    """

    name = "wait_for_trigger"
    verbose_name = _("Wait for trigger")
    description = _(
        "Suspends the run until a trigger fires, then executes the branch “triggered”; or, if it "
        "does not fire in time, the branch “timed_out”. Both may be empty."
    )
    group = _("Waiting")
    effects = Effects.NONE
    branches = ("triggered", "timed_out")
    Config = _WaitForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        # A call that was tried again after an error has a wake-up too, of the kind "time".
        kind = run.wakeup.kind if run.wakeup is not None and run.memo else None
        if kind == "timeout":
            self._keep_result(run, config, timed_out=True)
            return self.enter("timed_out")
        if kind == "operator":
            run.log(say("An operator ended the waiting."))
            self._keep_result(run, config, timed_out=False)
            return FlowDirective.CONTINUE
        if kind == "trigger" and (not config.source("condition") or config.condition):
            self._keep_result(run, config, timed_out=False)
            return self.enter("triggered")
        return self._wait(run, config)

    def _wait(self, run: RunContext, config: Any) -> FlowDirective:
        if "timeout" not in run.memo:
            run.memo["timeout"] = _end_of_waiting(run, config)
        return run.suspend(
            trigger=config.trigger,
            timeout=run.memo["timeout"],
            match_object=config.match == "object",
            repeat=True,
        )

    def _keep_result(self, run: RunContext, config: Any, *, timed_out: bool) -> None:
        if config.result_key and run.wakeup is not None:
            run.state[config.result_key] = {
                "timed_out": timed_out,
                "trigger": run.wakeup.trigger,
                "payload": dict(run.wakeup.payload),
            }

    def waits_for(self, config: BoundConfig) -> Iterable[str]:
        return [config.source("trigger")]

    def summary(self, config: BoundConfig) -> str:
        values = {
            "trigger": _label(config.source("trigger")),
            "condition": config.source("condition"),
            "timeout": config.source("at_most"),
            "unit": label_of(UNITS, config.source("at_most_unit")),
        }
        sentence = say("Wait for “%(trigger)s”")
        if config.source("match") == "any":
            sentence += say(" of any object")
        if values["condition"]:
            sentence += say(" with %(condition)s")
        if values["timeout"]:
            sentence += say(", %(timeout)s %(unit)s at most")
        return sentence % values


def _end_of_waiting(run: RunContext, config: Any) -> datetime | None:
    if not config.source("at_most"):
        return None
    amount = whole_number(config.at_most, say("The time-out"))
    if amount < 0:
        raise ActionError(f"The time-out is {amount}; it has to be 0 or more.")
    return shift(run.now, amount, Unit(config.at_most_unit), run.time_zone)


def _label(key: str) -> str:
    try:
        return str(registry.get_trigger(key).label)
    except UnknownTriggerError:
        return key
