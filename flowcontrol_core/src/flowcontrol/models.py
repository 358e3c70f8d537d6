"""The tables of flows and runs, to query and to join; only the framework writes them."""

from __future__ import annotations

from flowcontrol_core.models import (
    LIVE,
    MAX_LIMIT,
    BulkOperation,
    EventKind,
    Flow,
    FlowEvent,
    FlowRun,
    FlowTrigger,
    FlowVersion,
    LimitPolicy,
    Mode,
    Outcome,
    Refusal,
    RunEvent,
    SkippedFiring,
    Status,
    Worker,
)

__all__ = [
    "LIVE",
    "MAX_LIMIT",
    "BulkOperation",
    "EventKind",
    "Flow",
    "FlowEvent",
    "FlowRun",
    "FlowTrigger",
    "FlowVersion",
    "LimitPolicy",
    "Mode",
    "Outcome",
    "Refusal",
    "RunEvent",
    "SkippedFiring",
    "Status",
    "Worker",
]
