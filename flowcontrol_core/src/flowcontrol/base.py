"""What the author of an action needs: the base class, and what its methods receive and return."""

from __future__ import annotations

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.context import RunContext, Wakeup
from flowcontrol_core.engine.directives import FlowDirective

__all__ = ["BaseAction", "BoundConfig", "Effects", "FlowDirective", "RunContext", "Wakeup"]
