"""Executing what is due: claim after claim, batch after batch, bounded."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from django.conf import settings as django_settings
from django.db import DatabaseError, InterfaceError, OperationalError, reset_queries
from django.db.models import QuerySet

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.batch import Batch
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.claim import ANY, Choice, Pace, claim
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.release import release_now, unreleased
from flowcontrol_core.runs.queue.workers import send_heartbeat, should_stop
from flowcontrol_core.runs.store.connection import (
    Tenant,
    first_keys,
    is_row_locked,
    is_transient,
    senders,
    tenant,
)
from flowcontrol_core.runs.store.guard import CallGuard

logger = logging.getLogger("flowcontrol.runs")


class _Inline(threading.local):
    """The runs that this thread has still to execute inline, by the tenants whose runs it does."""

    def __init__(self) -> None:
        self.waiting: dict[Tenant, deque[Sequence[int]]] = {}


_inline = _Inline()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did: how many runs it executed, and whether more are due."""

    executed: int
    more: bool


def execute_due(
    limit: int,
    choice: Choice = ANY,
    *,
    between: Callable[[], object] = lambda: None,
    seconds: float = math.inf,
) -> SweepResult:
    """Claim and execute due runs in batches, up to ``limit``; none is claimed after this many
    seconds.

    ``between`` is called before each of them, outside of any transaction. Raises HeartbeatRefused
    where nothing can be claimed, because there is no connection for the heartbeat.
    """
    executed = 0
    turn, until = choice, time.monotonic() + seconds
    # The flows that fill whole batches, and the others, have a pace of their own.
    paces = defaultdict[bool, Pace](Pace)
    guard = CallGuard()
    with guard.installed(), Heartbeat() as heartbeat:
        while executed < limit and time.monotonic() < until and not should_stop():
            pace = paces[turn is choice]
            size = pace.size(limit - executed)
            heartbeat.reserve()
            try:
                runs = claim(size, turn)
            except OperationalError as error:
                if not is_transient(error):
                    raise
                # Whatever was tried again and again to no avail, others have done meanwhile.
                logger.info("What is due is left to others: %s", error)
                break
            if not runs and turn is choice:
                return SweepResult(executed, more=False)
            is_full = len(runs) == size < limit - executed
            turn = _others_first(runs, choice) if is_full and turn is choice else choice
            if runs:
                begun = time.monotonic()
                done = Batch(runs, guard, heartbeat, between).execute()
                pace.learn(done, time.monotonic() - begun)
                executed += done
            heartbeat.drop(*runs)
    return SweepResult(executed, more=True)


def _others_first(runs: list[FlowRun], choice: Choice) -> Choice:
    """Let the runs of other flows precede once where some flows have filled a whole batch.

    They are read without a lock: what is read but not taken would be locked on MariaDB.
    """
    if choice.only is not None:
        return choice
    others = replace(choice, but_flows=frozenset(run.flow_id for run in runs))
    ids = list(others.due().values_list("pk", flat=True)[: len(runs)])
    return replace(choice, only=ids) if ids else choice


def due_by_queue(limit: int, choice: Choice = ANY) -> dict[str, list[int]]:
    """Return the primary keys of due runs by queue, the longest overdue first; claims none."""
    found: dict[str, list[int]] = defaultdict(list)
    for pk, queue in choice.due().values_list("pk", "queue")[:limit]:
        found[queue].append(pk)
    return found


def execute_inline(ids: Sequence[int]) -> None:
    """Execute runs that were just created or woken, if no other worker has; never raises.

    Those that are created or woken by these are executed after them, not inside of them: a chain of
    runs that start or wake each other would exhaust the interpreter.
    """
    with following_inline() as waiting:
        waiting.append(ids)


@contextmanager
def following_inline() -> Iterator[deque[Sequence[int]]]:
    """Execute what is dispatched inline during a ``with`` block after it; yields what that is.

    At most MAX_FAN_OUT runs beside the first: the next sweep continues what is without an end.
    """
    with _collecting_inline() as (waiting, is_outermost):
        yield waiting
        most = get_settings().MAX_FAN_OUT + len(waiting[0]) if waiting else 0
        while is_outermost and waiting and most > 0:
            most -= _execute_logged(waiting.popleft())


