"""The claim: takes due runs, each for one worker at a time, with a lease and a fencing number.

A lease that has expired makes its run due, so the claim is the reaper too.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.models import Case, Expression, F, QuerySet, Value, When

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun, Request, Status
from flowcontrol_core.runs.queue.release import release_later
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    durable,
    is_lost_connection,
    is_transient,
    retrying,
)
from flowcontrol_core.runs.store.rows import LostLease, owned, rows, update, update_together

logger = logging.getLogger("flowcontrol.runs")
#: How much of the name of its host the name of a worker has.
HOST_CHARACTERS = 60
_HOST = socket.gethostname()[:HOST_CHARACTERS]
#: How often a claim tries again where others have taken all that it had read.
_TRIES = 8
#: The time in seconds that the runs of a claim are to take; what it has not begun then goes back.
TURN = 0.2
#: How many runs are claimed while it is not known how long they take.
FIRST = 10


def worker_name() -> str:
    """Return the name of this thread, for people who search for it."""
    return f"{_HOST}:{os.getpid()}:{threading.get_native_id()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which due runs may be taken.

    ``only`` names primary keys, ``queues`` the queues (empty: all of them), ``but_flows`` the flows
    that others precede now.
    """

    only: Collection[int] | None = None
    queues: tuple[str, ...] = ()
    but_flows: frozenset[int] = frozenset()

    def due(self, now: datetime | Expression | None = None) -> QuerySet[FlowRun]:
        """Return the runs that are due at a time (now), the longest overdue first.

        Those whose due time has come, and those whose lease has expired.
        """
        runs = FlowRun.objects.using(alias())
        due = runs.filter(due_at__lte=now or clock().expression()).order_by("due_at", "id")
        if self.only is not None:
            due = due.filter(pk__in=self.only)
        if self.queues:
            due = due.filter(queue__in=self.queues)
        return due.exclude(flow_id__in=self.but_flows) if self.but_flows else due


ANY = Choice()


@dataclass(slots=True)
class Pace:
    """How many runs a claim takes: as many as are executed in a short time, as the last one was.

    So that a claim of slow runs leaves others to other workers, and one of fast runs is worth it.
    """

    _size: int = FIRST

    def size(self, most: int) -> int:
        """Return how many runs the next claim takes, ``most`` at most."""
        return min(self._size, get_settings().CLAIM_BATCH, most)

    def learn(self, executed: int, seconds: float) -> None:
        """Take note of how many runs were executed, and how long that took."""
        if executed:
            self._size = max(1, int(executed * TURN / max(seconds, 1e-6)))


def claim(limit: int, choice: Choice = ANY) -> list[FlowRun]:
    """Take up to ``limit`` due runs, the longest overdue first.

    Each comes as it was before, with its ``fence`` and ``attempt`` counted up. One that was started
    without reaching a checkpoint is taken alone, so that one that kills its worker does not use up
    its neighbours' attempts.
    """
    if connection().features.has_select_for_update_skip_locked:
        return _claim(limit, choice)
    for _ in range(_TRIES):
        # Where the database locks as a whole, an idle sweep must not.
        if not choice.due().exists():
            break
        if runs := _claim(limit, choice):
            return runs
    return []


@retrying
def _claim(limit: int, choice: Choice) -> list[FlowRun]:
    skips_locked = connection().features.has_select_for_update_skip_locked
    runs: list[FlowRun] = []
    try:
        with durable():
            due = choice.due().select_for_update(skip_locked=True) if skips_locked else choice.due()
            read: list[Any] = list(due.annotate(database_now=clock().expression())[:limit])
            if not read:
                return []
            first = read[0]
            chosen = [first] if first.attempt else [run for run in read if not run.attempt]
            clock().learn(first.database_now)
            runs = _take(chosen, first.database_now, are_locked=skips_locked)
            for run in runs:
                run.fence += 1
                run.attempt += 1
                if run.request != Request.CANCEL:
                    run.request = Request.NONE
    except (DatabaseError, InterfaceError) as error:
        if is_lost_connection(error):
            # The answer to the commit may be lost: then they are this worker's.
            release_later(runs)
        raise
    return runs


def _take(runs: list[FlowRun], now: datetime, *, are_locked: bool) -> list[FlowRun]:
    """Write that runs are this worker's; return those that are.

    Rows that could not be locked are compared and set. Not by the fence alone: the worker that had
    a run whose lease has expired may continue or end it, under the same one.
    """
    changes = {
        "status": Status.RUNNING,
        "since": now,
        "worker": worker_name(),
        "fence": F("fence") + 1,
        "attempt": F("attempt") + 1,
        "due_at": lease_until(now),
        "request": Case(
            When(request=Request.CANCEL, then=Value(Request.CANCEL.value)),
            default=Value(Request.NONE.value),
        ),
    }
    if are_locked or connection().vendor == "sqlite":
        keys = [run.pk for run in runs]
        FlowRun.objects.using(alias()).filter(pk__in=keys).update(**changes)
        return runs
    return [run for run in runs if _as_read(run).update(**changes)]


def _as_read(run: FlowRun) -> QuerySet[FlowRun]:
    """Return the row of a due run, unless it has changed; found by its primary key only."""
    is_due_as_read = Case(When(due_at=run.due_at, then=True), default=False)
    return rows([run.pk]).filter(is_due_as_read, fence=run.fence)


def give_back(runs: Iterable[FlowRun]) -> None:
    """Put claimed runs back as they were, with their places in the queue: they were not begun.

    One that another session has locked is released later; it keeps no other from it.
    """
    groups: dict[tuple[int, str], list[FlowRun]] = defaultdict(list)
    for run in runs:
        groups[run.fence, run.status].append(run)
    for (fence, status), group in groups.items():
        try:
            _give_back(fence, status, group)
        except OperationalError as error:
            if not is_transient(error):
                raise
            logger.info("A run that is locked by another session is given back later: %s", error)
            release_later(group)


@retrying
def _give_back(fence: int, status: str, runs: list[FlowRun]) -> None:
    keys, first = [run.pk for run in runs], min(run.due_at for run in runs if run.due_at)
    values = {"status": status, "due_at": first, "attempt": runs[0].attempt - 1, "worker": ""}
    update_together(partial(_claimed, fence), keys, **values)


def _claimed(fence: int, ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, Status.RUNNING).filter(fence=fence)


@retrying
def renew(run: FlowRun, timeout: float | None = None) -> None:
    """Begin the lease of a claimed run anew; raises LostLease where another worker has it.

    ``timeout`` is that of the call which is made meanwhile, in seconds.
    """
    if update(owned(run.pk, run.fence), due_at=lease_until(clock().now(), timeout)) != 1:
        raise LostLease


def has_heartbeat() -> bool:
    """Return whether leases are extended while steps run; not where one writer locks out all."""
    return connection().vendor != "sqlite"


def lease_until(now: datetime, timeout: float | None = None) -> datetime:
    """Return the expiry of a lease that begins now.

    Where there is no heartbeat it has to last for the whole call that is made meanwhile, whose
    time-out is given in seconds.
    """
    seconds = get_settings().LEASE
    if timeout is not None and not has_heartbeat():
        seconds += timeout
    return now + timedelta(seconds=seconds)
