"""The sweep: works on jobs, wakes what was not woken, executes what is due."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from flowcontrol_core.conf import get_settings
from flowcontrol_core.runs.execution.sweep import SweepResult, execute_due
from flowcontrol_core.runs.operations import bulk
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.claim import ANY, Choice
from flowcontrol_core.runs.queue.workers import say_alive
from flowcontrol_core.runs.store.connection import have_rows

#: Seconds between two times of doing, in one sweep, what a sweep begins with.
AGAIN = 2.0


@dataclass(frozen=True, slots=True)
class Begun:
    """What the begin of a sweep came to.

    ``looked_at`` is the number of runs that jobs have looked at, ``due`` whether runs may be due.
    """

    looked_at: int
    due: bool


def continue_flowruns(limit: int | None = None, *, queues: Collection[str] = ()) -> SweepResult:
    """Execute the runs that are due: one bounded sweep, for cron and periodic tasks.

    ``limit`` is the most runs it executes (setting SWEEP_LIMIT), ``queues`` names those whose runs
    it executes (empty: all). Any number of sweeps may run at once; they share the work. Not inside
    of a transaction: raises RuntimeError there, once a run is due.
    """
    most = get_settings().SWEEP_LIMIT if limit is None else limit
    begun = begin_sweep(tuple(queues))
    if not begun.due:
        return SweepResult(executed=0, more=False)
    again = _Again(tuple(queues), begun)
    result = execute_due(most, Choice(queues=tuple(queues)), between=again)
    # A job that has changed runs may have more to do, so nobody should pause now.
    return replace(result, more=result.more or again.has_looked)


class _Again:
    """Begins the sweep again every now and then while it goes on, between two runs.

    Otherwise whoever cancels runs in bulk would wait behind all those that are due.
    """

    def __init__(self, queues: tuple[str, ...], begun: Begun) -> None:
        self.queues = queues
        self.has_looked = False
        self._next = 0.0
        self._plan(begun)

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + AGAIN
            self._plan(begin_sweep(self.queues))

    def _plan(self, begun: Begun) -> None:
        """Go on with a job before the next run, and look for other things in a while."""
        self.has_looked = self.has_looked or begun.looked_at > 0
        self._next = time.monotonic() + (0 if begun.looked_at else AGAIN)


def begin_sweep(queues: tuple[str, ...] = ()) -> Begun:
    """Do what each sweep does first, and find out whether there is more to do.

    It says that this process is alive, works on jobs, and wakes the runs whose wake-up was lost
    because a process died after a commit. Where there is nothing to do, it costs one query.
    """
    say_alive(queues)
    parts = (
        (bulk.unfinished(), bulk.work_on_jobs),
        (outbox.unannounced_events(), outbox.announce_events),
        (outbox.unannounced_ends(), outbox.announce_ended),
        (outbox.untold_messages(), outbox.deliver_messages),
        (outbox.missing_actions(), outbox.unblock),
    )
    # By queue: no index gives the first of several queues.
    due = [Choice(queues=(queue,)).due() for queue in queues] or [ANY.due()]
    found = have_rows(*(rows for rows, _ in parts), *due)
    done = [work() if has else 0 for (_, work), has in zip(parts, found, strict=False)]
    return Begun(looked_at=done[0], due=any(done) or any(found[len(parts) :]))