@contextmanager
def _collecting_inline() -> Iterator[tuple[deque[Sequence[int]], bool]]:
    """Collect what is dispatched inline, for the outermost such block of this thread."""
    present = tenant()
    if present in _inline.waiting:
        yield _inline.waiting[present], False
        return
    _inline.waiting[present] = waiting = deque[Sequence[int]]()
    try:
        yield waiting, True
    finally:
        del _inline.waiting[present]


def _execute_logged(ids: Sequence[int]) -> int:
    """Execute those of the runs that are due; return how many were tried."""
    try:
        execute_due(len(ids), Choice(only=ids))
    except (DatabaseError, InterfaceError):
        logger.warning("The runs %s wait for the next sweep.", list(ids), exc_info=True)
    return len(ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What each sweep does beside executing runs.

    ``pending`` are the rows that need it, in the order of the index that answers whether there
    are any; ``work`` does it, bounded, and returns how many runs it has changed. With ``in_chunks``
    the sweep comes back to it before the next run.
    """

    pending: QuerySet[Any]
    work: Callable[[], int]
    in_chunks: bool = False


#: Delivers what a process that died after a commit has left; the operations add their own.
duties = [
    Duty(pending=outbox.UNDELIVERED_EVENTS, work=outbox.deliver_events),
    Duty(pending=outbox.UNDELIVERED_ENDS, work=outbox.deliver_ends),
    Duty(pending=outbox.UNDELIVERED_MESSAGES, work=outbox.deliver_messages),
    Duty(pending=outbox.LACKING, work=outbox.unblock),
]
_PENDING = attrgetter("pending")
#: Seconds between two rounds of duties within one sweep.
AGAIN = 2.0


@dataclass(frozen=True, slots=True)
class Begun:
    """The result of ``begin_sweep``: whether runs may be due, and whether a duty has more to do."""

    due: bool
    more: bool


def continue_flowruns(limit: int | None = None, *, queues: Collection[str] = ()) -> SweepResult:
    """Execute the runs that are due: one bounded sweep, for cron and periodic tasks.

    ``limit`` is the most runs it executes (setting SWEEP_LIMIT), ``queues`` names those whose runs
    it executes (empty: all). Any number of sweeps may run at once; they share the work. Not inside
    of a transaction: raises RuntimeError there, once a run is due.
    """
    most = get_settings().SWEEP_LIMIT if limit is None else limit
    rounds = _Rounds(tuple(queues))
    # What is dispatched inline meanwhile is due, so the sweep itself takes it.
    with _collecting_inline():
        if not rounds().due:
            return SweepResult(executed=0, more=False)
        result = execute_due(most, Choice(queues=tuple(queues)), between=rounds)
    # A bulk operation that has changed runs may have more to do: the caller must not pause.
    return replace(result, more=result.more or rounds.had_more)


@dataclass(slots=True)
class _Rounds:
    """Begins the sweep, and again between two runs while it lasts.

    Otherwise a bulk cancellation would wait until all due runs are executed.
    """

    queues: tuple[str, ...]
    had_more: bool = False
    _begun: Begun = Begun(due=True, more=False)
    _next: float = 0.0

    def __call__(self) -> Begun:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + AGAIN
            self._begun = begin_sweep(self.queues)
            if self._begun.more:
                self.had_more, self._next = True, 0.0
        return self._begun


def begin_sweep(queues: tuple[str, ...] = ()) -> Begun:
    """Do the duties that are pending, and find out whether runs may be due.

    It also writes the heartbeat of this worker. Where nothing is pending, it costs one query.
    """
    send_heartbeat(queues)
    if unreleased.get((tenant(),)):
        release_now()
    if django_settings.DEBUG:
        # Django keeps all statements of a connection until the next request; a worker has none.
        reset_queries()
    # By queue: no index gives the first of several queues.
    due = [Choice(queues=(queue,)).due() for queue in queues] or [ANY.due()]
    found = first_keys([*map(_PENDING, duties), *due])
    is_due, more = any(found[len(duties) :]), False
    for duty, first in zip(duties, found, strict=False):
        if first is not None and _do(duty):
            is_due, more = True, more or duty.in_chunks
    return Begun(due=is_due, more=more)


def _do(duty: Duty) -> bool:
    """Do a duty; return whether it may have changed runs.

    One whose row another session has locked waits for the next sweep.
    """
    try:
        return duty.work() > 0
    except OperationalError as error:
        if not is_row_locked(error):
            raise
        logger.info("A run is locked by another session: %s", error)
        return True


senders["inline"] = execute_inline
