"""The claim: takes due runs, each for one worker at a time, with a lease and a fencing number.

A lease that has expired makes its run due, so the claim is the reaper too.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Case, F, QuerySet, Value, When

from flowcontrol_core.models import FlowRun, Request, Status
from flowcontrol_core.runs.execution.checkpoint import LostLease, lease_until
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    durable,
    retry_transient,
    retrying,
)
from flowcontrol_core.runs.store.rows import held

_HOST = socket.gethostname()[:60]


def worker_name() -> str:
    """Name this thread, for people who look for it."""
    return f"{_HOST}:{os.getpid()}:{threading.get_native_id()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which due runs may be taken.

    ``only`` names primary keys, ``queues`` the queues (empty: all of them), ``but_flows`` the flows
    that others go before now.
    """

    only: Collection[int] | None = None
    queues: tuple[str, ...] = ()
    but_flows: frozenset[int] = frozenset()

    def due(self) -> QuerySet[FlowRun]:
        """Give the due runs to choose from, the longest overdue first."""
        due = FlowRun.objects.using(alias()).due(clock().expression())
        if self.only is not None:
            due = due.filter(pk__in=self.only)
        if self.queues:
            due = due.filter(queue__in=self.queues)
        return due.exclude(flow_id__in=self.but_flows) if self.but_flows else due


ANY = Choice()
#: How often a claim looks again where others have taken all that it had read.
_LOOKS = 8


def claim(limit: int, choice: Choice = ANY) -> list[FlowRun]:
    """Take up to ``limit`` due runs, the longest overdue first.

    Each comes as it was before, with its ``fence`` and ``attempt`` counted up. One that was started
    without reaching a checkpoint is taken alone, so that one that kills its worker does not use up
    its neighbours' attempts.
    """
    if _skips_locked():
        return retry_transient(lambda: _claim(limit, choice))
    for _ in range(_LOOKS):
        # Where the database locks as a whole, an idle sweep shall not.
        if not choice.due().exists():
            break
        if runs := retry_transient(lambda: _claim(limit, choice)):
            return runs
    return []


def _skips_locked() -> bool:
    return connection().features.has_select_for_update_skip_locked


def _claim(limit: int, choice: Choice) -> list[FlowRun]:
    with durable():
        rows = _lock_due(limit, choice)
        if not rows:
            return []
        first = rows[0]
        runs = [first] if first.attempt else [run for run in rows if not run.attempt]
        now = first.database_now  # type: ignore[attr-defined]
        clock().learn(now)
        runs = _take(runs, now=now)
    for run in runs:
        run.fence += 1
        run.attempt += 1
        if run.request != Request.CANCEL:
            run.request = Request.NONE
    return runs


def _lock_due(limit: int, choice: Choice) -> list[FlowRun]:
    queryset = choice.due()
    if _skips_locked():
        queryset = queryset.select_for_update(skip_locked=True)
    return list(queryset.annotate(database_now=clock().expression())[:limit])


def _take(runs: list[FlowRun], *, now: object) -> list[FlowRun]:
    """Write that runs are this worker's; give those that are.

    Rows that nobody could lock are compared and set. Not by the fence alone: whoever had a run
    whose lease has expired may go on with it or end it, under the same one.
    """
    keep_cancel = Case(
        When(request=Request.CANCEL, then=Value(Request.CANCEL.value)),
        default=Value(Request.NONE.value),
    )
    changes = {
        "status": Status.RUNNING,
        "since": now,
        "worker": worker_name(),
        "fence": F("fence") + 1,
        "attempt": F("attempt") + 1,
        "wake_at": lease_until(now),  # type: ignore[arg-type]
        "request": keep_cancel,
    }
    rows = FlowRun.objects.using(alias())
    if _skips_locked() or connection().vendor == "sqlite":
        rows.filter(pk__in=[run.pk for run in runs]).update(**changes)
        return runs
    return [
        run
        for run in runs
        if rows.filter(pk=run.pk, fence=run.fence, wake_at=run.wake_at).update(**changes)
    ]


@retrying
def release(run: FlowRun, *, after: timedelta | None = None) -> None:
    """Give a claimed run back: due at once, and this was no attempt; or due later, and it was."""
    attempt = max(run.attempt - 1, 0) if after is None else run.attempt
    wake_at = clock().now() + (after or timedelta())
    held(run.pk, run.fence).update(wake_at=wake_at, attempt=attempt, worker="")


@retrying
def renew(run: FlowRun, timeout: float | None = None) -> None:
    """Begin the lease of a claimed run anew; raises LostLease where it is somebody else's.

    ``timeout`` is that of the call which is made meanwhile.
    """
    if held(run.pk, run.fence).update(wake_at=lease_until(clock().now(), timeout)) != 1:
        raise LostLease
