"""The actions that decide where a run goes: If condition, leaving branches, stopping."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.forms import ExpressionField, TemplateField
from flowcontrol_actions_builtin.fields import DefaultChoiceField

GROUP = _("Control")

TARGETS: list[tuple[str, Any]] = [("parent", _("this branch")), ("loop", _("the nearest loop"))]


class If(BaseAction):
    """Execute one of two branches."""

    name = "if"
    verbose_name = _("If condition")
    description = _("Evaluates a condition and executes one of two branches of sub-steps.")
    group = GROUP
    effects = Effects.NONE
    branches = ("then", "else")

    class Config(forms.Form):
        condition = ExpressionField(
            label=_("Condition"),
            help_text=_("Such as: object.total > 100 and not state.reminded"),
        )

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.enter("then" if config.condition else "else")

    def summary(self, config: BoundConfig) -> str:
        return say("If %(condition)s") % {"condition": config.source("condition")}


class _OptionalConditionForm(forms.Form):
    condition = ExpressionField(
        label=_("Condition"),
        required=False,
        help_text=_("Only if this is true; leave it empty for: always."),
    )


class _LeavingForm(_OptionalConditionForm):
    to = DefaultChoiceField(
        choices=TARGETS,
        label=_("What is left"),
        help_text=_("“The nearest loop” goes through any conditions in between."),
    )


class ReturnToAction(BaseAction):
    """LEAVE: give control back to the action around, which decides how to go on."""

    name = "return_to_action"
    verbose_name = _("Return to action")
    description = _(
        "Ends the branch and returns to the action that it belongs to; a loop begins its next "
        "pass. At the top level the flow is complete."
    )
    group = GROUP
    effects = Effects.NONE
    Config = _LeavingForm

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.leave(config.to) if _applies(config) else FlowDirective.CONTINUE

    def needs_loop(self, config: BoundConfig) -> bool:
        return bool(config.source("to") == "loop")

    def summary(self, config: BoundConfig) -> str:
        if config.source("to") == "loop":
            return _with_condition(say("Return to the nearest loop for its next pass"), config)
        return _with_condition(say("Return to the action around"), config)


class LeaveBranch(BaseAction):
    """BREAK: go on behind the action around."""

    name = "leave_branch"
    verbose_name = _("Leave branch")
    description = _(
        "Ends the branch and goes on behind the action that it belongs to; a loop is over. "
        "At the top level the flow is complete."
    )
    group = GROUP
    effects = Effects.NONE
    Config = _LeavingForm

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.break_(config.to) if _applies(config) else FlowDirective.CONTINUE

    def needs_loop(self, config: BoundConfig) -> bool:
        return bool(config.source("to") == "loop")

    def summary(self, config: BoundConfig) -> str:
        if config.source("to") == "loop":
            return _with_condition(say("Leave the nearest loop"), config)
        return _with_condition(say("Leave the branch"), config)


class StopFlow(BaseAction):
    """ABORT: the run ends here, whatever is around."""

    name = "stop_flow"
    verbose_name = _("Stop flow")
    description = _("Stops the flow run at once; its outcome is “aborted”.")
    group = GROUP
    effects = Effects.NONE

    class Config(_OptionalConditionForm):
        reason = TemplateField(
            label=_("Reason"),
            required=False,
            max_length=1000,
            widget=forms.TextInput,
            help_text=_("Appears in the history of the run. Sees object and state."),
        )

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        if not _applies(config):
            return FlowDirective.CONTINUE
        return self.abort(config.reason)

    def summary(self, config: BoundConfig) -> str:
        sentence = say("Stop the flow")
        if reason := config.source("reason"):
            sentence = say("Stop the flow (“%(reason)s”)") % {"reason": reason}
        return _with_condition(sentence, config)


def _applies(config: Any) -> bool:
    return not config.source("condition") or bool(config.condition)


def _with_condition(sentence: str, config: BoundConfig) -> str:
    if condition := config.source("condition"):
        return say("%(sentence)s if %(condition)s") % {
            "sentence": sentence,
            "condition": condition,
        }
    return sentence
