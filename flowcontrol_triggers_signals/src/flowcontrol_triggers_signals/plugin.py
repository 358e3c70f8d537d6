"""The hooks of this plugin."""

from __future__ import annotations

from django.core import checks

from flowcontrol import hookimpl
from flowcontrol.registry import Trigger
from flowcontrol_triggers_signals import authentication
from flowcontrol_triggers_signals.checks import check_signal_models
from flowcontrol_triggers_signals.connecting import connect_models
from flowcontrol_triggers_signals.naming import find_models, named_models
from flowcontrol_triggers_signals.watching import WatchedModel

#: The models that the project names, each with its triggers; filled when the site starts.
watched: list[WatchedModel] = []


@hookimpl
def flowcontrol_triggers() -> list[Trigger]:
    watched[:] = [WatchedModel(model) for model in find_models(named_models()).models]
    triggers = [trigger for each in watched for trigger in each.triggers]
    return [*triggers, authentication.logged_in, authentication.login_failed]


@hookimpl
def flowcontrol_ready() -> None:
    checks.register(check_signal_models, "flowcontrol")
    connect_models(watched)
    authentication.connect()
