"""The models of flows and runs, for queries; they are written only through functions."""

from __future__ import annotations

from flowcontrol_core.models import (
    LIVE,
    BulkOperation,
    EventKind,
    Flow,
    FlowEvent,
    FlowOperation,
    FlowRun,
    FlowTrigger,
    FlowVersion,
    LimitPolicy,
    Mode,
    Outcome,
    Reason,
    Refusal,
    RunEvent,
    SkippedFiring,
    Status,
    TriggerEvent,
    Worker,
)

__all__ = [
    "LIVE",
    "BulkOperation",
    "EventKind",
    "Flow",
    "FlowEvent",
    "FlowOperation",
    "FlowRun",
    "FlowTrigger",
    "FlowVersion",
    "LimitPolicy",
    "Mode",
    "Outcome",
    "Reason",
    "Refusal",
    "RunEvent",
    "SkippedFiring",
    "Status",
    "TriggerEvent",
    "Worker",
]
