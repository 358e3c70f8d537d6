"""The Celery tasks. A message is a hint that names runs; its worker claims them as any other does.

So a message that is lost, late or repeated costs latency, never a run.
"""

from __future__ import annotations

import logging
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Task, current_app, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings as django_settings
from django.db import reset_queries
from kombu import Connection, Producer
from kombu.exceptions import KombuError
from kombu.pools import producers

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import interruptions
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.activation import executing
from flowcontrol_core.runs.execution.sweep import begin_sweep, due_by_queue, execute_due
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.runs.queue.claim import ANY, TURN, Choice
from flowcontrol_core.runs.queue.handouts import forget_handouts, take_handouts
from flowcontrol_core.runs.queue.workers import (
    clear_stop,
    request_stop,
    send_heartbeat,
    should_stop,
)
from flowcontrol_core.runs.store.connection import alias, senders

# A task that is to end: no fault of the step that it is raised in.
interruptions.add(SoftTimeLimitExceeded)
logger = logging.getLogger("flowcontrol.runs")
#: Seconds without another attempt to reach the broker after a commit.
SILENCE = 5.0
#: Seconds that a broker has to answer in, where Celery's own settings do not say otherwise.
LONGEST_WAIT = 2
#: The options that bound it, by kinds of brokers.
_TIMEOUTS = {
    "amqp": ("read_timeout", "write_timeout"),
    "redis": ("socket_timeout", "socket_connect_timeout"),
}
#: Between which seconds runs are left alone that another claim has locked.
LOCKED_PAUSE = (0.05, 0.2)
#: The queue of flows that name none: it is the one that Celery uses by default.
DEFAULT = "default"


class Hint(Task[Any, Any]):
    """A message that expires where no worker receives it: a later one says the same."""

    @property
    def expires(self) -> float:  # type: ignore[override]
        return get_settings().CELERY_EXPIRES


@shared_task(base=Hint, name="flowcontrol.tasks.continue_flowruns_task", ignore_result=True)
def continue_flowruns_task() -> int:
    """Hand the runs that are due to the workers; for Celery beat. Return their number.

    What was handed out before and waits for a worker is not handed out again.
    """
    if not begin_sweep().due:
        return 0
    due: Any = ANY.due().values_list("pk", "queue", "due_at")[: get_settings().SWEEP_LIMIT]
    runs = take_handouts(due, _is_drained)
    sent = send(runs)
    if sent < sum(map(len, runs.values())):
        forget_handouts(runs)
    return sent


@shared_task(
    base=Hint, name="flowcontrol.tasks.run_flowruns_task", ignore_result=True, acks_late=True
)
def run_flowruns_task(ids: list[int]) -> int:
    """Execute those of the runs that are still due, as many as a turn takes; return their number.

    What is still due then has its next turn after the messages that wait: because it yielded as a
    long run does, or another claim had it locked, or those before it took long. Of the last kind
    two messages are made, so that a worker that is idle has its share.
    """
    if django_settings.DEBUG:
        reset_queries()
    choice, executed, stopped = Choice(only=ids), 0, should_stop()
    with _soft_limit() as withdraw_stop:
        send_heartbeat()
        try:
            executed = execute_due(len(ids), choice, between=send_heartbeat, seconds=TURN).executed
        except SoftTimeLimitExceeded:
            logger.warning(
                "Celery's soft time limit interrupted a step. Its run, and what was left of the "
                "chunk, went back; use a smaller CELERY_CHUNK, or a longer limit."
            )
        withdraw_stop()
        left = {} if stopped or should_stop() else due_by_queue(len(ids), choice)
        if left and not executed:
            time.sleep(random.uniform(*LOCKED_PAUSE))
        if left:
            send(left, parts=2 if executed else 1)
    return executed


@contextmanager
def _soft_limit() -> Iterator[Callable[[], None]]:
    """Have Celery's soft time limit end the chunk, without an interruption of the engine itself.

    It is a signal of the processes of the pool "prefork"; the other pools have none. A step is
    interrupted by it; where the step does not mind, or none is being called, what was not begun
    goes back all the same. Yields what withdraws the stop that it has requested: the rest of the
    chunk is still to be sent, without an interruption.
    """
    raise_limit = signal.getsignal(SIG_SOFT_TIMEOUT) if SIG_SOFT_TIMEOUT else None
    if raise_limit is not soft_timeout_sighandler:
        yield _do_nothing
        return

    def end_chunk(number: int, frame: FrameType | None) -> None:
        request_stop()
        if executing.get() is not None:
            soft_timeout_sighandler(number, frame)

    signal.signal(SIG_SOFT_TIMEOUT, end_chunk)
    try:
        yield clear_stop
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, raise_limit)
        clear_stop()


