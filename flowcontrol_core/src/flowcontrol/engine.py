"""Starting runs, firing triggers, resuming what is due, and the verbs of an operator."""

from __future__ import annotations

from flowcontrol_core.runtime.firing import trigger_flows
from flowcontrol_core.runtime.starting import create_flowrun, start_flowrun
from flowcontrol_core.runtime.sweep import SweepResult, continue_flowruns
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
    "SweepResult",
    "cancel_flowrun",
    "continue_flowruns",
    "create_flowrun",
    "pause_flowrun",
    "release_held",
    "resume_flowrun",
    "retry_flowrun",
    "run_now",
    "send_to_step",
    "skip_step",
    "start_flowrun",
    "trigger_flows",
]
