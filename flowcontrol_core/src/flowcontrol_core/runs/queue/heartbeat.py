"""The heartbeat: extends the leases of this process while steps run.

One thread for all sweeps of a process, with a connection of its own to each database of runs. It
is connected before the first run is claimed: a lease that is not extended would be taken by another
worker, and its call be made again.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from django.core import mail
from django.db import DatabaseError, InterfaceError, OperationalError, connections

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.queue.claim import has_heartbeat, lease_until, renew
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    in_tenant,
    is_row_locked,
)
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.rows import owned, update

logger = logging.getLogger("flowcontrol.runs")
#: How long, in seconds, a claim waits for the connection of the heartbeat.
PATIENCE = 10.0
#: How soon, in seconds, the heartbeat tries again to connect.
AGAIN = 1.0


class HeartbeatRefused(OperationalError):
    """The heartbeat gets no connection to the database, so nothing is claimed."""


def no_beat() -> None:
    """Stand in where nothing is reserved."""


@dataclass(eq=False, slots=True)
class Heartbeat:
    """The leases of one sweep: extended every quarter of a lease, until a call's time is up.

    Then none of them is: the other runs of the batch would wait for a call that hangs.
    """

    _fences: dict[int, int] = field(default_factory=dict)
    #: The time-out in seconds of the present call, and when it is up.
    _timeout: float | None = None
    _deadline: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: Extends the leases in the tenant whose runs they are of; and the alias of its database, which
    #: is empty until the heartbeat is reserved.
    beat: Callable[[], None] = no_beat
    database: str = ""

    def reserve(self) -> None:
        """Have the heartbeat connected, before runs are claimed; raises HeartbeatRefused.

        Not inside of a transaction, as tests are: no one else sees its runs.
        """
        if has_heartbeat() and not connection().in_atomic_block:
            self.beat, self.database = in_tenant(self.extend), alias()
            _pulse.beat_for(self)

    def hold(self, runs: Iterable[FlowRun]) -> None:
        """Extend the leases of these runs from now on."""
        with self._lock:
            for run in runs:
                self._fences[run.pk] = run.fence

    def drop(self, *runs: FlowRun) -> None:
        """Leave the leases of these runs alone from now on."""
        with self._lock:
            for run in runs:
                self._fences.pop(run.pk, None)

    @contextmanager
    def watch(self, timeout: float | None) -> Iterator[None]:
        """Bound the time of one call in seconds: after it no lease is extended."""
        seconds = get_settings().STEP_TIMEOUT if timeout is None else timeout
        self._timeout = seconds
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._timeout = self._deadline = None

    def touch(self, run: FlowRun, guard: CallGuard) -> None:
        """Begin the time of the present call anew: its action reports that it is alive.

        Raises LostLease, where this is the only heartbeat there is, if another worker has the run.
        """
        if (timeout := self._timeout) is None:
            return
        self._deadline = time.monotonic() + timeout
        # Inside a transaction no other connection can write there; a call without effects must not.
        is_alone = not has_heartbeat() and not connection().in_atomic_block
        if is_alone and not guard.armed:
            renew(run, timeout)

    def extend(self) -> None:
        """Begin the leases anew, unless the present call's time is up."""
        connection().ensure_connection()
        deadline = self._deadline
        if deadline is not None and deadline <= time.monotonic():
            return
        with self._lock:
            fences = dict(self._fences)
        expiry = lease_until(clock().now())
        for pk, fence in fences.items():
            try:
                update(owned(pk, fence), due_at=expiry)
            except OperationalError as error:
                if not is_row_locked(error):
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.database:
            _pulse.stop_for(self)


class Pulse:
    """The thread that beats for all heartbeats of this process.

    It stays for the length of a lease after the last one, so that a process which executes a run
    now and then does not connect anew for each.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a process that was forked: it has none of the threads."""
        #: Told of each beat.
        self._beaten = threading.Condition()
        self._hearts: set[Heartbeat] = set()
        self._thread: threading.Thread | None = None
        self._used_at = 0.0
        #: What ends the pause of the thread.
        self._bell = threading.Event()
        #: By alias, the databases that the thread is connected to, and why it is not to others.
        self._connected: set[str] = set()
        self.errors: Mapping[str, Exception] = {}

    def beat_for(self, heart: Heartbeat) -> None:
        """Extend the leases of a heartbeat from now on; raises HeartbeatRefused."""
        using = heart.database
        with self._beaten:
            self._hearts.add(heart)
            if self._thread is None or not self._thread.is_alive():
                self._begin()
            elif not self._has_tried(using):
                self._bell.set()
            self._beaten.wait_for(partial(self._has_tried, using), PATIENCE)
            if using in self._connected:
                return
            error = self.errors.get(using)
        raise HeartbeatRefused(
            f"The heartbeat gets no connection to the database {using!r} "
            f"({' '.join(str(error or 'it does not answer').split())}). A process needs "
            "one connection more than it has threads that execute runs: give its pool or the "
            "server more, or start fewer threads."
        ) from error

    def _has_tried(self, using: str) -> bool:
        return using in self._connected or using in self.errors

    def stop_for(self, heart: Heartbeat) -> None:
        """Leave the leases of a heartbeat alone from now on."""
        with self._beaten:
            self._hearts.discard(heart)
            self._used_at = time.monotonic()
        if not self._hearts and _is_test():
            self.end()

    def end(self) -> None:
        """End the thread now, unless there are heartbeats."""
        with self._beaten:
            self._used_at, thread = -math.inf, self._thread
        if thread is not None:
            self._bell.set()
            thread.join(AGAIN)

    def _begin(self) -> None:
        self._bell.clear()
        self._connected, self.errors = set(), {}
        self._thread = threading.Thread(target=self._run, name="flowcontrol-heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._has_ended():
                self._bell.wait(self._beat())
                self._bell.clear()
        finally:
            connections.close_all()

    def _beat(self) -> float:
        """Extend all leases; return the time in seconds until the next beat.

        A database that fails keeps no lease of another one from being extended.
        """
        hearts, errors = list(self._hearts), dict[str, Exception]()
        for heart in hearts:
            try:
                heart.beat()
            except (DatabaseError, InterfaceError) as error:
                errors[heart.database] = error
                connections[heart.database].close()
        for using in errors.keys() - self.errors.keys():
            logger.warning(
                "The heartbeat could not extend its leases in %s.", using, exc_info=errors[using]
            )
        with self._beaten:
            self._connected = {*self._connected, *(heart.database for heart in hearts)}
            self._connected -= errors.keys()
            self.errors = errors
            self._beaten.notify_all()
        quarter = get_settings().LEASE / 4
        return min(AGAIN, quarter) if errors else quarter

    def _has_ended(self) -> bool:
        """Return whether no heartbeat needs the thread any more; it ends then."""
        with self._beaten:
            if self._hearts or time.monotonic() - self._used_at < get_settings().LEASE:
                return False
            self._thread, self.errors = None, {}
            return True


def _is_test() -> bool:
    """Return whether Django's test environment is set up: its database is dropped at the end.

    PostgreSQL refuses that while anyone is connected.
    """
    return hasattr(mail, "outbox")


_pulse = Pulse()


def disconnect() -> None:
    """End the thread of this process, for a database that is to be dropped."""
    _pulse.end()


def is_refused() -> bool:
    """Return whether this process claims nothing, because its heartbeat has no connection."""
    return alias() in _pulse.errors


os.register_at_fork(after_in_child=_pulse.forget)
