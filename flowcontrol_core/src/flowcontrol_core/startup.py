"""What happens once when the site starts: plugins are loaded, triggers are connected."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from flowcontrol_core.actions.trigger import connection
from flowcontrol_core.conf import get_settings
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.runs.triggers import listeners
from flowcontrol_core.runs.triggers.fire import Dispatcher


def start() -> None:
    """Connect the triggers with the runtime, and load the plugins."""
    connection.dispatcher = Dispatcher()
    listeners.connect()
    plugin_manager.load()
    if get_settings().DISPATCH == "celery":
        # The tasks put themselves in as what hands runs out; they need the extra ``celery``.
        _import_tasks()


def _import_tasks() -> None:
    """Import the Celery tasks; without Celery a system check says what is missing."""
    with suppress(ModuleNotFoundError):
        import_module("flowcontrol_core.tasks")
