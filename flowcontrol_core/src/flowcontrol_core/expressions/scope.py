"""What an expression sees: the run's object and state, the time, and a trigger's payload."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

RESERVED_NAMES = frozenset({"object", "obj", "state", "now", "payload"})

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Scope:
    """The values behind the names of an expression; nothing is copied or looked up on building.

    ``object`` and ``obj`` are the model object (or None), ``state`` the run's state, whose keys are
    also names of their own; ``variables`` are further names that go before the keys of the state.
    Neither shadows ``object``, ``obj``, ``state``, ``now`` and ``payload``.
    ``now`` is an aware datetime. ``obj`` may be a lazy object; a subclass may make it a property.
    """

    __slots__ = ("now", "obj", "payload", "state", "variables")

    def __init__(
        self,
        *,
        obj: Any = None,
        state: Mapping[str, Any] = _NOTHING,
        now: datetime,
        payload: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] = _NOTHING,
    ) -> None:
        self.obj = obj
        self.state = state
        self.now = now
        self.payload = payload
        self.variables = variables
