"""The hooks of this plugin."""

from __future__ import annotations

from flowcontrol import hookimpl
from flowcontrol.base import BaseAction
from flowcontrol.expressions import ExpressionFilter, ExpressionFunction
from flowcontrol_actions_builtin.control import If, LeaveBranch, ReturnToAction, StopFlow
from flowcontrol_actions_builtin.delay import Delay
from flowcontrol_actions_builtin.filters import FILTERS
from flowcontrol_actions_builtin.flows import StartFlow
from flowcontrol_actions_builtin.loops import For, While
from flowcontrol_actions_builtin.mail import SendEmail
from flowcontrol_actions_builtin.state import SetState, UpdateState
from flowcontrol_actions_builtin.triggers import WaitForTrigger


@hookimpl
def flowcontrol_actions() -> list[type[BaseAction]]:
    return [
        If,
        While,
        For,
        ReturnToAction,
        LeaveBranch,
        StopFlow,
        SetState,
        UpdateState,
        StartFlow,
        Delay,
        WaitForTrigger,
        SendEmail,
    ]


@hookimpl
def flowcontrol_filters() -> list[ExpressionFilter | ExpressionFunction]:
    return [*FILTERS]
