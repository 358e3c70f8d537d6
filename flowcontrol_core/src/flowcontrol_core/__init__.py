"""The engine of the package ``flowcontrol``; projects and plugins import that one.

A settings module imports ``plugin_apps`` from here: another distribution may have overwritten the
package ``flowcontrol``, and the function then says so.
"""

from __future__ import annotations

from flowcontrol_core.plugins.discovery import plugin_apps

__all__ = ["plugin_apps"]
