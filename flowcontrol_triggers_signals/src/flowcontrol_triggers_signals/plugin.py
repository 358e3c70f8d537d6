"""The hooks of this plugin."""

from __future__ import annotations

from django.core import checks

from flowcontrol import hookimpl
from flowcontrol.conf import get_settings
from flowcontrol.registry import Trigger
from flowcontrol_triggers_signals import authentication
from flowcontrol_triggers_signals.checks import check_signal_models
from flowcontrol_triggers_signals.model_triggers import ModelTriggers
from flowcontrol_triggers_signals.receivers import connect_models
from flowcontrol_triggers_signals.signal_models import find_models

#: The triggers of each model that the project names; filled when the site starts.
model_triggers: list[ModelTriggers] = []


@hookimpl
def flowcontrol_triggers() -> list[Trigger]:
    model_triggers[:] = map(ModelTriggers, find_models(get_settings().SIGNAL_MODELS).models)
    of_models = [trigger for each in model_triggers for trigger in each.triggers]
    return [*of_models, authentication.logged_in, authentication.login_failed]


@hookimpl
def flowcontrol_ready() -> None:
    checks.register(check_signal_models, "flowcontrol")
    connect_models(model_triggers)
    authentication.connect()
