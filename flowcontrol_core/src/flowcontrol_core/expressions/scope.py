"""What an expression sees: the run's object and state, the time, and a trigger's payload."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError, gettext

OBJECT_NAMES = frozenset({"object", "obj"})
RESERVED_NAMES = OBJECT_NAMES | {"state", "now", "payload"}

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Scope:
    """The values of the names of an expression; nothing is copied or read on building.

    ``object`` and ``obj`` are the model object (or None), ``state`` the run's state, whose keys are
    also names of their own; ``variables`` are further names that go before the keys of the state.
    Neither shadows ``object``, ``obj``, ``state``, ``now`` and ``payload``.
    ``secrets`` are those of the present call by name, for fields of a configuration: no expression
    sees them. ``now`` is an aware datetime. ``obj`` may be a lazy object; a subclass may make it a
    property. ``steps`` are those that are left of the present evaluation.
    """

    __slots__ = ("now", "obj", "payload", "secrets", "state", "steps", "variables")

    def __init__(
        self,
        *,
        obj: Any = None,
        state: Mapping[str, Any] = _NOTHING,
        now: datetime,
        payload: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] = _NOTHING,
        secrets: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.obj = obj
        self.secrets = secrets
        self.state = state
        self.now = now
        self.payload = payload
        self.steps = bounds.EVALUATION_STEPS
        self.variables = variables

    def spend(self, steps: int) -> None:
        """Take steps off the budget. Raises ExpressionError where it is exceeded."""
        self.steps -= steps
        if self.steps < 0:
            message = gettext(
                "The evaluation takes more than %(limit)s steps. Use fewer loops and filters, or "
                "smaller values."
            )
            raise ExpressionError(message % {"limit": f"{bounds.EVALUATION_STEPS:,}"})


class ExtendedScope(Scope):
    """A scope with further variables; the object stays as lazy as it was."""

    __slots__ = ("_base",)

    def __init__(self, base: Scope, variables: Mapping[str, Any] = _NOTHING) -> None:
        self._base = base
        self.state = base.state
        self.now = base.now
        self.payload = base.payload
        self.steps = bounds.EVALUATION_STEPS
        self.variables = {**base.variables, **variables}

    @property
    def obj(self) -> Any:  # an attribute of the base class; here it is read only
        return self._base.obj
