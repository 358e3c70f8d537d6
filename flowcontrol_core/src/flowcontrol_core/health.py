"""Health: what is wrong, in the order of urgency; one answer for command, page, list and JSON.

Everything here is measured by the settings (OVERDUE, WORKER_GONE, LEASE, QUEUED_LONG), and found by
an index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Window
from django.utils import timezone
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import LIVE, PAUSES, FlowRun, Outcome, Reason, Status, Worker
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import with_migrations
from flowcontrol_core.runs.queue.claim import ANY, HOST_CHARACTERS
from flowcontrol_core.runs.queue.outbox import missing_keys
from flowcontrol_core.runs.queue.workers import gone_after
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias
from flowcontrol_core.runs.store.needs import is_there

#: At most this many runs of an issue are named.
_MOST = 20
_RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class IssueKind:
    """What is the same of all issues with a code: the sentence, the remedy, how urgent it is.

    The sentence takes the ``count`` of the runs, where the issue is about runs.
    """

    text: Any
    remedy: Any
    is_urgent: bool = True


#: The issues by their codes, in the order in which they are listed.
ISSUE_KINDS: Mapping[str, IssueKind] = {
    "database": IssueKind(
        _("The database does not work as it should: %(error)s."),
        _("Check that it runs, can be reached, and that `manage.py migrate` was run."),
    ),
    "no_worker": IssueKind(
        _("No worker appears to be running, so runs do not continue."),
        _("Start `manage.py flowcontrol worker`, or check cron or Celery beat."),
    ),
    "no_heartbeat": IssueKind(
        ngettext_lazy(
            "%(count)d worker executes no runs: its heartbeat gets no connection to the database.",
            "%(count)d workers execute no runs: their heartbeats get no connection to the "
            "database.",
            "count",
        ),
        _(
            "Give the connection pool or the database server more connections, or start fewer "
            "threads: a process needs one for each thread and one for its heartbeat."
        ),
    ),
    "plugins_differ": IssueKind(
        _("The workers have different plugins, or versions of them."),
        _("Finish the deployment: restart the workers that have the older ones."),
    ),
    "overdue": IssueKind(
        ngettext_lazy(
            "%(count)d run is overdue, the oldest for %(seconds)d seconds.",
            "%(count)d runs are overdue, the oldest for %(seconds)d seconds.",
            "count",
        ),
        _("Check that workers run; start more of them."),
    ),
    "stuck": IssueKind(
        ngettext_lazy(
            "%(count)d run is marked as running, but its worker has died.",
            "%(count)d runs are marked as running, but their workers have died.",
            "count",
        ),
        _("They continue with the next sweep; check that one runs."),
    ),
    "queued": IssueKind(
        ngettext_lazy(
            "%(count)d run has been waiting for a free slot for a long time.",
            "%(count)d runs have been waiting for a free slot for a long time.",
            "count",
        ),
        _(
            "Check what the runs that have the slots are waiting for. If it is one of these runs, "
            "cancel one or raise a limit. If this is normal, raise the setting QUEUED_LONG."
        ),
        is_urgent=False,
    ),
    "blocked": IssueKind(
        ngettext_lazy("%(count)d run is blocked.", "%(count)d runs are blocked.", "count"),
        _(
            "Install, enable or migrate the plugins, or correct the configuration that the runs "
            "name."
        ),
    ),
    "unknown_trigger": IssueKind(
        ngettext_lazy(
            "%(count)d run waits for a trigger that is not registered: %(keys)s.",
            "%(count)d runs wait for triggers that are not registered: %(keys)s.",
            "count",
        ),
        _(
            "Install or enable the plugins that they belong to, or skip the steps that wait for "
            "them."
        ),
    ),
    "dead_lettered": IssueKind(
        ngettext_lazy(
            "%(count)d run exhausted its attempts within a day: it kept killing its worker.",
            "%(count)d runs exhausted their attempts within a day: they kept killing workers.",
            "count",
        ),
        _("Find out why, then retry them."),
    ),
    "errored": IssueKind(
        ngettext_lazy(
            "%(count)d run ended with an error within a day.",
            "%(count)d runs ended with an error within a day.",
            "count",
        ),
        _("Remove the causes, then retry the runs, or skip their steps."),
        is_urgent=False,
    ),
    "no_wake_up": IssueKind(
        ngettext_lazy(
            "%(count)d run waits for nothing.", "%(count)d runs wait for nothing.", "count"
        ),
        _("Let them run now, and please report it: this must not happen."),
    ),
    "paused_by_nothing": IssueKind(
        ngettext_lazy(
            "%(count)d run is paused, but neither by a person nor by its flow or its parent.",
            "%(count)d runs are paused, but neither by a person nor by their flows or parents.",
            "count",
        ),
        _("Resume them, and please report it: this must not happen."),
    ),
    "ended_child": IssueKind(
        ngettext_lazy(
            "%(count)d run waits for another run that has ended.",
            "%(count)d runs wait for other runs that have ended.",
            "count",
        ),
        _("They continue with the next sweep; check that one runs."),
    ),
    "plugin": IssueKind(_("The plugin %(name)s is not loaded: %(reason)s"), "%(remedy)s"),
    "plugin_unmigrated": IssueKind(
        _("The plugin %(name)s needs a migration: %(reason)s"), "%(remedy)s"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthIssue:
    """One thing that is wrong: a code, a sentence, and the remedy.

    ``is_urgent`` tells whether it is for those who operate the site; what is not, such as a step
    that has failed, is for the owners of the flow. ``runs`` are the first of the runs that
    it is about, and ``reasons`` why each of them is in its status.
    """

    code: str
    message: str
    remedy: str
    count: int = 1
    is_urgent: bool = True
    runs: Sequence[int] = ()
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The result of ``check_health``; healthy where no issue is urgent. Ages are in seconds.

    ``live`` counts the unfinished runs by status; ``overdue`` those that are due for too long.
    """

    at: datetime
    issues: Sequence[HealthIssue]
    live: dict[str, int]
    workers: Sequence[dict[str, Any]] = ()
    overdue: int = 0
    oldest_overdue: float = 0.0

    @property
    def is_healthy(self) -> bool:
        return not any(issue.is_urgent for issue in self.issues)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        values = {**asdict(self), "healthy": self.is_healthy, "at": self.at.isoformat()}
        return {**values, "issues": [asdict(issue) for issue in self.issues]}


