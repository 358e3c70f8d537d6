"""Starting runs, firing triggers, resuming what is due, and the verbs of an operator."""

from __future__ import annotations

from flowcontrol_core.health import Health, HealthIssue, check_health
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import SweepResult, continue_flowruns
from flowcontrol_core.runs.operations.bulk import start_bulk_operation
from flowcontrol_core.runs.operations.control import (
    cancel_flowrun,
    go_to_step,
    pause_flowrun,
    resume_flowrun,
    resume_paused_runs,
    retry_flowrun,
    run_now,
    skip_step,
)
from flowcontrol_core.runs.operations.restarts import (
    check_move,
    edit_state,
    move_to_current_version,
    restart_at_step,
)
from flowcontrol_core.runs.operations.retention import Pruned, prune
from flowcontrol_core.runs.triggers.fire import trigger_flows

__all__ = [
    "Health",
    "HealthIssue",
    "Pruned",
    "SweepResult",
    "cancel_flowrun",
    "check_health",
    "check_move",
    "continue_flowruns",
    "create_flowrun",
    "edit_state",
    "go_to_step",
    "move_to_current_version",
    "pause_flowrun",
    "prune",
    "restart_at_step",
    "resume_flowrun",
    "resume_paused_runs",
    "retry_flowrun",
    "run_now",
    "skip_step",
    "start_bulk_operation",
    "start_flowrun",
    "trigger_flows",
]
