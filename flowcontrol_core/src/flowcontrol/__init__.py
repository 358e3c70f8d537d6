"""The public API of Flowcontrol: what projects and plugins import.

Importing this package needs neither Django nor settings, and imports no plugin.
"""

from __future__ import annotations

from flowcontrol_core.plugins.discovery import plugin_apps
from flowcontrol_core.plugins.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = ["__version__", "hookimpl", "plugin_apps"]
