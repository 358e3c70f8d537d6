"""The sweep: works on jobs, wakes what was not woken, executes what is due."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from flowcontrol_core.conf import get_settings
from flowcontrol_core.runtime import waking
from flowcontrol_core.runtime.claim import Choice
from flowcontrol_core.runtime.jobs import work_on_jobs
from flowcontrol_core.runtime.sweep import SweepResult, execute_due
from flowcontrol_core.runtime.workers import say_alive


def continue_flowruns(limit: int | None = None, *, queues: Collection[str] = ()) -> SweepResult:
    """Execute the runs that are due: one bounded sweep, for cron and periodic tasks.

    ``limit`` is the most runs it executes (setting SWEEP_LIMIT), ``queues`` names those whose runs
    it executes (empty: all). Any number of sweeps may run at once; they share the work. Not inside
    of a transaction: raises RuntimeError there.
    """
    most = get_settings().SWEEP_LIMIT if limit is None else limit
    changed = begin_sweep(tuple(queues))
    result = execute_due(most, Choice(queues=tuple(queues)))
    # A job that has changed runs may have more to do, so nobody should pause now.
    return replace(result, more=result.more or changed > 0)


def begin_sweep(queues: tuple[str, ...] = ()) -> int:
    """Do what each sweep does first; give the number of runs that jobs have looked at.

    It says that this process is alive, works on jobs, and wakes what was not woken.
    """
    say_alive(queues)
    changed = work_on_jobs()
    repeat_looks()
    return changed


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
