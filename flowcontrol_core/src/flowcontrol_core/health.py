"""The health of the whole: what an operator has to know before anything else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Exists, OuterRef, Q, Window
from django.utils import timezone
from django.utils.translation import ngettext

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import LIVE, FlowRun, Outcome, Status, Worker
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import PluginStatus
from flowcontrol_core.runs.queue.outbox import missing_keys
from flowcontrol_core.runs.queue.workers import gone_since
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What ``check_health`` found; healthy where no trouble is urgent. Ages are in seconds."""

    at: datetime
    live: dict[str, int]
    workers: list[dict[str, Any]]
    overdue: int
    oldest_overdue: float
    issues: list[HealthIssue]

    @property
    def is_healthy(self) -> bool:
        return not any(trouble.is_urgent for trouble in self.issues)

    def as_json(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        return {
            "healthy": self.is_healthy,
            "at": self.at.isoformat(),
            "live": self.live,
            "workers": self.workers,
            "overdue": self.overdue,
            "oldest_overdue": self.oldest_overdue,
            "issues": [asdict(trouble) for trouble in self.issues],
        }


def check_health() -> Health:
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
    oldest = late.values_list("due_at", flat=True).first()
    issues = [
        *_worker_issues(workers, live, now),
        *overdue_issues(late, overdue, oldest, now),
        *run_issues(now),
        *_plugin_issues(),
    ]
    return Health(
        at=now,
        live=live,
        workers=[_shown(worker, now) for worker in workers],
        overdue=overdue,
        oldest_overdue=(now - oldest).total_seconds() if oldest else 0.0,
        issues=issues,
    )


def check_health_or_explain() -> Health:
    """Check the health; where the database refuses, that is the issue."""
    try:
        return check_health()
    except (DatabaseError, InterfaceError) as error:
        return Health(
            # The clock of the runtime is the database's.
            at=timezone.now(),
            live={},
            workers=[],
            overdue=0,
            oldest_overdue=0.0,
            issues=[database_issue(error), *_plugin_issues()],
        )


def database_issue(error: Exception) -> HealthIssue:
    """Say that the database did not do what was asked of it, and what to do."""
    return HealthIssue(
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


def _worker_issues(workers: list[Worker], live: dict[str, int], now: datetime) -> list[HealthIssue]:
    alive = [worker for worker in workers if now - worker.last_sweep_at <= gone_since()]
    issues = []
    if not alive and live:
        issues.append(
            HealthIssue(
                code="no_worker",
                message="No worker has been seen lately, so nothing goes on.",
                advice="Start `manage.py flowcontrol worker`, or see to cron or Celery beat.",
            )
        )
    if len({tuple(sorted(worker.plugins.items())) for worker in alive}) > 1:
        issues.append(
            HealthIssue(
                code="plugins_differ",
                message="The workers have different plugins, or versions of them.",
                advice="Finish the deployment: restart the workers that have the older ones.",
            )
        )
    return issues


def _plugin_issues() -> list[HealthIssue]:
    broken = [
        report
        for report in plugin_manager.reports
        if report.status not in (PluginStatus.ACTIVE, PluginStatus.DISABLED)
    ]
    return [
        HealthIssue(
            code="plugin",
            message=f"The plugin {report.name} is not loaded: {report.reason}",
            advice=report.remedy,
        )
        for report in broken
    ]


_MOST = 20
_RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthIssue:
    """One thing that is not as it should be: a code, a sentence, and what to do.

    ``is_urgent`` says whether it is for those who operate the site; what is not, such as a step
    that has failed, is for those who check_health after the flow.
    """

    code: str
    message: str
    advice: str
    count: int = 1
    is_urgent: bool = True
    #: The first of the runs that it is about, and what each of them says of itself.
    runs: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def run_issues(now: datetime) -> list[HealthIssue]:
    """Give what is wrong with runs that are not just overdue."""
    return [
        *_stuck_issues(now),
        *_queued_issues(now),
        *_blocked_issues(),
        *_unknown_trigger_issues(),
        *_errored_issues(now),
        *_forgotten_issues(now - timedelta(seconds=get_settings().OVERDUE)),
    ]


def overdue_issues(
    late: Any, overdue: int, oldest: datetime | None, now: datetime
) -> list[HealthIssue]:
    """Say how many runs are due that nobody has taken up, and since when the oldest is."""
    if not overdue or oldest is None:
        return []
    seconds = int((now - oldest).total_seconds())
    first = list(late.values_list("pk", "reason")[:_MOST])
    return [
        HealthIssue(
            code="overdue",
            message=f"{_counted(overdue, 'run is', 'runs are')} overdue, the oldest for {seconds} "
            "seconds.",
            advice="See that workers run; start more of them.",
            count=overdue,
            runs=[pk for pk, _ in first],
            reasons=[reason for _, reason in first],
        )
    ]


def _stuck_issues(now: datetime) -> list[HealthIssue]:
    """Runs whose lease expired long ago without anybody having taken them up."""
    limit = now - 2 * timedelta(seconds=get_settings().LEASE)
    stuck = FlowRun.objects.using(alias()).filter(status=Status.RUNNING, due_at__lt=limit)
    return _issue(
        stuck,
        "stuck",
        (
            "run is said to be running, but its worker is gone.",
            "runs are said to be running, but their workers are gone.",
        ),
        "They go on with the next sweep; see that one runs.",
    )


def _queued_issues(now: datetime) -> list[HealthIssue]:
    """Runs that have queued for long, maybe because two flows wait for each other's slots."""
    limit = now - timedelta(seconds=get_settings().QUEUED_LONG)
    queued = FlowRun.objects.using(alias()).filter(status=Status.PENDING, queued_at__lt=limit)
    return _issue(
        queued,
        "queued",
        (
            "run has queued for a limit of its flow for long.",
            "runs have queued for a limit of their flow for long.",
        ),
        "Look what the runs wait for that hold the slots: if it is one of these, cancel one, or "
        "raise a limit. Where this is usual, raise the setting QUEUED_LONG.",
        is_urgent=False,
    )


def _blocked_issues() -> list[HealthIssue]:
    blocked = FlowRun.objects.using(alias()).filter(status=Status.BLOCKED)
    keys = [key for key in missing_keys() if not registry.knows_action(key)]
    named = f" Missing actions: {', '.join(keys)}." if keys else ""
    return _issue(
        blocked,
        "blocked",
        (f"run is blocked.{named}", f"runs are blocked.{named}"),
        "Install or enable the plugins, or correct the configuration that the runs name.",
    )


def _unknown_trigger_issues() -> list[HealthIssue]:
    """Runs that wait for a trigger that nobody can fire."""
    waiting = FlowRun.objects.using(alias()).filter(
        status=Status.WAITING, wait_trigger__isnull=False
    )
    deaf = waiting.exclude(wait_trigger__in=list(registry.triggers))
    keys = deaf.order_by("wait_trigger").values_list("wait_trigger", flat=True).distinct()
    named = ", ".join(key or "" for key in keys[:_MOST])
    if not named:
        return []
    return _issue(
        deaf,
        "unknown_trigger",
        (
            f"run waits for a trigger that is not registered: {named}.",
            f"runs wait for triggers that are not registered: {named}.",
        ),
        "Install or enable the plugins that they belong to, or skip the steps that wait for them.",
    )


def _errored_issues(now: datetime) -> list[HealthIssue]:
    recent = FlowRun.objects.using(alias()).filter(
        status=Status.DONE, outcome=Outcome.ERRORED, since__gte=now - _RECENT
    )
    killers = Q(reason__startswith="Set aside")
    return [
        *_issue(
            recent.filter(killers),
            "end_errored",
            (
                "run was set aside within a day, because it kept killing its workers.",
                "runs were set aside within a day, because they kept killing their workers.",
            ),
            "Find out why, then retry them.",
        ),
        *_issue(
            recent.exclude(killers),
            "errored",
            ("run ended with an error within a day.", "runs ended with an error within a day."),
            "Remove the causes, then retry the runs, or skip their steps.",
            is_urgent=False,
        ),
    ]


def _forgotten_issues(limit: datetime) -> list[HealthIssue]:
    """Runs that nothing will ever wake: there should be none."""
    asleep = FlowRun.objects.using(alias()).filter(
        status__in=set(LIVE) - {Status.PAUSED},
        due_at__isnull=True,
        blocked_on__isnull=True,
    )
    # One that waits for a trigger or a child has no time to be looked at, and needs none.
    forgotten = asleep.filter(
        ~Q(status=Status.WAITING) | (Q(wait_trigger__isnull=True) & Q(wait_child__isnull=True))
    )
    # One that has ended just now is about to be announced.
    present = Q(finished_at__isnull=True) | Q(finished_at__gte=limit)
    child = FlowRun.objects.using(alias()).filter(present, uuid=OuterRef("wait_child"))
    missing_child = asleep.filter(~Exists(child), wait_child__isnull=False)
    return [
        *_issue(
            forgotten,
            "no_wake_up",
            ("run waits for nothing.", "runs wait for nothing."),
            "Let them run now; and please report it: this must not happen.",
        ),
        *_issue(
            missing_child,
            "ended_child",
            (
                "run waits for another run that has ended.",
                "runs wait for other runs that have ended.",
            ),
            "They go on with the next sweep; see that one runs.",
        ),
    ]


def _issue(
    runs: Any, code: str, what: tuple[str, str], advice: str, *, is_urgent: bool = True
) -> list[HealthIssue]:
    """Say ``what``, of one run or of several, about the runs, if there are any."""
    # Counted and listed at once: either looks at all of them. Not ordered by the primary key, which
    # PostgreSQL would then check_health for them by, among all runs.
    counted = runs.annotate(number=Window(Count("*"))).order_by("since", "pk")
    first = list(counted.values_list("pk", "reason", "number")[:_MOST])
    if not first:
        return []
    count = first[0][2]
    return [
        HealthIssue(
            code=code,
            message=_counted(count, *what),
            advice=advice,
            count=count,
            is_urgent=is_urgent,
            runs=[pk for pk, *_ in first],
            reasons=[reason for _, reason, _ in first],
        )
    ]


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {ngettext(one, many, count)}"
