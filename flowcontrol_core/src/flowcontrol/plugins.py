"""The plugins that were found: what became of each, and why."""

from __future__ import annotations

from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import PluginReport, PluginStatus, with_migrations
from flowcontrol_core.tables import explain

__all__ = ["PluginReport", "PluginStatus", "explain", "plugin_manager", "with_migrations"]
