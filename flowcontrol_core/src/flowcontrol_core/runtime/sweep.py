"""The sweep: wakes what was not woken, claims what is due, executes it; bounded."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runtime import waking
from flowcontrol_core.runtime.batch import Batch
from flowcontrol_core.runtime.claim import claim
from flowcontrol_core.runtime.clock import clock
from flowcontrol_core.runtime.database import WriteGuard, alias
from flowcontrol_core.runtime.heartbeat import Heartbeat
from flowcontrol_core.runtime.stopping import should_stop

logger = logging.getLogger("flowcontrol.runtime")
#: The kicks that this thread has still to do.
_kicks = threading.local()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did: how many runs it executed, and whether more are due."""

    executed: int
    more: bool


def continue_flowruns(limit: int | None = None) -> SweepResult:
    """Execute the runs that are due: one bounded sweep, for cron and periodic tasks.

    ``limit`` is the most runs it executes (setting SWEEP_LIMIT). Any number of sweeps may run at
    once; they share the work. Not inside of a transaction: raises RuntimeError there.
    """
    most = get_settings().SWEEP_LIMIT if limit is None else limit
    repeat_looks()
    return execute_due(most)


def repeat_looks() -> None:
    """Wake the runs whose wake-up was lost because a process died after a commit."""
    looks: tuple[Callable[[], int], ...] = (
        waking.announce_events,
        waking.announce_ended,
        waking.deliver_messages,
        waking.unblock,
    )
    for look in looks:
        look()


def execute_due(limit: int, *, only: Collection[int] | None = None) -> SweepResult:
    """Claim and execute due runs in batches, up to ``limit``; ``only`` names the ones to do."""
    executed = 0
    batch_size = get_settings().CLAIM_BATCH
    guard = WriteGuard()
    with guard.installed(), Heartbeat() as heartbeat:
        while executed < limit and not should_stop():
            runs = claim(min(batch_size, limit - executed), only=only)
            if not runs:
                return SweepResult(executed, more=False)
            executed += Batch(runs, guard, heartbeat).execute()
            for run in runs:
                heartbeat.drop(run)
    return SweepResult(executed, more=True)


def due_ids(limit: int) -> list[int]:
    """Give the primary keys of due runs, the longest overdue first, without claiming them."""
    due = FlowRun.objects.using(alias()).due(clock().expression())
    return list(due.values_list("pk", flat=True)[:limit])


def kick(ids: Collection[int]) -> None:
    """Execute runs that were just created, if nobody else has; never raises.

    Those that are created by these runs are executed behind them, not inside of them: a chain of
    runs that start each other would exhaust the interpreter.
    """
    waiting: deque[Collection[int]] | None = getattr(_kicks, "waiting", None)
    if waiting is not None:
        waiting.append(ids)
        return
    _kicks.waiting = waiting = deque([ids])
    try:
        while waiting:
            _execute_kicked(waiting.popleft())
    finally:
        _kicks.waiting = None


def _execute_kicked(ids: Collection[int]) -> None:
    try:
        execute_due(len(ids), only=ids)
    except (DatabaseError, InterfaceError):
        logger.warning("The runs %s wait for the next sweep.", list(ids), exc_info=True)
