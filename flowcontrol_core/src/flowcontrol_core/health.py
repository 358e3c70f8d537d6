"""The health of the whole: what an operator has to know before anything else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.models import Count
from django.utils import timezone

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun, Worker
from flowcontrol_core.plugins.manager import PluginStatus, plugin_manager
from flowcontrol_core.runs.queue.workers import gone_since
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias
from flowcontrol_core.troubles import Trouble, overdue_troubles, run_troubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What ``look`` found; healthy where no trouble is urgent. Ages are in seconds."""

    at: datetime
    live: dict[str, int]
    workers: list[dict[str, Any]]
    overdue: int
    oldest_overdue: float
    troubles: list[Trouble]

    @property
    def is_healthy(self) -> bool:
        return not any(trouble.is_urgent for trouble in self.troubles)

    def as_json(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        return {
            "healthy": self.is_healthy,
            "at": self.at.isoformat(),
            "live": self.live,
            "workers": self.workers,
            "overdue": self.overdue,
            "oldest_overdue": self.oldest_overdue,
            "troubles": [asdict(trouble) for trouble in self.troubles],
        }


def look() -> Health:
    """Look at runs, workers and plugins; a handful of queries, each by index."""
    now = clock().now()
    runs = FlowRun.objects.using(alias())
    live = dict(
        runs.live()
        .order_by()
        .values_list("status")
        .annotate(n=Count("*"))
        .values_list("status", "n")
    )
    workers = list(Worker.objects.using(alias()).order_by("name"))
    late = runs.due(now - timedelta(seconds=get_settings().OVERDUE))
    overdue = late.count()
    oldest = late.values_list("wake_at", flat=True).first()
    troubles = [
        *_worker_troubles(workers, live, now),
        *overdue_troubles(late, overdue, oldest, now),
        *run_troubles(now),
        *_plugin_troubles(),
    ]
    return Health(
        at=now,
        live=live,
        workers=[_shown(worker, now) for worker in workers],
        overdue=overdue,
        oldest_overdue=(now - oldest).total_seconds() if oldest else 0.0,
        troubles=troubles,
    )


def look_or_say_why() -> Health:
    """Look as ``look`` does; a database that does not let it is the trouble that is found."""
    try:
        return look()
    except (DatabaseError, InterfaceError) as error:
        return Health(
            # The clock of the runtime is the database's.
            at=timezone.now(),
            live={},
            workers=[],
            overdue=0,
            oldest_overdue=0.0,
            troubles=[database_trouble(error), *_plugin_troubles()],
        )


def database_trouble(error: Exception) -> Trouble:
    """Say that the database did not do what was asked of it, and what to do."""
    return Trouble(
        code="database",
        message=f"The database does not answer as it should: {' '.join(str(error).split())}.",
        advice="See that it runs and can be reached, and that `manage.py migrate` was run.",
    )


def _shown(worker: Worker, now: datetime) -> dict[str, Any]:
    return {
        "name": worker.name,
        "queues": worker.queues,
        "last_sweep": worker.last_sweep_at.isoformat(),
        "gone": now - worker.last_sweep_at > gone_since(),
        "plugins": worker.plugins,
    }


def _worker_troubles(workers: list[Worker], live: dict[str, int], now: datetime) -> list[Trouble]:
    alive = [worker for worker in workers if now - worker.last_sweep_at <= gone_since()]
    troubles = []
    if not alive and live:
        troubles.append(
            Trouble(
                code="no_worker",
                message="No worker has been seen lately, so nothing goes on.",
                advice="Start `manage.py flowcontrol worker`, or see to cron or Celery beat.",
            )
        )
    if len({tuple(sorted(worker.plugins.items())) for worker in alive}) > 1:
        troubles.append(
            Trouble(
                code="plugins_differ",
                message="The workers have different plugins, or versions of them.",
                advice="Finish the deployment: restart the workers that have the older ones.",
            )
        )
    return troubles


def _plugin_troubles() -> list[Trouble]:
    broken = [
        report
        for report in plugin_manager.reports
        if report.status not in (PluginStatus.ACTIVE, PluginStatus.DISABLED)
    ]
    return [
        Trouble(
            code="plugin",
            message=f"The plugin {report.name} is not loaded: {report.reason}",
            advice=report.way_out,
        )
        for report in broken
    ]
