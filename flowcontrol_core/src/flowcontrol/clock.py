"""The clock of the engine: tests can move it."""

from __future__ import annotations

from flowcontrol_core.runs.store.clock import clock

__all__ = ["clock"]