def _do_nothing() -> None:
    """Stand in where there is no limit."""


def send(runs: Mapping[str, Sequence[int]], *, quickly: bool = False, parts: int = 1) -> int:
    """Hand runs to the workers of their queues in chunks, at least ``parts``; return how many.

    The queue ``default`` is Celery's own. A broker that is down costs latency. ``quickly`` sends
    over a connection that was used before: into the void where the broker has restarted since.
    """
    if not runs:
        return 0
    sent = 0
    try:
        with _producer(quickly=quickly) as producer:
            for queue, ids in runs.items():
                options: dict[str, Any] = {} if queue == DEFAULT else {"queue": queue}
                size = min(get_settings().CELERY_CHUNK, -(-len(ids) // parts))
                for chunk in _chunks(ids, size):
                    run_flowruns_task.apply_async(
                        args=(chunk,), retry=False, producer=producer, **options
                    )
                    sent += len(chunk)
    except (KombuError, OSError):
        logger.warning("The broker cannot be reached; the next sweep will retry.")
    return sent


def _is_drained(queue: str) -> bool:
    """Return whether no message waits in the queue of a flow; False where the broker cannot say.

    So what was lost is handed out again at the next message of beat, not when it would expire.
    """
    if current_app.conf.task_always_eager:
        return True
    route = current_app.amqp.router.route({}, run_flowruns_task.name)
    name = route["queue"].name if queue == DEFAULT else queue
    with _connection() as connection:
        try:
            _connect(connection)
            channel: Any = connection.default_channel
            return int(channel.queue_declare(name, passive=True).message_count) == 0
        except connection.channel_errors:
            # There is no such queue: nothing was ever sent to it.
            return True
        except (KombuError, OSError):
            return False


def by_queue(ids: Sequence[int]) -> dict[str, list[int]]:
    """Sort runs by the queues of their workers."""
    runs: dict[str, list[int]] = defaultdict(list)
    rows = FlowRun.objects.using(alias()).filter(pk__in=ids).order_by("pk")
    for pk, queue in rows.values_list("pk", "queue"):
        runs[queue].append(pk)
    return runs


@contextmanager
def _producer(*, quickly: bool) -> Iterator[Producer | None]:
    """Return a producer that is connected; raises KombuError or OSError soon if it cannot be."""
    if current_app.conf.task_always_eager:
        yield None
    elif quickly:
        with producers[_connection()].acquire(block=True) as producer:
            _connect(producer.connection)
            yield producer
    else:
        with _connection() as connection:
            _connect(connection)
            yield Producer(connection)


def _connect(connection: Connection) -> None:
    """Connect without the patience of Celery, which tries for several seconds."""
    # Once more for a connection that was lost since it was used.
    connection.ensure_connection(
        max_retries=1, interval_start=0, interval_step=0, timeout=LONGEST_WAIT
    )


def _connection() -> Connection:
    """Return a connection that does not wait for long, and tells which pool it is of.

    A broker that is frozen still accepts connections, and would be waited for without end.
    """
    connection = current_app.connection_for_write(connect_timeout=LONGEST_WAIT)
    kind = connection.get_transport_cls().driver_type
    limits: dict[str, Any] = dict.fromkeys(_TIMEOUTS.get(kind, ()), LONGEST_WAIT)
    connection.transport_options = limits | (connection.transport_options or {})
    return connection


def _chunks(ids: Sequence[int], size: int) -> list[list[int]]:
    return [list(ids[start : start + size]) for start in range(0, len(ids), size)]


class _Sender:
    """Sends runs after a commit; after a failure it leaves them to the sweep for some seconds.

    So that of all who commit while the broker does not answer, hardly anyone waits for it.
    """

    def __init__(self) -> None:
        self.silent_until = 0.0

    def __call__(self, ids: Sequence[int]) -> None:
        if time.monotonic() < self.silent_until:
            return
        runs = by_queue(ids)
        if send(runs, quickly=True) < sum(map(len, runs.values())):
            self.silent_until = time.monotonic() + SILENCE


senders["celery"] = _Sender()


@shared_task(name="flowcontrol.tasks.prune_task", ignore_result=True)
def prune_task() -> int:
    """Delete what is older than the settings and the flows say; for Celery beat, once a day."""
    return prune(by="prune_task").runs