def check_health() -> Health:
    """Check runs, workers and plugins; a handful of queries, each by index.

    A database that refuses is the issue that is found.
    """
    try:
        return _check()
    except (DatabaseError, InterfaceError) as error:
        # The clock of the engine is the database's.
        issues = [database_issue(error), *_plugin_issues()]
        return Health(at=timezone.now(), issues=issues, live={})


def _check() -> Health:
    now = clock().now()
    live = FlowRun.objects.using(alias()).live().order_by().values_list("status")
    counts = dict(live.annotate(n=Count("*")).values_list("status", "n"))
    workers = list(Worker.objects.using(alias()).order_by("name"))
    late = overdue_runs(now)
    count = late.count()
    executing = _executing(now) if Status.RUNNING in counts else frozenset()
    oldest = late.values_list("due_at", flat=True).first()
    seconds = (now - oldest).total_seconds() if oldest else 0.0
    return Health(
        at=now,
        live=counts,
        workers=[_shown(worker, now, executing) for worker in workers],
        overdue=count,
        oldest_overdue=seconds,
        issues=[
            *_worker_issues(
                [worker for worker in workers if _is_alive(worker, now, executing)],
                is_needed=bool(counts) and not executing,
            ),
            *_overdue_issues(late, count, int(seconds)),
            *_run_issues(now),
            *_forgotten_issues(now - _overdue_after()),
            *_plugin_issues(),
        ],
    )


def database_issue(error: Exception) -> HealthIssue:
    """Return the issue of a database that does not do what it is asked."""
    return _issue("database", error=" ".join(str(error).split()))


