"""What a run may need: an action, a time zone, a secret, tables; a blocked one says what.

The key of an action is its own; other kinds stand before a colon, which no such key contains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.apps import apps

from flowcontrol_core import zones
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.secrets import resolve
from flowcontrol_core.errors import MissingSecretError, raise_interruption
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.tables import find_unmigrated

_ZONE, _SECRET, _MIGRATION = "zone", "secret", "migration"


def zone_key(name: str) -> str:
    """Return the key of a time zone."""
    return f"{_ZONE}:{name}"


def secret_key(name: str) -> str:
    """Return the key of a secret."""
    return f"{_SECRET}:{name}"


def migration_key(label: str) -> str:
    """Return the key of the migrations of an app."""
    return f"{_MIGRATION}:{label}"


def _is_migrated(label: str) -> bool:
    try:
        return label in apps.app_configs and not find_unmigrated([label])
    except BaseException as error:  # noqa: BLE001 - a plugin's code, and any database
        raise_interruption(error)
        return False


def _has_value(name: str) -> bool:
    try:
        return bool(resolve([name], plugin_manager.secret))
    except MissingSecretError:
        return False


#: Whether what a key names is there, by its kind.
_IS_THERE: Mapping[str, Callable[[str], bool]] = {
    _ZONE: zones.is_known,
    _SECRET: _has_value,
    _MIGRATION: _is_migrated,
}


def is_there(key: str) -> bool:
    """Return whether this process has what a run was blocked on."""
    kind, colon, name = key.partition(":")
    return _IS_THERE[kind](name) if colon and kind in _IS_THERE else registry.knows(key)
