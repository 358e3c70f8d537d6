"""The loops: While and For."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BoundConfig, FlowDirective, RunContext
from flowcontrol.forms import ExpressionField
from flowcontrol_actions_builtin.control import ConditionForm, ControlAction
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.forms import StateKeyField
from flowcontrol_actions_builtin.summaries import join_phrases
from flowcontrol_actions_builtin.values import typed_number, whole_number


class While(ControlAction):
    """Repeat the sub-steps as long as a condition is true."""

    name = "while"
    icon = "repeat"
    verbose_name = _("While loop")
    description = _("Repeats its sub-steps while a condition is true, checked before each pass.")
    has_children = True
    branch_labels = {"body": _("Each time")}
    is_loop = True
    Config = ConditionForm

    def run(self, *, config: Any, **_: Any) -> FlowDirective:
        return self.enter() if config.condition else FlowDirective.CONTINUE

    return_from_children = run

    def summary(self, config: BoundConfig) -> str:
        return gettext("While %(condition)s") % {"condition": config.source("condition")}


class For(ControlAction):
    """Repeat the sub-steps a number of times, counting.

    The bounds are evaluated once; they and the counter are in the memo of the step, so that a
    change of the state inside of the loop does not affect them.
    """

    name = "for"
    icon = "repeat"
    verbose_name = _("For loop")
    description = _("Repeats its sub-steps a number of times, counting from start to end.")
    has_children = True
    branch_labels = {"body": _("Each time")}
    is_loop = True

    class Config(forms.Form):
        start = ExpressionField(
            label=pgettext_lazy("counting", "Start"),
            required=False,
            initial="0",
            help_text=_("The first value: a number or an expression. Leave empty for 0."),
        )
        end = ExpressionField(
            label=pgettext_lazy("counting", "End"),
            help_text=_("The loop ends before this value: 0 to 3 makes three passes, 0, 1 and 2."),
        )
        step = ExpressionField(
            label=pgettext_lazy("counting", "Step"),
            required=False,
            initial="1",
            help_text=_("Added after each pass; negative to count down. Leave empty for 1."),
        )
        variable = StateKeyField(
            label=_("Variable"),
            help_text=_("A key of the state for the counter; nested loops need different keys."),
        )

        def clean_step(self) -> str:
            step = str(self.cleaned_data["step"])
            if typed_number(step) == 0:
                raise ValidationError(_("With a step of 0, the loop would never end."), code="zero")
            return step

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        start, end = self._bound(config, "start"), self._bound(config, "end")
        step = self._bound(config, "step", 1)
        if step == 0:
            raise ActionError(gettext("The step of the loop is 0; the loop would never end."))
        run.memo.update(value=start, end=end, step=step)
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

    def check_memo(self, memo: Mapping[str, Any]) -> Iterable[str]:
        for name in ("value", "end", "step"):
            if type(memo.get(name)) is not int:
                yield gettext("“%(name)s” has to be a whole number.") % {"name": name}
        if memo.get("step") == 0:
            yield gettext("The step of the loop is 0; the loop would never end.")

    def sets_variables(self, config: BoundConfig) -> Iterable[str]:
        return filter(None, [config.source("variable")])

    def _bound(self, config: Any, name: str, default: int = 0) -> int:
        source = config.source(name)
        named = {"field": self.Config.base_fields[name].label, "source": source}
        what = gettext("“%(field)s” (%(source)s)") % named
        return whole_number(getattr(config, name), what) if source else default

    def summary(self, config: BoundConfig) -> str:
        values = {
            "variable": config.source("variable"),
            "start": config.source("start") or "0",
            "end": config.source("end"),
            "step": config.source("step") or "1",
        }
        return join_phrases(
            values,
            gettext("For %(variable)s from %(start)s until %(end)s is reached")
            if values["variable"]
            else gettext("Count from %(start)s until %(end)s is reached"),
            gettext("in steps of %(step)s") if values["step"] != "1" else "",
        )
