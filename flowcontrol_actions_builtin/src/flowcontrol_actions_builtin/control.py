"""The actions that decide where a run continues: If condition, leaving a branch, stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective
from flowcontrol.forms import ExpressionField, TemplateField
from flowcontrol_actions_builtin.forms import DefaultChoiceField


class ConditionForm(forms.Form):
    """The form of the actions that always have a condition."""

    condition = ExpressionField(
        label=_("Condition"),
        help_text=_("For example: object.total > 100 and not state.reminded"),
    )


class ControlAction(BaseAction):
    """The base of the actions that touch nothing but the position of the run."""

    group = _("Control")
    effects = Effects.NONE


class If(ControlAction):
    """Execute one of two branches."""

    name = "if"
    icon = "branch"
    verbose_name = _("If condition")
    description = _("Evaluates a condition and executes one of two branches.")
    branches = ("then", "else")
    branch_labels = {"then": _("Then"), "else": _("Otherwise")}
    Config = ConditionForm

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.enter("then" if config.condition else "else")

    def summary(self, config: BoundConfig) -> str:
        return gettext("If %(condition)s") % {"condition": config.source("condition")}


class _ExitForm(forms.Form):
    condition = ExpressionField(
        label=_("Condition"),
        required=False,
        help_text=_("Applies only if this is true. Leave empty to apply always."),
    )


class _BranchExitForm(_ExitForm):
    to = DefaultChoiceField(
        choices=[("parent", _("the parent action")), ("loop", _("the nearest loop"))],
        label=_("Target"),
        help_text=_("“The nearest loop” also leaves any conditions in between."),
    )


class _BranchExit(ControlAction):
    """The base of the actions that end a branch; ``directive`` and ``sentences`` are by target."""

    Config = _BranchExitForm
    directive: ClassVar[Callable[..., FlowDirective]]
    sentences: ClassVar[dict[str, Any]]

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.directive(config.to) if _applies(config) else FlowDirective.CONTINUE

    def needs_loop(self, config: BoundConfig) -> bool:
        return bool(config.source("to") == "loop")

    def summary(self, config: BoundConfig) -> str:
        return _with_condition(self.sentences[config.source("to")], config)


class ReturnToAction(_BranchExit):
    """LEAVE: return to the parent action, which decides where the run continues."""

    name = "return_to_action"
    icon = "up"
    verbose_name = _("Return to action")
    description = _(
        "Ends the branch and returns to its parent action; a loop begins its next pass. At the "
        "top level, the flow is complete."
    )
    directive = staticmethod(BaseAction.leave)
    sentences = {
        "parent": _("Return to the parent action"),
        "loop": _("Return to the nearest loop"),
    }


class LeaveBranch(_BranchExit):
    """BREAK: continue after the parent action."""

    name = "leave_branch"
    icon = "leave"
    verbose_name = _("Leave branch")
    description = _(
        "Ends the branch and continues after its parent action; a loop ends. At the top level, "
        "the flow is complete."
    )
    directive = staticmethod(BaseAction.break_)
    sentences = {"parent": _("Leave the branch"), "loop": _("Leave the nearest loop")}


class StopFlow(ControlAction):
    """ABORT: end the run, at any depth."""

    name = "stop_flow"
    icon = "stop"
    verbose_name = _("Stop flow")
    description = _("Stops the flow run immediately; its outcome is “aborted”.")

    class Config(_ExitForm):
        reason = TemplateField(
            label=_("Reason"),
            required=False,
            max_length=1000,
            widget=forms.TextInput,
            help_text=_("Shown in the history of the run. Can use object and state."),
        )

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.abort(config.reason) if _applies(config) else FlowDirective.CONTINUE

    def summary(self, config: BoundConfig) -> str:
        if reason := config.source("reason"):
            sentence = gettext("Stop the flow (“%(reason)s”)") % {"reason": reason}
            return _with_condition(sentence, config)
        return _with_condition(gettext("Stop the flow"), config)


def _applies(config: Any) -> bool:
    return not config.source("condition") or bool(config.condition)


def _with_condition(sentence: Any, config: BoundConfig) -> str:
    if condition := config.source("condition"):
        values = {"sentence": sentence, "condition": condition}
        return gettext("%(sentence)s if %(condition)s") % values
    return str(sentence)
