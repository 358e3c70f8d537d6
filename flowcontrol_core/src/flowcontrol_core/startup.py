"""What happens once when the site starts: plugins are loaded, triggers are connected."""

from __future__ import annotations

from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.triggers import connection
from flowcontrol_core.runtime import listeners
from flowcontrol_core.runtime.firing import Dispatcher


def start() -> None:
    """Connect the triggers with the runtime, and load the plugins."""
    connection.dispatcher = Dispatcher()
    listeners.connect()
    plugin_manager.load()
