"""The tables: fields, constraints and querysets; no engine logic."""

from __future__ import annotations

from flowcontrol_core.models.flow import MAX_LIMIT, Flow, FlowVersion, LimitPolicy
from flowcontrol_core.models.flow_trigger import Firing, FlowTrigger, Mode, Refusal, TriggerEvent
from flowcontrol_core.models.operation import FlowEvent, Job, SpentSlot, Worker
from flowcontrol_core.models.run import (
    LIVE,
    EventKind,
    FlowRun,
    Message,
    MessageKind,
    Outcome,
    Request,
    RunEvent,
    Status,
)

__all__ = [
    "LIVE",
    "MAX_LIMIT",
    "EventKind",
    "Firing",
    "Flow",
    "FlowEvent",
    "FlowRun",
    "FlowTrigger",
    "FlowVersion",
    "Job",
    "LimitPolicy",
    "Message",
    "MessageKind",
    "Mode",
    "Outcome",
    "Refusal",
    "Request",
    "RunEvent",
    "SpentSlot",
    "Status",
    "TriggerEvent",
    "Worker",
]
