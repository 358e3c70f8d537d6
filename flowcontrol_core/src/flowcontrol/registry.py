"""Registering actions and triggers, and finding them by key."""

from __future__ import annotations

from flowcontrol_core.actions.registry import Registry, register_action, register_trigger, registry
from flowcontrol_core.actions.trigger import Trigger

__all__ = ["Registry", "Trigger", "register_action", "register_trigger", "registry"]
