"""The tables: fields, constraints and querysets; no engine logic."""

from flowcontrol_core.models.flows import Flow, FlowVersion, LimitPolicy
from flowcontrol_core.models.runs import (
    EventKind,
    FlowRun,
    Message,
    MessageKind,
    Outcome,
    Request,
    RunEvent,
    Status,
)
from flowcontrol_core.models.triggers import Firing, FlowTrigger, Mode, Refusal, TriggerEvent

__all__ = [
    "EventKind",
    "Firing",
    "Flow",
    "FlowRun",
    "FlowTrigger",
    "FlowVersion",
    "LimitPolicy",
    "Message",
    "MessageKind",
    "Mode",
    "Outcome",
    "Refusal",
    "Request",
    "RunEvent",
    "Status",
    "TriggerEvent",
]
