"""Who works: each process that sweeps says so, a few times a minute."""

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
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, retrying

_EVERY = 10.0
#: How long a process that has stopped is still shown once another one works on its host.
_FORGET = timedelta(hours=1)
_said: dict[str, float] = {}
_saying = threading.Lock()


def send_heartbeat(queues: tuple[str, ...] = ()) -> None:
    """Note in the table of workers that this process sweeps; at most every ten seconds.

    Threads take turns: a second first time would delete the row of the first one.
    """
    name = f"{socket.gethostname()[:80]}:{os.getpid()}"
    if _has_said(name):
        return
    with _saying:
        if not _has_said(name):
            _write(name, ",".join(queues)[:500])
            _said[name] = time.monotonic()


def _has_said(name: str) -> bool:
    return time.monotonic() - _said.get(name, -_EVERY) < _EVERY


@retrying
def _write(name: str, queues: str) -> None:
    host, pid = name.rsplit(":", 1)
    now = clock().now()
    workers = Worker.objects.using(alias())
    if name not in _said:
        # Who had this name before, such as process 1 of a container, was another process.
        workers.filter(Q(name=name) | Q(host=host, last_sweep_at__lt=now - _FORGET)).delete()
    workers.update_or_create(
        name=name,
        defaults={"last_sweep_at": now, "queues": queues},
        create_defaults={
            "host": host,
            "pid": int(pid),
            "queues": queues,
            "plugins": loaded_plugins(),
            "started_at": now,
            "last_sweep_at": now,
        },
    )


@retrying
def deregister(*, once: bool = False) -> None:
    """Take this process out of the table of workers: it has stopped as it should.

    With ``once`` it leaves a row that all such processes of its host share: cron works, whoever
    looks between two of them.
    """
    host, pid = socket.gethostname()[:80], os.getpid()
    name = f"{host}:{pid}"
    workers = Worker.objects.using(alias())
    row = workers.filter(name=name).first() if once else None
    if row is not None:
        shared = {"host": host, "pid": pid, "queues": row.queues, "plugins": row.plugins}
        shared |= {"started_at": row.started_at, "last_sweep_at": clock().now()}
        workers.update_or_create(name=f"{host}:once", defaults=shared)
    workers.filter(name=name).delete()
    _said.pop(name, None)


def loaded_plugins() -> dict[str, str]:
    """Give the distributions that this process has loaded, with their versions."""
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


def gone_since() -> timedelta:
    """Give the time without a sweep after which a worker counts as gone."""
    return timedelta(seconds=get_settings().WORKER_GONE)


class _Request:
    """The request. A signal handler may make it at any instant, so it takes no lock.

    ``threading.Event`` would not do: a handler that calls ``set()`` while the same thread is
    inside of ``wait()`` may wait for itself. A SimpleQueue is made for this.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.made = False
        self.bell: SimpleQueue[None] = SimpleQueue()


_request = _Request()


def request_stop() -> None:
    """Ask the sweeps of this process to stop after the run that they are at."""
    _request.made = True
    _request.bell.put(None)


def should_stop() -> bool:
    """Say whether the process was asked to stop."""
    return _request.made


def wait_for_stop(seconds: float) -> bool:
    """Wait, at most so long, to be asked to stop; say whether that is so."""
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
