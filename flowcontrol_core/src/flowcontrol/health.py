"""What is wrong with runs, workers and plugins, and what to do about it."""

from __future__ import annotations

from flowcontrol_core.health import (
    Health,
    HealthIssue,
    check_health,
    is_overdue,
    is_without_worker,
    overdue_runs,
)

__all__ = [
    "Health",
    "HealthIssue",
    "check_health",
    "is_overdue",
    "is_without_worker",
    "overdue_runs",
]
