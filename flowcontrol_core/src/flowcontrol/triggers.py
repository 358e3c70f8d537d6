"""Triggers: declaring events, and firing them."""

from __future__ import annotations

from flowcontrol_core.actions.registry import register_trigger
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.runs.triggers.fire import trigger_flows
from flowcontrol_core.runs.triggers.result import FiringOutcome, FiringResult, RefusedFlow

__all__ = [
    "FiringOutcome",
    "FiringResult",
    "RefusedFlow",
    "Trigger",
    "register_trigger",
    "trigger_flows",
]
