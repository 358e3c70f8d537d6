"""Extends the leases of claimed runs while their steps run, on a connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Self

from django.db import DatabaseError, InterfaceError, connections

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runtime.checkpoint import has_heartbeat, lease_until
from flowcontrol_core.runtime.claim import renew
from flowcontrol_core.runtime.clock import clock
from flowcontrol_core.runtime.database import alias, connection
from flowcontrol_core.runtime.rows import held

logger = logging.getLogger("flowcontrol.runtime")


class Heartbeat:
    """The leases of one batch: extended every quarter of a lease, until a step's time is up."""

    def __init__(self) -> None:
        self._fences: dict[int, int] = {}
        self._deadlines: dict[int, float] = {}
        self._timeouts: dict[int, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, runs: Iterable[FlowRun]) -> None:
        """Extend the leases of these runs from now on."""
        with self._lock:
            self._fences.update({run.pk: run.fence for run in runs})
            if self._thread is None and has_heartbeat():
                self._thread = threading.Thread(
                    target=self._beat, name="flowcontrol-heartbeat", daemon=True
                )
                self._thread.start()

    def drop(self, run: FlowRun) -> None:
        """Leave the lease of a run alone from now on."""
        with self._lock:
            self._fences.pop(run.pk, None)
            self._deadlines.pop(run.pk, None)

    def watch(self, run: FlowRun, timeout: float | None) -> AbstractContextManager[None]:
        """Bound the time of one call: past it the lease is no longer extended."""
        return self._watching(run.pk, timeout)

    def touch(self, run: FlowRun) -> None:
        """Begin the time of the present call anew: its action says that it is alive.

        Raises LostLease, where this is the only heartbeat there is, if the run is somebody else's.
        """
        with self._lock:
            timeout = self._timeouts.get(run.pk)
            if timeout is not None:
                self._deadlines[run.pk] = time.monotonic() + timeout
        # Inside a transaction nobody else can write there; a call without effects must not.
        is_alone = not has_heartbeat() and not connection().in_atomic_block
        if timeout is not None and is_alone:
            renew(run, timeout)

    @contextmanager
    def _watching(self, pk: int, timeout: float | None) -> Iterator[None]:
        seconds = timeout if timeout is not None else get_settings().STEP_TIMEOUT
        with self._lock:
            self._timeouts[pk] = seconds
            self._deadlines[pk] = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.pop(pk, None)
                self._timeouts.pop(pk, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._stop.wait(get_settings().LEASE / 4):
                try:
                    self._extend()
                except (DatabaseError, InterfaceError):
                    logger.warning("The heartbeat could not extend its leases.", exc_info=True)
                    connections[alias()].close()
        finally:
            connections.close_all()

    def _extend(self) -> None:
        now = time.monotonic()
        with self._lock:
            alive = {
                pk: fence
                for pk, fence in self._fences.items()
                if self._deadlines.get(pk, now + 1) > now
            }
        expiry = lease_until(clock().now())
        for pk, fence in alive.items():
            held(pk, fence).update(wake_at=expiry)
