"""Executing what is due: claim after claim, batch after batch, bounded."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from django.db import DatabaseError, InterfaceError

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.batch import Batch
from flowcontrol_core.runs.queue.claim import ANY, Choice, claim
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.stopping import should_stop
from flowcontrol_core.runs.store.connection import WriteGuard

logger = logging.getLogger("flowcontrol.runtime")
#: The kicks that this thread has still to do.
_kicks = threading.local()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did: how many runs it executed, and whether more are due."""

    executed: int
    more: bool


def execute_due(
    limit: int, choice: Choice = ANY, *, between: Callable[[], None] = lambda: None
) -> SweepResult:
    """Claim and execute due runs in batches, up to ``limit``.

    ``between`` is called before each of them, outside of any transaction.
    """
    executed = 0
    turn = choice
    guard = WriteGuard()
    with guard.installed(), Heartbeat() as heartbeat:
        while executed < limit and not should_stop():
            size = min(get_settings().CLAIM_BATCH, limit - executed)
            runs = claim(size, turn)
            if not runs and turn is choice:
                return SweepResult(executed, more=False)
            turn = _next_turn(runs, size, choice) if turn is choice else choice
            if runs:
                executed += Batch(runs, guard, heartbeat, between).execute()
            for run in runs:
                heartbeat.drop(run)
    return SweepResult(executed, more=True)


def _next_turn(runs: list[FlowRun], size: int, choice: Choice) -> Choice:
    """Let the runs of other flows go first once where some flows have filled a whole batch.

    They are looked for without a lock: what is read but not taken would be locked on MariaDB.
    """
    if len(runs) < size or size == 1 or choice.only is not None:
        return choice
    others = replace(choice, but_flows=frozenset(run.flow_id for run in runs))
    ids = list(others.due().values_list("pk", flat=True)[:size])
    return replace(choice, only=ids) if ids else choice


def due_by_queue(limit: int, choice: Choice = ANY) -> dict[str, list[int]]:
    """Give the primary keys of due runs by queue, the longest overdue first; claims none."""
    found: dict[str, list[int]] = defaultdict(list)
    for pk, queue in choice.due().values_list("pk", "queue")[:limit]:
        found[queue].append(pk)
    return found


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
        execute_due(len(ids), Choice(only=ids))
    except (DatabaseError, InterfaceError):
        logger.warning("The runs %s wait for the next sweep.", list(ids), exc_info=True)