# --- overdue, and without a worker ----------------------------------------------------------


def _overdue_after() -> timedelta:
    return timedelta(seconds=get_settings().OVERDUE)


def is_overdue(run: FlowRun, now: datetime | None = None) -> bool:
    """Return whether a run has been due for longer than the setting OVERDUE."""
    if run.due_at is None or run.status == Status.DONE:
        return False
    return bool(run.due_at < (now or clock().now()) - _overdue_after())


def overdue_runs(now: datetime | None = None) -> QuerySet[FlowRun]:
    """Return the runs that have been due for longer than the setting OVERDUE, oldest first."""
    return ANY.due((now or clock().now()) - _overdue_after())


def is_without_worker() -> bool:
    """Return whether runs are overdue and no worker appears to be running."""
    now = clock().now()
    if not overdue_runs(now).values("pk")[:1]:
        return False
    workers = Worker.objects.using(alias()).filter(last_sweep_at__gte=now - gone_after())
    return not workers.exists() and not _has_lease(now)


def _has_lease(now: datetime) -> bool:
    """Return whether a run is being executed: a worker may be inside of one long step."""
    running = FlowRun.objects.using(alias()).filter(status=Status.RUNNING, due_at__gt=now)
    return running.exists()


def _executing(now: datetime) -> frozenset[str]:
    """Return the hosts and processes that execute runs: their leases have not expired."""
    running = FlowRun.objects.using(alias()).filter(status=Status.RUNNING, due_at__gt=now)
    names = running.order_by().values_list("worker", flat=True).distinct()
    return frozenset(name.rpartition(":")[0] for name in names)


def _is_alive(worker: Worker, now: datetime, executing: AbstractSet[str]) -> bool:
    """Return whether a worker has swept of late, or is inside of a long step."""
    if now - worker.last_sweep_at <= gone_after():
        return True
    return f"{worker.host[:HOST_CHARACTERS]}:{worker.pid}" in executing


def _shown(worker: Worker, now: datetime, executing: AbstractSet[str]) -> dict[str, Any]:
    return {
        "name": worker.name,
        "queues": worker.queues,
        "last_sweep": worker.last_sweep_at.isoformat(),
        "gone": not _is_alive(worker, now, executing),
        "claims": worker.claims,
        "plugins": worker.plugins,
    }


# --- the issues -----------------------------------------------------------------------------


def _worker_issues(alive: list[Worker], *, is_needed: bool) -> Iterator[HealthIssue]:
    """Yield what is wrong with the workers; one is needed where runs live that none executes."""
    if not alive and is_needed:
        yield _issue("no_worker")
    if refused := sum(not worker.claims for worker in alive):
        yield _issue("no_heartbeat", count=refused)
    if any(worker.plugins != alive[0].plugins for worker in alive):
        yield _issue("plugins_differ")


def _overdue_issues(late: QuerySet[FlowRun], count: int, seconds: int) -> Iterator[HealthIssue]:
    if count:
        first = list(late.values_list("pk", "reason_code", "reason_values")[:_MOST])
        yield _issue("overdue", first, count, seconds=seconds)


def _run_issues(now: datetime) -> Iterator[HealthIssue]:
    """Yield the issues that are found by what is wrong with the row of a run."""
    runs, settings = FlowRun.objects.using(alias()), get_settings()
    lease_over = now - 2 * timedelta(seconds=settings.LEASE)
    queued_before = now - timedelta(seconds=settings.QUEUED_LONG)
    yield from _issues("stuck", runs.filter(status=Status.RUNNING, due_at__lt=lease_over))
    yield from _issues("queued", runs.filter(status=Status.PENDING, queued_at__lt=queued_before))
    missing = [key for key in missing_keys() if not is_there(key)]
    named = gettext("Missing: %(keys)s.") % {"keys": ", ".join(missing)} if missing else ""
    yield from _issues("blocked", runs.filter(status=Status.BLOCKED), named)
    waiting = runs.filter(status=Status.WAITING, wait_trigger__isnull=False)
    unknown = waiting.exclude(wait_trigger__in=list(registry.triggers))
    keys = unknown.order_by("wait_trigger").values_list("wait_trigger", flat=True).distinct()
    if named := ", ".join(key or "" for key in keys[:_MOST]):
        yield from _issues("unknown_trigger", unknown, keys=named)
    recent = runs.filter(status=Status.DONE, outcome=Outcome.ERRORED, since__gte=now - _RECENT)
    yield from _issues("dead_lettered", recent.filter(reason_code="dead_lettered"))
    yield from _issues("errored", recent.exclude(reason_code="dead_lettered"))


