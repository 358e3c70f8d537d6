"""What the expressions of a run see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.expressions import Scope


class RunScope(Scope):
    """What the expressions of a run see: always the present situation, nothing copied."""

    __slots__ = ("_context",)

    def __init__(self, context: RunContext) -> None:
        self._context = context

    obj = property(lambda self: self._context.object)
    state = property(lambda self: self._context.state.peek())
    now = property(lambda self: self._context.now.astimezone(self._context.time_zone))
    payload = property(lambda self: _payload(self._context))
    variables = property(lambda self: {})


def _payload(context: RunContext) -> Mapping[str, Any]:
    """Give the payload of the trigger that has just woken the run, or that started it."""
    wakeup = context.wakeup
    return wakeup.payload if wakeup is not None and wakeup.kind == "trigger" else context.payload
