"""Starting runs, firing triggers, resuming what is due, and the verbs of an operator."""

from __future__ import annotations

from flowcontrol_core.runtime.firing import trigger_flows
from flowcontrol_core.runtime.health import Health, look
from flowcontrol_core.runtime.jobs import create_job
from flowcontrol_core.runtime.periodic import continue_flowruns
from flowcontrol_core.runtime.restarting import (
    check_move,
    edit_state,
    move_to_current_version,
    restart_at_step,
)
from flowcontrol_core.runtime.retention import Pruned, prune
from flowcontrol_core.runtime.starting import create_flowrun, start_flowrun
from flowcontrol_core.runtime.sweep import SweepResult
from flowcontrol_core.runtime.troubles import Trouble
from flowcontrol_core.runtime.verbs import (
    cancel_flowrun,
    pause_flowrun,
    release_held,
    resume_flowrun,
    retry_flowrun,
    run_now,
    send_to_step,
    skip_step,
)

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
