"""The error of the built-in actions."""

from __future__ import annotations

from flowcontrol.errors import FlowcontrolError


class ActionError(FlowcontrolError):
    """A value that a step was given at run time makes no sense; the message says which and why."""
