"""The Celery tasks (extra ``celery``): the periodic sweep, and what it hands to the workers."""

from __future__ import annotations

from flowcontrol_core.tasks import continue_flowruns_task, prune_task, run_flowruns_task

__all__ = ["continue_flowruns_task", "prune_task", "run_flowruns_task"]
