"""The action that starts another flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.engine import create_flowrun
from flowcontrol.errors import NotStartedError, UnknownFlowError
from flowcontrol.forms import ExpressionField, FlowField, JSONExpressionField, MappingField
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.forms import (
    ConfigForm,
    DefaultChoiceField,
    StateKeyField,
    evaluate_field,
    unit_field,
)
from flowcontrol_actions_builtin.summaries import describe_duration, join_phrases
from flowcontrol_actions_builtin.values import end_of_duration, read_datetime, store_result


class _StartForm(ConfigForm):
    flow = FlowField(label=_("Flow"))
    object = DefaultChoiceField(
        choices=[("same", _("the object of this run")), ("none", _("no object"))],
        label=_("Object"),
    )
    state = DefaultChoiceField(
        choices=[("empty", _("an empty state")), ("copy", _("a copy of the state of this run"))],
        label=_("State"),
    )
    initial_state = JSONExpressionField(
        label=_("Initial state"), required=False, help_text=_("A JSON object, added to that state.")
    )
    evaluate = evaluate_field()
    when = DefaultChoiceField(
        choices=[
            ("now", _("immediately")),
            ("delay", _("after an amount of time")),
            ("at", _("at a date")),
        ],
        label=_("Start"),
    )
    delay = ExpressionField(
        label=_("Amount"), required=False, help_text=_("A whole number or an expression.")
    )
    delay_unit = unit_field()
    date = ExpressionField(
        label=_("Date"), required=False, help_text=_("A date, a date with time, or its text.")
    )
    wait = forms.BooleanField(
        label=_("Wait for its end"), required=False, help_text=_("This run continues after it.")
    )
    result_key = StateKeyField(
        label=_("Result"),
        help_text=_(
            'Receives {"started": true, "run": …}, after a wait also "outcome" and "state"; or '
            '{"started": false, "reason": …, "message": …}.'
        ),
    )
    output = MappingField(
        names=("result", "outcome"),
        label=_("Values from its result"),
        required=False,
        help_text=_(
            "Lines such as “total: result.total + 1” set keys of the state after a wait. They "
            "can use the state of the other run as “result” and its outcome as “outcome”."
        ),
    )
    on_refused = DefaultChoiceField(
        choices=[("continue", _("continue")), ("fail", _("fail this step"))],
        label=_("If the flow is refused"),
        help_text=_("A flow is refused while it is inactive or at a limit; the result records it."),
    )
    on_failed = DefaultChoiceField(
        choices=[("continue", _("continue")), ("fail", _("fail this step"))],
        label=_("If it does not complete"),
        help_text=_("After a wait: aborted, errored, obsolete or canceled."),
    )
    needs = {"when": {"delay": "delay", "at": "date"}}

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("output") and not self.cleaned_data.get("wait"):
            text = _("Values are only available after a wait: tick “Wait for its end”.")
            self.add_error("output", forms.ValidationError(text, code="no_wait"))


class StartFlow(BaseAction):
    """Start a run of another flow, and optionally wait for its end."""

    name = "start_flow"
    icon = "flow"
    verbose_name = _("Start new flow")
    description = _("Starts a run of another flow, now or later, and can wait for its end.")
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
        store_result(run, config, {"started": True, "run": str(child.uuid)})
        if not config.wait:
            return FlowDirective.CONTINUE
        run.memo["child"] = str(child.uuid)
        return run.suspend(child=child, repeat=True)

    def check_memo(self, memo: Mapping[str, Any]) -> Iterable[str]:
        try:
            UUID(memo.get("child", str(UUID(int=0))))
        except (AttributeError, TypeError, ValueError):
            yield gettext("“%(name)s” has to be the UUID of a run.") % {"name": "child"}

    def _take_result(self, run: RunContext, config: Any) -> FlowDirective:
        wakeup = run.wakeup
        if wakeup is None:
            return run.suspend(child=run.memo["child"], repeat=True)
        result: dict[str, Any] = {"started": True, "run": run.memo["child"]}
        if wakeup.kind == "operator":
            run.log(gettext("An operator ended the wait for the run %(run)s.") % result)
            store_result(run, config, result)
            return FlowDirective.CONTINUE
        if wakeup.outcome != "complete" and config.on_failed == "fail":
            values = {**result, "flow": config.flow, "outcome": wakeup.outcome}
            problem = gettext(
                "The run %(run)s of the flow “%(flow)s” ended as %(outcome)s. Retry it, then this "
                "step, or skip this step."
            )
            raise ActionError(problem % values)
        state = dict(wakeup.result)
        store_result(run, config, {**result, "outcome": wakeup.outcome, "state": state})
        run.state.update(config.output(result=state, outcome=wakeup.outcome))
        return FlowDirective.CONTINUE

    def _refused(
        self, run: RunContext, config: Any, error: NotStartedError | UnknownFlowError
    ) -> FlowDirective:
        if config.on_refused == "fail":
            raise error
        reason = error.reason if isinstance(error, NotStartedError) else "unknown"
        values = {"flow": config.flow, "error": error}
        run.log(gettext("The flow “%(flow)s” was not started: %(error)s") % values)
        store_result(run, config, {"started": False, "reason": reason, "message": str(error)})
        return FlowDirective.CONTINUE

    def sets_state(self, config: BoundConfig) -> Iterable[str]:
        return [config.source("result_key") or "", *(config.source("output") or ())]

    def starts_flows(self, config: BoundConfig) -> Iterable[str]:
        return [config.source("flow")]

    def summary(self, config: BoundConfig) -> str:
        values = {
            "flow": config.source("flow"),
            "duration": describe_duration(config, "delay", "delay_unit"),
            "date": config.source("date"),
            "given": ", ".join(config.source("initial_state") or ()),
            "keys": ", ".join(config.source("output") or ()),
        }
        sentences = {
            "now": gettext("Start the flow “%(flow)s”"),
            "delay": gettext("Start the flow “%(flow)s” in %(duration)s"),
            "at": gettext("Start the flow “%(flow)s” at %(date)s"),
        }
        return join_phrases(
            values,
            sentences[config.source("when")],
            *(
                text
                for name, chosen, text in (
                    ("object", "none", gettext("without an object")),
                    ("state", "copy", gettext("with a copy of the state")),
                    ("on_refused", "fail", gettext("fail if it is refused")),
                    ("wait", True, gettext("wait for its end")),
                    ("on_failed", "fail", gettext("fail if it does not complete")),
                )
                if config.source(name) == chosen
            ),
            gettext("with %(given)s") if values["given"] else "",
            gettext("set %(keys)s") if values["keys"] else "",
        )


def _initial_state(run: RunContext, config: Any) -> dict[str, Any]:
    """Return a state that shares nothing with the state of this run."""
    inherited = dict(run.state.peek()) if config.state == "copy" else {}
    return deepcopy({**inherited, **config.initial_state})


def _start_time(run: RunContext, config: Any) -> datetime | None:
    if config.when == "delay":
        return end_of_duration(run, config.delay, config.delay_unit)
    return read_datetime(config.date, run.time_zone) if config.when == "at" else None
