"""The actions that change the state of the run."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, RunContext
from flowcontrol.forms import JSONExpressionField, check_texts

GROUP = _("State")
EVALUATE_HELP = _(
    'Texts, at any depth, are expressions: "object.name|upper" or "state.tries|add:1". '
    "To mean a text itself, quote it inside: \"'welcome'\"."
)


class EvaluatedForm(forms.Form):
    """A form with the checkbox ``evaluate``, which its JSON fields obey.

    ``evaluated`` names these fields.
    """

    evaluated: tuple[str, ...] = ()

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or self.cleaned_data)
        if cleaned.get("evaluate"):
            for name in self.evaluated:
                self._check(name, cleaned.get(name))
        return cleaned

    def _check(self, name: str, value: Any) -> None:
        try:
            check_texts(value)
        except forms.ValidationError as error:
            self.add_error(name, error)


class _SetForm(EvaluatedForm):
    state = JSONExpressionField(
        label=_("State"),
        required=False,
        help_text=_("A JSON object. It replaces the whole state."),
    )
    evaluate = forms.BooleanField(
        label=_("Evaluate texts"), required=False, help_text=EVALUATE_HELP
    )
    evaluated = ("state",)


class _UpdateForm(EvaluatedForm):
    state = JSONExpressionField(
        label=_("State"),
        help_text=_("A JSON object. Its keys are set, all others stay as they are."),
    )
    evaluate = forms.BooleanField(
        label=_("Evaluate texts"), required=False, help_text=EVALUATE_HELP
    )
    evaluated = ("state",)


class SetState(BaseAction):
    """Replace the whole state."""

    name = "set_state"
    verbose_name = _("Set state")
    description = _("Replaces the whole state of the run by a JSON object.")
    group = GROUP
    effects = Effects.NONE
    Config = _SetForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> None:
        run.state.replace(config.state)

    def summary(self, config: BoundConfig) -> str:
        values = config.source("state")
        if not values:
            return say("Clear the state")
        return say("Replace the state by %(values)s") % {"values": _listed(values)}


class UpdateState(BaseAction):
    """Set some keys of the state."""

    name = "update_state"
    verbose_name = _("Update state")
    description = _("Sets keys of the state of the run; all others stay as they are.")
    group = GROUP
    effects = Effects.NONE
    Config = _UpdateForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> None:
        run.state.update(config.state)

    def summary(self, config: BoundConfig) -> str:
        return say("Set %(values)s") % {"values": _listed(config.source("state") or {})}


def _listed(values: dict[str, Any]) -> str:
    shown = ", ".join(f"{key} = {_short(value)}" for key, value in values.items())
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return str(value) if len(str(value)) <= 40 else f"{str(value)[:37]}..."
