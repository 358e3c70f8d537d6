"""The tables: fields, constraints and querysets; no engine logic."""

from __future__ import annotations

from flowcontrol_core.models.flows import MAX_LIMIT, Flow, FlowVersion, LimitPolicy
from flowcontrol_core.models.operations import FlowEvent, Job, SpentSlot, Worker
from flowcontrol_core.models.runs import (
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
from flowcontrol_core.models.triggers import Firing, FlowTrigger, Mode, Refusal, TriggerEvent

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
