"""Extends the leases of claimed runs while their steps run, on a connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from django.db import DatabaseError, InterfaceError, connections

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.checkpoint import has_heartbeat, lease_until
from flowcontrol_core.runs.queue.claim import renew
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import WriteGuard, alias, connection
from flowcontrol_core.runs.store.rows import held

logger = logging.getLogger("flowcontrol.runtime")


class Heartbeat:
    """The leases of one batch: extended every quarter of a lease, until a call's time is up.

    Then none of them is: the other runs of the batch would wait behind a call that hangs.
    """

    def __init__(self) -> None:
        self._fences: dict[int, int] = {}
        #: The time-out in seconds of the present call, and when it is up.
        self._timeout: float | None = None
        self._deadline: float | None = None
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

    @contextmanager
    def watch(self, timeout: float | None) -> Iterator[None]:
        """Bound the time of one call in seconds: past it no lease is extended any more."""
        seconds = get_settings().STEP_TIMEOUT if timeout is None else timeout
        self._timeout = seconds
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._timeout = self._deadline = None

    def touch(self, run: FlowRun, guard: WriteGuard) -> None:
        """Begin the time of the present call anew: its action says that it is alive.

        Raises LostLease, where this is the only heartbeat there is, if the run is somebody else's.
        """
        if (timeout := self._timeout) is None:
            return
        self._deadline = time.monotonic() + timeout
        # Inside a transaction nobody else can write there; a call without effects must not.
        is_alone = not has_heartbeat() and not connection().in_atomic_block
        if is_alone and not guard.armed:
            renew(run, timeout)

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
        deadline = self._deadline
        if deadline is not None and deadline <= time.monotonic():
            return
        with self._lock:
            fences = dict(self._fences)
        expiry = lease_until(clock().now())
        for pk, fence in fences.items():
            held(pk, fence).update(wake_at=expiry)
