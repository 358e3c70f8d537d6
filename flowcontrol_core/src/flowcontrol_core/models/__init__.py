"""The tables: fields, constraints and querysets; no engine logic."""

from __future__ import annotations

from flowcontrol_core.models.about import MAX_KEY, NO_OBJECT, about_object, database_of
from flowcontrol_core.models.flow import Flow, FlowVersion, LimitPolicy
from flowcontrol_core.models.flow_trigger import (
    FlowTrigger,
    Mode,
    Refusal,
    SkippedFiring,
    TriggerEvent,
)
from flowcontrol_core.models.operation import (
    BulkOperation,
    ConsumedSlot,
    FlowEvent,
    FlowOperation,
    Worker,
)
from flowcontrol_core.models.reasons import NO_REASON, Reason
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
    "MAX_KEY",
    "NO_OBJECT",
    "NO_REASON",
    "BulkOperation",
    "ConsumedSlot",
    "EventKind",
    "Flow",
    "FlowEvent",
    "FlowOperation",
    "FlowRun",
    "FlowTrigger",
    "FlowVersion",
    "LimitPolicy",
    "Message",
    "MessageKind",
    "Mode",
    "Outcome",
    "Reason",
    "Refusal",
    "Request",
    "RunEvent",
    "SkippedFiring",
    "Status",
    "TriggerEvent",
    "Worker",
    "about_object",
    "database_of",
]
