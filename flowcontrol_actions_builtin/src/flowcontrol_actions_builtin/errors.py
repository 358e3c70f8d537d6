"""The error of the built-in actions."""

from __future__ import annotations

from flowcontrol.errors import FlowcontrolError


class ActionError(FlowcontrolError):
    """A step cannot use a value that it was given at run time; the message says which and why."""
