"""The claim: takes due runs, each for one worker at a time, with a lease and a fencing number.

A lease that has expired makes its run due, so the claim is the reaper too.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection
from datetime import timedelta

from django.db.models import Case, F, Value, When

from flowcontrol_core.models import FlowRun, Request, Status
from flowcontrol_core.runtime.activation import Stop
from flowcontrol_core.runtime.checkpoint import LostLease, lease_until
from flowcontrol_core.runtime.clock import clock
from flowcontrol_core.runtime.database import alias, connection, durable, retry_transient, retrying
from flowcontrol_core.runtime.rows import held

_HOST = socket.gethostname()[:60]


def worker_name() -> str:
    """Name this thread, for people who look for it."""
    return f"{_HOST}:{os.getpid()}:{threading.get_native_id()}"


def claim(limit: int, *, only: Collection[int] | None = None) -> list[FlowRun]:
    """Take up to ``limit`` due runs, the longest overdue first.

    ``only`` names the primary keys to choose from. Each run comes as it was before, with its
    ``fence`` and ``attempt`` counted up. A run that was started without reaching a checkpoint is
    taken alone, so that one that kills its worker does not use up its neighbours' attempts.
    """
    if not connection().features.has_select_for_update_skip_locked and not _any_due(only):
        return []
    return retry_transient(lambda: _claim(limit, only))


def _any_due(only: Collection[int] | None) -> bool:
    """Look without a lock: where the database locks as a whole, an idle sweep shall not."""
    due = FlowRun.objects.using(alias()).due(clock().expression())
    return (due if only is None else due.filter(pk__in=only)).exists()


def _claim(limit: int, only: Collection[int] | None) -> list[FlowRun]:
    with durable():
        rows = _lock_due(limit, only)
        if not rows:
            return []
        first = rows[0]
        runs = [first] if first.attempt else [run for run in rows if not run.attempt]
        now = first.database_now  # type: ignore[attr-defined]
        clock().learn(now)
        _take([run.pk for run in runs], now=now)
    for run in runs:
        run.fence += 1
        run.attempt += 1
        if run.request != Request.CANCEL:
            run.request = Request.NONE
    return runs


def _lock_due(limit: int, only: Collection[int] | None) -> list[FlowRun]:
    queryset = FlowRun.objects.using(alias()).due(clock().expression())
    if only is not None:
        queryset = queryset.filter(pk__in=only)
    if connection().features.has_select_for_update_skip_locked:
        queryset = queryset.select_for_update(skip_locked=True)
    return list(queryset.annotate(database_now=clock().expression())[:limit])


def _take(ids: list[int], *, now: object) -> None:
    keep_cancel = Case(
        When(request=Request.CANCEL, then=Value(Request.CANCEL.value)),
        default=Value(Request.NONE.value),
    )
    FlowRun.objects.using(alias()).filter(pk__in=ids).update(
        status=Status.RUNNING,
        since=now,
        worker=worker_name(),
        fence=F("fence") + 1,
        attempt=F("attempt") + 1,
        wake_at=lease_until(now),  # type: ignore[arg-type]
        request=keep_cancel,
    )


@retrying
def release(run: FlowRun, *, after: timedelta | None = None) -> None:
    """Give a claimed run back: due at once, and this was no attempt; or due later, and it was."""
    attempt = max(run.attempt - 1, 0) if after is None else run.attempt
    wake_at = clock().now() + (after or timedelta())
    held(run.pk, run.fence).update(wake_at=wake_at, attempt=attempt, worker="")


@retrying
def renew(run: FlowRun, stop: Stop | None = None) -> None:
    """Begin the lease of a claimed run anew; raises LostLease where it is somebody else's.

    ``stop`` tells of the call that is about to be made.
    """
    if held(run.pk, run.fence).update(wake_at=lease_until(clock().now(), stop)) != 1:
        raise LostLease
