"""Starting runs, firing triggers, resuming what is due, and the verbs of an operator."""

from __future__ import annotations

from flowcontrol_core.health import Health, Trouble, look
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import SweepResult, continue_flowruns
from flowcontrol_core.runs.operations.bulk import create_job
from flowcontrol_core.runs.operations.control import (
    cancel_flowrun,
    pause_flowrun,
    release_held,
    resume_flowrun,
    retry_flowrun,
    run_now,
    send_to_step,
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
    "Pruned",
    "SweepResult",
    "Trouble",
    "cancel_flowrun",
    "check_move",
    "continue_flowruns",
    "create_flowrun",
    "create_job",
    "edit_state",
    "look",
    "move_to_current_version",
    "pause_flowrun",
    "prune",
    "release_held",
    "restart_at_step",
    "resume_flowrun",
    "retry_flowrun",
    "run_now",
    "send_to_step",
    "skip_step",
    "start_flowrun",
    "trigger_flows",
]
