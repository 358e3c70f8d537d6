"""The settings in force."""

from __future__ import annotations

from flowcontrol_core.conf import Settings, get_settings

__all__ = ["Settings", "get_settings"]
