"""Starting runs, firing triggers, resuming what is due: the names of the concept."""

from __future__ import annotations

from flowcontrol_core.management.worker import stopping_on_signals
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import SweepResult, continue_flowruns
from flowcontrol_core.runs.operations.operator_actions import cancel_flowrun
from flowcontrol_core.runs.queue.workers import wait_for_stop
from flowcontrol_core.runs.triggers.fire import trigger_flows

__all__ = [
    "SweepResult",
    "cancel_flowrun",
    "continue_flowruns",
    "create_flowrun",
    "start_flowrun",
    "stopping_on_signals",
    "trigger_flows",
    "wait_for_stop",
]
