"""The processes that execute runs: the heartbeat of each, and the request to stop this one."""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import timedelta
from queue import Empty, SimpleQueue

from django.db.models import Q
from importlib_metadata import PackageNotFoundError, version

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import Worker
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import PluginStatus
from flowcontrol_core.runs.queue.heartbeat import is_refused
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import TenantCache, alias, retrying, tenant

#: Seconds between two heartbeats.
_EVERY = 10.0
#: How long a process that has stopped is still shown once another one works on its host.
_FORGET = timedelta(hours=1)
_HOST = socket.gethostname()[:80]
#: When the processes of these names (this one, and those that it was forked from) wrote theirs.
_written_at: TenantCache[float] = TenantCache(most=1_000)
_writing = threading.Lock()


def send_heartbeat(queues: tuple[str, ...] = ()) -> None:
    """Write in the table of workers that this process sweeps; at most every ten seconds.

    Threads take turns: a second first time would delete the row of the first one.
    """
    name = f"{_HOST}:{os.getpid()}"
    key = (tenant(), name)
    if time.monotonic() - _written_at.get(key, -_EVERY) < _EVERY:
        return
    with _writing:
        if time.monotonic() - _written_at.get(key, -_EVERY) >= _EVERY:
            _write(name, ",".join(queues)[:500])
            _written_at[key] = time.monotonic()


@retrying
def _write(name: str, queues: str) -> None:
    now = clock().now()
    workers = Worker.objects.using(alias())
    if (tenant(), name) not in _written_at:
        # An earlier process had this name, such as process 1 of a container.
        workers.filter(Q(name=name) | Q(host=_HOST, last_sweep_at__lt=now - _FORGET)).delete()
    workers.update_or_create(
        name=name,
        defaults={"last_sweep_at": now, "queues": queues, "claims": not is_refused()},
        create_defaults={
            "host": _HOST,
            "pid": os.getpid(),
            "queues": queues,
            "plugins": loaded_plugins(),
            "started_at": now,
            "last_sweep_at": now,
        },
    )


@retrying
def deregister(*, once: bool = False) -> None:
    """Take this process out of the table of workers: it has stopped as it should.

    With ``once`` it leaves a row that all such processes of its host share: between two runs of
    cron the table still shows that cron works.
    """
    name = f"{_HOST}:{os.getpid()}"
    workers = Worker.objects.using(alias())
    row = workers.filter(name=name).first() if once else None
    if row is not None:
        shared = {"host": _HOST, "pid": row.pid, "queues": row.queues, "plugins": row.plugins}
        shared |= {"started_at": row.started_at, "last_sweep_at": clock().now()}
        workers.update_or_create(name=f"{_HOST}:once", defaults=shared)
    workers.filter(name=name).delete()
    _written_at.pop((tenant(), name), None)


def loaded_plugins() -> dict[str, str]:
    """Return the distributions that this process has loaded, with their versions."""
    found = {
        report.distribution or report.name: report.version
        for report in plugin_manager.reports
        if report.status is PluginStatus.ACTIVE
    }
    try:
        found["flowcontrol-core"] = version("flowcontrol-core")
    except PackageNotFoundError:
        found["flowcontrol-core"] = "unknown"
    return found


def gone_after() -> timedelta:
    """Return the time without a heartbeat after which a worker counts as gone."""
    return timedelta(seconds=get_settings().WORKER_GONE)


class _StopRequest:
    """The request to stop. A signal handler may make it at any instant, so it takes no lock.

    ``threading.Event`` would not do: a handler that calls ``set()`` while the same thread is
    inside of ``wait()`` may wait for itself. A SimpleQueue is made for this.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.made = False
        self.bell: SimpleQueue[None] = SimpleQueue()


_request = _StopRequest()


def request_stop() -> None:
    """Ask the sweeps of this process to stop after the run that they execute."""
    _request.made = True
    _request.bell.put(None)


def should_stop() -> bool:
    """Return whether the process was asked to stop: what is claimed but not begun is given back."""
    return _request.made


def wait_for_stop(seconds: float) -> bool:
    """Wait until a stop is requested, at most this many seconds; return whether it was."""
    if not _request.made and seconds > 0:
        bell = _request.bell
        try:
            bell.get(timeout=seconds)
        except Empty:
            return _request.made
        # Other threads of this process may be waiting too.
        bell.put(None)
    return _request.made


def clear_stop() -> None:
    """Forget the request."""
    _request.clear()
