"""What a run may need: an action, the data of a time zone, a secret; a blocked one says what.

The key of an action is its own; other kinds stand before a colon, which no such key contains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowcontrol_core import zones
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.secrets import resolve
from flowcontrol_core.errors import MissingSecretError
from flowcontrol_core.plugins.manager import plugin_manager

_ZONE, _SECRET = "zone", "secret"


def zone_key(name: str) -> str:
    """Return the key of a time zone."""
    return f"{_ZONE}:{name}"


def secret_key(name: str) -> str:
    """Return the key of a secret."""
    return f"{_SECRET}:{name}"


def _has_value(name: str) -> bool:
    try:
        return bool(resolve([name], plugin_manager.secret))
    except MissingSecretError:
        return False


#: Whether what a key names is there, by its kind.
_IS_THERE: Mapping[str, Callable[[str], bool]] = {_ZONE: zones.is_known, _SECRET: _has_value}


def is_there(key: str) -> bool:
    """Return whether this process has what a run was blocked on."""
    kind, colon, name = key.partition(":")
    return _IS_THERE[kind](name) if colon and kind in _IS_THERE else registry.knows(key)
