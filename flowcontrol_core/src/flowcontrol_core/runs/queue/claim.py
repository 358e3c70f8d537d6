"""The claim: takes due runs, each for one worker at a time, with a lease and a fencing number.

A lease that has expired makes its run due, so the claim is the reaper too. The heartbeat extends
the leases while steps run, on a connection of its own.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.models import Case, Expression, F, QuerySet, Value, When

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun, Request, Status
from flowcontrol_core.runs.queue.release import release_later
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    WriteGuard,
    alias,
    connection,
    durable,
    in_tenant,
    is_lost_connection,
    is_row_locked,
    retrying,
)
from flowcontrol_core.runs.store.rows import LostLease, owned, rows, update

logger = logging.getLogger("flowcontrol.runs")
_HOST = socket.gethostname()[:60]
#: How often a claim tries again where others have taken all that it had read.
_TRIES = 8


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


class Heartbeat:
    """The leases of one batch: extended every quarter of a lease, until a call's time is up.

    Then none of them is: the other runs of the batch would wait for a call that hangs.
    """

    def __init__(self) -> None:
        self._fences: dict[int, int] = {}
        #: The time-out in seconds of the present call, and when it is up.
        self._timeout: float | None = None
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, runs: Iterable[FlowRun]) -> None:
        """Extend the leases of these runs from now on."""
        with self._lock:
            for run in runs:
                self._fences[run.pk] = run.fence
            if self._thread is None and has_heartbeat():
                self._thread = threading.Thread(
                    target=in_tenant(self._beat), name="flowcontrol-heartbeat", daemon=True
                )
                self._thread.start()

    def drop(self, *runs: FlowRun) -> None:
        """Leave the leases of these runs alone from now on."""
        with self._lock:
            for run in runs:
                self._fences.pop(run.pk, None)

    @contextmanager
    def watch(self, timeout: float | None) -> Iterator[None]:
        """Bound the time of one call in seconds: after it no lease is extended."""
        seconds = get_settings().STEP_TIMEOUT if timeout is None else timeout
        self._timeout = seconds
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._timeout = self._deadline = None

    def touch(self, run: FlowRun, guard: WriteGuard) -> None:
        """Begin the time of the present call anew: its action reports that it is alive.

        Raises LostLease, where this is the only heartbeat there is, if another worker has the run.
        """
        if (timeout := self._timeout) is None:
            return
        self._deadline = time.monotonic() + timeout
        # Inside a transaction no other connection can write there; a call without effects must not.
        is_alone = not has_heartbeat() and not connection().in_atomic_block
        if is_alone and not guard.armed:
            renew(run, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._stop.wait(get_settings().LEASE / 4):
                try:
                    self._extend()
                except (DatabaseError, InterfaceError):
                    logger.warning("The heartbeat could not extend its leases.", exc_info=True)
                    connections[alias()].close()
        finally:
            connections.close_all()

    def _extend(self) -> None:
        deadline = self._deadline
        if deadline is not None and deadline <= time.monotonic():
            return
        with self._lock:
            fences = dict(self._fences)
        expiry = lease_until(clock().now())
        for pk, fence in fences.items():
            try:
                update(owned(pk, fence), due_at=expiry)
            except OperationalError as error:
                if not is_row_locked(error):
                    raise
