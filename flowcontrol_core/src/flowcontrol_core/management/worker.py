"""The embedded loop: sweeps until it is asked to stop, whatever happens to the database."""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from flowcontrol_core.models import Flow
from flowcontrol_core.runs.execution.sweep import SweepResult, continue_flowruns
from flowcontrol_core.runs.queue.heartbeat import HeartbeatRefused
from flowcontrol_core.runs.queue.workers import (
    clear_stop,
    deregister,
    request_stop,
    should_stop,
    wait_for_stop,
)
from flowcontrol_core.runs.store.connection import in_tenant, pool_size
from flowcontrol_core.runs.store.process import process

logger = logging.getLogger("flowcontrol.worker")

LONGEST_PAUSE = 30.0
#: More share one processor core to no avail; each has a connection to the database.
MOST_THREADS = 64
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def work(
    *,
    interval: float,
    once: bool = False,
    queues: Collection[str] = (),
    concurrency: int = 1,
    report: Callable[[int], None],
) -> None:
    """Sweep every ``interval`` seconds until a stop is requested; with ``once``, a single time.

    While more is due there is no pause. ``report`` is called with the number of runs that a sweep
    has executed. ``concurrency`` threads do it at once, each with its own connections. A database
    that is away is waited for, with growing pauses of at most 30 seconds; with ``once``, its error
    is raised: cron will start another process.
    """
    sweep = partial(_sweep_until_stopped, interval, once, queues, report)
    with ThreadPoolExecutor(concurrency, thread_name_prefix="worker") as pool:
        helpers = [pool.submit(in_tenant(partial(_help, sweep))) for _ in range(1, concurrency)]
        sweep()
    for helper in helpers:
        helper.result()
    if once or should_stop():
        deregister_quietly(once=once)


def _help(sweep: Callable[[], None]) -> None:
    """Do what the main thread does, with connections of this thread's own."""
    try:
        sweep()
    finally:
        connections.close_all()


@contextmanager
def _stopping_all() -> Iterator[None]:
    """Request a stop of all threads where an error ends this one."""
    try:
        yield
    except BaseException:
        request_stop()
        raise


@_stopping_all()
def _sweep_until_stopped(
    interval: float, once: bool, queues: Collection[str], report: Callable[[int], None]
) -> None:
    failures = 0
    while not should_stop():
        result = continue_flowruns(queues=queues) if once else _sweep(failures, queues)
        failures = 0 if result else failures + 1
        if result and result.executed:
            report(result.executed)
        if result and once:
            return
        wait_for_stop(_pause(result, interval, failures))


def unused_queues(queues: Collection[str]) -> list[str]:
    """Return those that no flow has, if the database answers; a flow may be given them later."""
    try:
        used = set(Flow.objects.filter(queue__in=queues).values_list("queue", flat=True))
    except (DatabaseError, InterfaceError):
        return []
    return [queue for queue in dict.fromkeys(queues) if queue not in used]


def missing_connections(concurrency: int) -> int:
    """Return how many connections the pool of this process lacks, its heartbeat included."""
    size = pool_size()
    return 0 if size is None else max(0, concurrency + 1 - size)


def deregister_quietly(*, once: bool) -> None:
    """Take this process out of the table of workers, if the database lets it."""
    try:
        deregister(once=once)
    except (DatabaseError, InterfaceError):
        logger.warning("The database does not answer; this worker will be shown as gone.")


def _sweep(failures: int, queues: Collection[str]) -> SweepResult | None:
    """Sweep once; ``None``: the database failed."""
    try:
        result = continue_flowruns(queues=queues)
    except HeartbeatRefused as error:
        logger.error("No runs are claimed; the worker will retry. %s", error)  # noqa: TRY400
    except (DatabaseError, InterfaceError) as error:
        logger.error(  # noqa: TRY400 - a traceback every few seconds would hide the cause
            "The database does not answer (%s); the worker will retry.",
            " ".join(str(error).split()),
        )
    else:
        if failures:
            logger.warning("The database answers again after %s failed sweeps.", failures)
        return result
    # Where connections are scarce, it is this one that others wait for.
    connections.close_all()
    return None


def _pause(result: SweepResult | None, interval: float, failures: int) -> float:
    if result is None:
        return random.uniform(0.5, 1) * min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 10))
    return 0 if result.more else interval


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a request to stop; a second one ends the process at once."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def stop(*_: object) -> None:
        request_stop()
        _restore(before)

    clear_stop()
    for number in _SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        _restore(before)
        clear_stop()


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
    process.note_handlers()
