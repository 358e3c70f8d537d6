"""Registering actions and triggers, and finding what is registered by its key."""

from __future__ import annotations

from flowcontrol_core.actions.registry import (
    ActionEntry,
    Registry,
    TriggerEntry,
    register_action,
    register_trigger,
    registry,
)
from flowcontrol_core.actions.trigger import Trigger

__all__ = [
    "ActionEntry",
    "Registry",
    "Trigger",
    "TriggerEntry",
    "register_action",
    "register_trigger",
    "registry",
]
