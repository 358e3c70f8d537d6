"""What is wrong with the runs, the workers and the plugins, and what to do about it."""

from __future__ import annotations

from flowcontrol_core.health import Health, HealthIssue, check_health

__all__ = ["Health", "HealthIssue", "check_health"]
