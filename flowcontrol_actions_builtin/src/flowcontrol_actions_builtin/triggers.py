"""The action that suspends a run until a trigger fires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.utils.timezone import is_aware
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.forms import ExpressionField, TriggerField
from flowcontrol.registry import registry
from flowcontrol_actions_builtin.forms import DefaultChoiceField, StateKeyField, unit_field
from flowcontrol_actions_builtin.summaries import describe_duration, join_phrases
from flowcontrol_actions_builtin.values import end_of_duration, store_result


class _WaitForm(forms.Form):
    trigger = TriggerField(label=_("Trigger"))
    match = DefaultChoiceField(
        choices=[("object", _("the object of this run")), ("any", _("any object, or none"))],
        label=_("Fired for"),
    )
    condition = ExpressionField(
        label=_("Condition"),
        required=False,
        help_text=_("Can use “payload”. While it is false, the run continues to wait."),
    )
    at_most = ExpressionField(
        label=_("Wait at most"),
        required=False,
        help_text=_("A whole number or an expression. Leave empty to wait without a limit."),
    )
    at_most_unit = unit_field()
    result_key = StateKeyField(
        label=_("Result"),
        help_text=_('Receives {"timed_out": …, "trigger": …, "payload": …}.'),
    )


class WaitForTrigger(BaseAction):
    """Suspend the run until a trigger fires or the wait times out.

    The timeout is computed on entry and stored in the memo, so that an event which the condition
    refuses does not extend it.
    """

    name = "wait_for_trigger"
    icon = "event"
    verbose_name = _("Wait for trigger")
    description = _(
        "Suspends the run until a trigger fires, then executes the branch “triggered”; if it does "
        "not fire in time, the branch “timed_out”. Both may be empty."
    )
    group = _("Waiting")
    effects = Effects.NONE
    branches = ("triggered", "timed_out")
    branch_labels = {"triggered": _("Triggered"), "timed_out": _("Timed out")}
    Config = _WaitForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        kind = run.wakeup.kind if run.wakeup is not None else None
        if kind == "timeout":
            return self._end(run, config, self.enter("timed_out"))
        if kind == "operator":
            run.log(gettext("An operator ended the wait."))
            return self._end(run, config, FlowDirective.CONTINUE)
        if kind == "trigger" and (not config.source("condition") or config.condition):
            return self._end(run, config, self.enter("triggered"))
        return self._wait(run, config)

    def check_memo(self, memo: Mapping[str, Any]) -> Iterable[str]:
        timeout = memo.get("timeout")
        if timeout is not None and not (isinstance(timeout, datetime) and is_aware(timeout)):
            yield gettext("“%(name)s” has to be a time with a time zone.") % {"name": "timeout"}

    def _wait(self, run: RunContext, config: Any) -> FlowDirective:
        if "timeout" not in run.memo:
            run.memo["timeout"] = (
                end_of_duration(run, config.at_most, config.at_most_unit)
                if config.source("at_most")
                else None
            )
        return run.suspend(
            trigger=config.trigger,
            timeout=run.memo["timeout"],
            match_object=config.match == "object",
            repeat=True,
        )

    def _end(self, run: RunContext, config: Any, directive: FlowDirective) -> FlowDirective:
        if run.wakeup is not None:
            result = {
                "timed_out": run.wakeup.kind == "timeout",
                "trigger": run.wakeup.trigger,
                "payload": dict(run.wakeup.payload),
            }
            store_result(run, config, result)
        return directive

    def sets_state(self, config: BoundConfig) -> Iterable[str]:
        return [config.source("result_key") or ""]

    def waits_for(self, config: BoundConfig) -> Iterable[str]:
        return [config.source("trigger")]

    def summary(self, config: BoundConfig) -> str:
        values = {
            "trigger": registry.trigger_label(config.source("trigger")),
            "condition": config.source("condition"),
            "duration": describe_duration(config, "at_most", "at_most_unit"),
        }
        return join_phrases(
            values,
            gettext("Wait for “%(trigger)s”"),
            gettext("for any object") if config.source("match") == "any" else "",
            gettext("if %(condition)s") if config.source("condition") else "",
            gettext("at most %(duration)s") if config.source("at_most") else "",
        )