def _forgotten_issues(limit: datetime) -> Iterator[HealthIssue]:
    """Yield the issues of runs that nothing will ever wake: there should be none."""
    asleep = FlowRun.objects.using(alias()).filter(
        status__in=set(LIVE) - {Status.PAUSED},
        due_at__isnull=True,
        blocked_on__isnull=True,
    )
    # One that waits for a trigger or a child has no due time, and needs none.
    forgotten = asleep.filter(
        ~Q(status=Status.WAITING) | (Q(wait_trigger__isnull=True) & Q(wait_child__isnull=True))
    )
    yield from _issues("no_wake_up", forgotten)
    paused = FlowRun.objects.using(alias()).filter(status=Status.PAUSED)
    # What has been resumed just now is about to be delivered.
    stale = paused.filter(since__lt=limit)
    parent = FlowRun.objects.using(alias()).filter(pk=OuterRef("parent_id"), status=Status.PAUSED)
    without_flow = stale.filter(reason_code="flow_paused", flow__paused=False)
    without_parent = stale.filter(~Exists(parent), reason_code="parent_paused")
    keys = [without_flow.values("pk"), without_parent.values("pk")]
    unknown = paused.exclude(reason_code__in=PAUSES)
    lost = Q(pk__in=keys[0]) | Q(pk__in=keys[1]) | Q(pk__in=unknown.values("pk"))
    yield from _issues("paused_by_nothing", paused.filter(lost))
    # One that has ended just now is about to be delivered.
    present = Q(finished_at__isnull=True) | Q(finished_at__gte=limit)
    child = FlowRun.objects.using(alias()).filter(present, uuid=OuterRef("wait_child"))
    yield from _issues("ended_child", asleep.filter(~Exists(child), wait_child__isnull=False))


def _plugin_issues() -> Sequence[HealthIssue]:
    return [
        _issue(
            "plugin_unmigrated" if report.is_loaded else "plugin",
            name=report.name,
            reason=report.reason,
            remedy=report.remedy,
        )
        for report in with_migrations(plugin_manager.reports)
        if report.is_broken
    ]


def _issues(
    code: str, runs: QuerySet[FlowRun], detail: str = "", **values: str
) -> Sequence[HealthIssue]:
    """Return the issue that is about these runs, if there are any."""
    # Counted and listed at once: either reads all of them. The newest first, but not ordered by the
    # primary key, which PostgreSQL would then search for among all runs.
    counted = runs.annotate(number=Window(Count("*"))).order_by("-since", "-pk")
    first: Any = list(counted.values_list("pk", "reason_code", "reason_values", "number")[:_MOST])
    if not first:
        return ()
    return [_issue(code, [row[:3] for row in first], first[0][3], detail, **values)]


def _issue(
    code: str,
    first: Sequence[tuple[int, str, Any]] = (),
    count: int = 1,
    detail: str = "",
    **values: object,
) -> HealthIssue:
    kind = ISSUE_KINDS[code]
    return HealthIssue(
        code=code,
        message=f"{kind.text % {'count': count, **values}} {detail}".strip(),
        remedy=str(kind.remedy) % values,
        count=count,
        is_urgent=kind.is_urgent,
        runs=[pk for pk, *_values in first],
        reasons=[str(Reason(code, values)) for _pk, code, values in first],
    )
