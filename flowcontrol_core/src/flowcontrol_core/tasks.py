"""The Celery tasks. A message is a hint that names runs; whoever gets it claims them like anybody.

So a message that is lost, late or repeated costs latency, never a run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from celery import shared_task
from kombu.exceptions import KombuError, OperationalError

from flowcontrol_core.conf import get_settings
from flowcontrol_core.runtime.dispatch import senders
from flowcontrol_core.runtime.sweep import due_ids, execute_due, repeat_looks

logger = logging.getLogger("flowcontrol.runtime")


@shared_task(name="flowcontrol.tasks.continue_flowruns_task", ignore_result=True)
def continue_flowruns_task() -> int:
    """Hand the runs that are due to the workers; for Celery beat. Gives their number."""
    repeat_looks()
    ids = due_ids(get_settings().SWEEP_LIMIT)
    return send(ids)


@shared_task(name="flowcontrol.tasks.run_flowruns_task", ignore_result=True, acks_late=True)
def run_flowruns_task(ids: list[int]) -> int:
    """Execute those of the runs that are still due. Gives their number."""
    return execute_due(len(ids), only=ids).executed


def send(ids: Sequence[int]) -> int:
    """Hand runs to the workers in chunks; give how many. A broker that is down costs latency."""
    sent = 0
    for chunk in _chunks(ids, get_settings().CELERY_CHUNK):
        try:
            run_flowruns_task.apply_async(args=[chunk], retry=False)
        except (KombuError, OperationalError, OSError):
            logger.warning("The broker cannot be reached; the next sweep makes up for it.")
            break
        sent += len(chunk)
    return sent


def _chunks(ids: Sequence[int], size: int) -> list[list[int]]:
    return [list(ids[start : start + size]) for start in range(0, len(ids), size)]


def _send(ids: Sequence[int]) -> None:
    send(ids)


senders["celery"] = _send
