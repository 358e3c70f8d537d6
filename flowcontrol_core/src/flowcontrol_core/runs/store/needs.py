"""What a run may need: an action, or the data of a time zone; a blocked one names what it lacks.

The key of an action is its own; other kinds stand before a colon, which no such key contains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowcontrol_core import zones
from flowcontrol_core.actions.registry import registry

_ZONE = "zone"
#: Whether what a key names is there, by its kind.
_IS_THERE: Mapping[str, Callable[[str], bool]] = {_ZONE: zones.is_known}


def zone_key(name: str) -> str:
    """Return the key of a time zone."""
    return f"{_ZONE}:{name}"


def is_there(key: str) -> bool:
    """Return whether this process has what a run was blocked on."""
    kind, colon, name = key.partition(":")
    return _IS_THERE[kind](name) if colon and kind in _IS_THERE else registry.knows_action(key)
