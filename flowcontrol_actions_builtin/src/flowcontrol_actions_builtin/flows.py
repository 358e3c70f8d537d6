"""The action that starts another flow."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime
from typing import Any

from django import forms
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.engine import create_flowrun
from flowcontrol.errors import NotStartedError, UnknownFlowError
from flowcontrol.forms import ExpressionField, FlowField, JSONExpressionField, MappingField
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.fields import (
    UNITS,
    DefaultChoiceField,
    StateKeyField,
    UnitField,
    label_of,
)
from flowcontrol_actions_builtin.reckoning import Unit, read_moment, shift
from flowcontrol_actions_builtin.state import EVALUATE_HELP, EvaluatedForm
from flowcontrol_actions_builtin.values import whole_number

OBJECTS: list[tuple[str, Any]] = [
    ("same", _("the object of this run")),
    ("none", _("no object")),
]
STATES: list[tuple[str, Any]] = [
    ("empty", _("an empty one")),
    ("copy", _("a copy of this run's state")),
]
TIMES: list[tuple[str, Any]] = [
    ("now", _("at once")),
    ("delay", _("after an amount of time")),
    ("at", _("at a date")),
]
POLICIES: list[tuple[str, Any]] = [
    ("continue", _("go on; the result says so")),
    ("fail", _("this step fails")),
]
FAILURES: list[tuple[str, Any]] = [
    ("continue", _("go on")),
    ("fail", _("this step fails")),
]
_REQUIRED = {"delay": "delay", "at": "date"}


class _StartForm(EvaluatedForm):
    flow = FlowField(label=_("Flow"))
    object = DefaultChoiceField(choices=OBJECTS, label=_("With"))
    state = DefaultChoiceField(choices=STATES, label=_("State"))
    initial_state = JSONExpressionField(
        label=_("Initial state"),
        required=False,
        help_text=_("A JSON object, added to that state."),
    )
    evaluate = forms.BooleanField(
        label=_("Evaluate texts"), required=False, help_text=EVALUATE_HELP
    )
    when = DefaultChoiceField(choices=TIMES, label=_("Start"))
    delay = ExpressionField(
        label=_("Amount"), required=False, help_text=_("A whole number or an expression.")
    )
    delay_unit = UnitField(initial=Unit.DAYS)
    date = ExpressionField(
        label=_("Date"),
        required=False,
        help_text=_("A date, a date with time, or the text of one."),
    )
    wait = forms.BooleanField(
        label=_("Wait for its end"),
        required=False,
        help_text=_("This run goes on when the other one has ended."),
    )
    result_key = StateKeyField(
        label=_("Result"),
        help_text=_(
            'A key of the state for {"started": true, "run": …}, after waiting with '
            '"outcome" and "state"; or {"started": false, "reason": …, "message": …}.'
        ),
    )
    output = MappingField(
        label=_("Values from its result"),
        required=False,
        help_text=_(
            "Lines such as “total: result.total|add:1”: keys of this run's state, set when the "
            "other one has ended. Expressions see its state as “result” and its outcome as "
            "“outcome”."
        ),
    )
    on_refused = DefaultChoiceField(
        choices=POLICIES,
        label=_("If it is refused"),
        help_text=_("A flow is refused while it is inactive or a limit is reached."),
    )
    on_failed = DefaultChoiceField(
        choices=FAILURES,
        label=_("If it ends otherwise than complete"),
        help_text=_("Aborted, with an error, obsolete or canceled; only where it is waited for."),
    )
    evaluated = ("initial_state",)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        needed = _REQUIRED.get(cleaned.get("when", ""))
        if needed and needed not in self.errors and not cleaned.get(needed):
            self.add_error(
                needed,
                forms.ValidationError(
                    _("Starting “%(when)s” needs this."),
                    code="required",
                    params={"when": label_of(TIMES, cleaned["when"])},
                ),
            )
        if cleaned.get("output") and not cleaned.get("wait"):
            text = _("Only a run whose end is waited for gives values: tick “Wait for its end”.")
            self.add_error("output", forms.ValidationError(text, code="no_wait"))
        return cleaned


class StartFlow(BaseAction):
    """Start a run of another flow, and maybe wait for its end."""

    name = "start_flow"
    verbose_name = _("Start new flow")
    description = _("Starts a run of another flow, at once or later, and can wait for its end.")
    group = _("Flows")
    effects = Effects.DATABASE
    Config = _StartForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> FlowDirective:
        if "child" in run.memo:
            return self._take_result(run, config)
        try:
            child = create_flowrun(
                config.flow,
                run.object if config.object == "same" else None,
                _initial_state(run, config),
                parent=run,
                at=_start_time(run, config),
            )
        except (NotStartedError, UnknownFlowError) as error:
            return self._refused(run, config, error)
        _keep(run, config, {"started": True, "run": str(child.uuid)})
        if not config.wait:
            return FlowDirective.CONTINUE
        run.memo["child"] = str(child.uuid)
        return run.suspend(child=child, repeat=True)

    def _take_result(self, run: RunContext, config: Any) -> FlowDirective:
        wakeup = run.wakeup
        # A call that was tried again after an error has a wake-up too, of the kind "time".
        if wakeup is None or wakeup.kind not in ("child", "operator"):
            return run.suspend(child=run.memo["child"], repeat=True)
        result: dict[str, Any] = {"started": True, "run": run.memo["child"]}
        if wakeup.kind == "operator":
            run.log(say("An operator ended the waiting for the run %(run)s.") % result)
            _keep(run, config, result)
            return FlowDirective.CONTINUE
        if wakeup.outcome != "complete" and config.on_failed == "fail":
            raise ActionError(
                f"The run {run.memo['child']} of the flow {config.flow!r} ended as "
                f"{wakeup.outcome}. Take that one up again and retry this step, or skip it."
            )
        state = dict(wakeup.result)
        _keep(run, config, {**result, "outcome": wakeup.outcome, "state": state})
        run.state.update(config.output(result=state, outcome=wakeup.outcome))
        return FlowDirective.CONTINUE

    def _refused(
        self, run: RunContext, config: Any, error: NotStartedError | UnknownFlowError
    ) -> FlowDirective:
        if config.on_refused == "fail":
            raise error
        reason = error.reason if isinstance(error, NotStartedError) else "unknown"
        run.log(
            say("The flow “%(flow)s” was not started: %(error)s")
            % {"flow": config.flow, "error": error}
        )
        _keep(run, config, {"started": False, "reason": reason, "message": str(error)})
        return FlowDirective.CONTINUE

    def starts_flows(self, config: BoundConfig) -> Iterable[str]:
        return [config.source("flow")]

    def summary(self, config: BoundConfig) -> str:
        values = {
            "flow": config.source("flow"),
            "amount": config.source("delay"),
            "unit": label_of(UNITS, config.source("delay_unit")),
            "date": config.source("date"),
        }
        sentence = {
            "delay": say("Start the flow “%(flow)s” in %(amount)s %(unit)s"),
            "at": say("Start the flow “%(flow)s” at %(date)s"),
        }.get(config.source("when"), say("Start the flow “%(flow)s”")) % values
        if not config.source("wait"):
            return sentence
        keys = ", ".join(config.source("output") or ())
        return sentence + (
            say(" and wait for its end, which sets %(keys)s") % {"keys": keys}
            if keys
            else say(" and wait for its end")
        )


def _initial_state(run: RunContext, config: Any) -> dict[str, Any]:
    """Give a state that shares nothing with this run's."""
    inherited = dict(run.state.peek()) if config.state == "copy" else {}
    return deepcopy({**inherited, **config.initial_state})


def _start_time(run: RunContext, config: Any) -> datetime | None:
    if config.when == "delay":
        amount = whole_number(config.delay, say("The amount of time"))
        if amount < 0:
            raise ActionError(f"The amount of time is {amount}; it has to be 0 or more.")
        return shift(run.now, amount, Unit(config.delay_unit), run.time_zone)
    if config.when == "at":
        return read_moment(config.date, run.time_zone)
    return None


def _keep(run: RunContext, config: Any, result: dict[str, Any]) -> None:
    if config.result_key:
        run.state[config.result_key] = result
