"""The Celery tasks. A message is a hint that names runs; its worker claims them as any other does.

So a message that is lost, late or repeated costs latency, never a run.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from celery import current_app, shared_task
from django.conf import settings as django_settings
from django.db import reset_queries
from kombu import Connection, Producer
from kombu.exceptions import KombuError
from kombu.pools import producers

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.sweep import begin_sweep, due_by_queue, execute_due
from flowcontrol_core.runs.operations.retention import prune
from flowcontrol_core.runs.queue.claim import Choice
from flowcontrol_core.runs.queue.workers import send_heartbeat, should_stop
from flowcontrol_core.runs.store.connection import alias, senders

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


@shared_task(name="flowcontrol.tasks.continue_flowruns_task", ignore_result=True)
def continue_flowruns_task() -> int:
    """Hand the runs that are due to the workers; for Celery beat. Return their number."""
    if not begin_sweep().due:
        return 0
    return send(due_by_queue(get_settings().SWEEP_LIMIT))


@shared_task(name="flowcontrol.tasks.run_flowruns_task", ignore_result=True, acks_late=True)
def run_flowruns_task(ids: list[int]) -> int:
    """Execute those of the runs that are still due; return their number.

    What is still due then, because it yielded as a long run does, or because another claim had it
    locked, has its next turn after the messages that wait.
    """
    if django_settings.DEBUG:
        reset_queries()
    send_heartbeat()
    executed = execute_due(len(ids), Choice(only=ids), between=send_heartbeat).executed
    left = {} if should_stop() else due_by_queue(len(ids), Choice(only=ids))
    if left and not executed:
        time.sleep(random.uniform(*LOCKED_PAUSE))
    if left:
        send(left)
    return executed


def send(runs: Mapping[str, Sequence[int]], *, quickly: bool = False) -> int:
    """Hand runs to the workers of their queues in chunks; return how many.

    The queue ``default`` is Celery's own. A broker that is down costs latency. ``quickly`` sends
    over a connection that was used before: into the void where the broker has restarted since.
    """
    sent = 0
    try:
        with _producer(quickly=quickly) as producer:
            for queue, ids in runs.items():
                options: dict[str, Any] = {} if queue == DEFAULT else {"queue": queue}
                for chunk in _chunks(ids, get_settings().CELERY_CHUNK):
                    run_flowruns_task.apply_async(
                        args=(chunk,), retry=False, producer=producer, **options
                    )
                    sent += len(chunk)
    except (KombuError, OSError):
        logger.warning("The broker cannot be reached; the next sweep will retry.")
    return sent


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
