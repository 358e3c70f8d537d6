"""What the author of an action needs: the base class, and what its methods get and give."""

from __future__ import annotations

from flowcontrol_core.engine.directives import FlowDirective
from flowcontrol_core.plugins.actions import BaseAction, Effects
from flowcontrol_core.plugins.config import BoundConfig
from flowcontrol_core.plugins.context import RunContext, Wakeup

__all__ = ["BaseAction", "BoundConfig", "Effects", "FlowDirective", "RunContext", "Wakeup"]
