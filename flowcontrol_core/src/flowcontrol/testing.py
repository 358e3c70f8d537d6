"""For the tests of projects and plugins: runs in memory, a manual clock, a builder for flows."""

from __future__ import annotations

from flowcontrol_core.runs.queue.heartbeat import disconnect
from flowcontrol_core.runs.store.clock import ManualClock
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.contract import check_action
from flowcontrol_core.testing.helpers import (
    manual_clock,
    publish_flow,
    run_due,
    temporary_registry,
)
from flowcontrol_core.testing.memory import MemoryRun, run_flow

__all__ = [
    "ManualClock",
    "MemoryRun",
    "check_action",
    "disconnect",
    "flow",
    "manual_clock",
    "publish_flow",
    "run_due",
    "run_flow",
    "step",
    "temporary_registry",
]
