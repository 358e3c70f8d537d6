"""The tables: fields, constraints and querysets; no engine logic."""

from __future__ import annotations

from flowcontrol_core.models.about import (
    MAX_KEY,
    NO_OBJECT,
    about_object,
    database_of,
    describe_object,
    why_nameless,
)
from flowcontrol_core.models.columns import DamagedJson
from flowcontrol_core.models.flow import Flow, FlowVersion, LimitPolicy
from flowcontrol_core.models.flow_edit import EditOperation, FlowEdit
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
    Handout,
    Worker,
)
from flowcontrol_core.models.reasons import NO_REASON, PAUSES, Reason
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
from flowcontrol_core.models.search import MOST_FOUND, MOST_READ

__all__ = [
    "LIVE",
    "MAX_KEY",
    "MOST_FOUND",
    "MOST_READ",
    "NO_OBJECT",
    "NO_REASON",
    "PAUSES",
    "BulkOperation",
    "ConsumedSlot",
    "DamagedJson",
    "EditOperation",
    "EventKind",
    "Flow",
    "FlowEdit",
    "FlowEvent",
    "FlowOperation",
    "FlowRun",
    "FlowTrigger",
    "FlowVersion",
    "Handout",
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
    "describe_object",
    "why_nameless",
]
