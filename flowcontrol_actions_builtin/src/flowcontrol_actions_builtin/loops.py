"""The loops: While and For."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.forms import ExpressionField
from flowcontrol_actions_builtin.control import GROUP
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.fields import StateKeyField
from flowcontrol_actions_builtin.values import typed_number, whole_number


class While(BaseAction):
    """Repeat the sub-steps as long as a condition is true."""

    name = "while"
    verbose_name = _("While loop")
    description = _("Executes its sub-steps again and again, as long as a condition is true.")
    group = GROUP
    effects = Effects.NONE
    has_children = True
    is_loop = True

    class Config(forms.Form):
        condition = ExpressionField(
            label=_("Condition"), help_text=_("Evaluated before each pass. Such as: tries < 3")
        )

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.enter() if config.condition else FlowDirective.CONTINUE

    def return_from_children(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.run(config=config)

    def summary(self, config: BoundConfig) -> str:
        return say("While %(condition)s") % {"condition": config.source("condition")}


class For(BaseAction):
    """Repeat the sub-steps a number of times, counting.

    The bounds are evaluated once and kept, with the counter, in the memo of the step: whatever
    happens to the state inside of the loop does not touch them.
    """

    name = "for"
    verbose_name = _("For loop")
    description = _("Executes its sub-steps a number of times, counting from start to end.")
    group = GROUP
    effects = Effects.NONE
    has_children = True
    is_loop = True

    class Config(forms.Form):
        start = ExpressionField(
            label=_("Start"),
            required=False,
            initial="0",
            help_text=_("The first value; a number or an expression. Empty means 0."),
        )
        end = ExpressionField(
            label=_("End"),
            help_text=_("The loop ends before this value: 0 to 3 are three passes, 0, 1 and 2."),
        )
        step = ExpressionField(
            label=_("Step"),
            required=False,
            initial="1",
            help_text=_("Added after each pass; negative to count down. Empty means 1."),
        )
        variable = StateKeyField(
            label=_("Variable"),
            help_text=_(
                "The key of the state that shows the counter inside of the loop; it is removed "
                "when the loop ends. Loops inside of loops need names of their own."
            ),
        )

        def clean_step(self) -> str:
            step = str(self.cleaned_data["step"])
            if typed_number(step) == 0:
                raise ValidationError(_("With a step of 0 the loop would never end."), code="zero")
            return step

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        step = _bound(config, "step", 1)
        if step == 0:
            raise ActionError("The step of the loop is 0: it would never end.")
        run.memo.update(value=_bound(config, "start", 0), end=_bound(config, "end", 0), step=step)
        return self._pass(run, config)

    def return_from_children(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        run.memo["value"] += run.memo["step"]
        return self._pass(run, config)

    def _pass(self, run: RunContext, config: Any) -> FlowDirective:
        value, end = run.memo["value"], run.memo["end"]
        if value >= end if run.memo["step"] > 0 else value <= end:
            return FlowDirective.CONTINUE
        if config.variable:
            run.set_variable(config.variable, value)
        return self.enter()

    def summary(self, config: BoundConfig) -> str:
        values = {
            "variable": config.source("variable"),
            "start": config.source("start") or "0",
            "end": config.source("end"),
            "step": config.source("step") or "1",
        }
        if values["variable"]:
            sentence = say("For %(variable)s from %(start)s until %(end)s is reached")
        else:
            sentence = say("Count from %(start)s until %(end)s is reached")
        if values["step"] != "1":
            sentence += say(", in steps of %(step)s")
        return sentence % values


_BOUNDS = {"start": "The start of the loop", "end": "The end of the loop", "step": "The step"}


def _bound(config: Any, name: str, default: int) -> int:
    if not config.source(name):
        return default
    return whole_number(getattr(config, name), f"{_BOUNDS[name]} ({config.source(name)})")
