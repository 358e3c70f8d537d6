"""The tables: fields, constraints and querysets; no engine logic."""

from __future__ import annotations

from flowcontrol_core.models.flow import MAX_LIMIT, Flow, FlowVersion, LimitPolicy
from flowcontrol_core.models.flow_trigger import (
    FlowTrigger,
    Mode,
    Refusal,
    SkippedFiring,
    TriggerEvent,
)
from flowcontrol_core.models.operation import BulkOperation, ConsumedSlot, FlowEvent, Worker
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
    "BulkOperation",
    "ConsumedSlot",
    "EventKind",
    "Flow",
    "FlowEvent",
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
    "SkippedFiring",
    "Status",
    "TriggerEvent",
    "Worker",
]
