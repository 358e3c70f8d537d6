"""The actions that change the state of the run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, BoundConfig, Effects, RunContext
from flowcontrol.forms import JSONExpressionField
from flowcontrol_actions_builtin.forms import ConfigForm, evaluate_field
from flowcontrol_actions_builtin.values import cut


class _UpdateForm(ConfigForm):
    state = JSONExpressionField(
        label=_("State"),
        help_text=_("A JSON object. Sets its keys; all other keys stay as they are."),
    )
    evaluate = evaluate_field()


class _SetForm(_UpdateForm):
    state = JSONExpressionField(
        label=_("State"),
        required=False,
        help_text=_("A JSON object. Replaces the whole state."),
    )


class UpdateState(BaseAction):
    """Set some keys of the state."""

    name = "update_state"
    icon = "braces"
    verbose_name = _("Update state")
    description = _("Sets keys of the state of the run; all other keys stay as they are.")
    group = _("State")
    effects = Effects.NONE
    Config = _UpdateForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> None:
        run.state.update(config.state)

    def sets_state(self, config: BoundConfig) -> Iterable[str]:
        return list(config.source("state"))

    def summary(self, config: BoundConfig) -> str:
        return gettext("Set %(values)s") % {"values": _listed(config)}


class SetState(UpdateState):
    """Replace the whole state."""

    name = "set_state"
    verbose_name = _("Set state")
    description = _("Replaces the whole state of the run with a JSON object.")
    Config = _SetForm

    def run(self, *, run: RunContext, config: Any, **_: Any) -> None:
        run.state.replace(config.state)

    def summary(self, config: BoundConfig) -> str:
        if not config.source("state"):
            return gettext("Clear the state")
        return gettext("Replace the state with %(values)s") % {"values": _listed(config)}


def _listed(config: BoundConfig) -> str:
    values = config.source("state").items()
    return cut(", ".join(f"{key} = {_short(value)}" for key, value in values), 200)


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return cut(str(value), 40)
