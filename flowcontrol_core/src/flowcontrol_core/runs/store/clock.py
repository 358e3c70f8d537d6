"""The one clock of the engine: the database's, carried on by the machine's monotonic time.

Workers whose own clocks are wrong agree all the same. Tests put a manual clock in its place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Func, Value

from flowcontrol_core.models.columns import UtcDateTimeField
from flowcontrol_core.runs.store.connection import alias

_FRESH_SECONDS = 60.0


class DatabaseNow(Func):
    """The database's time in UTC at the start of the statement.

    Django's ``Now()`` is the session's local time on MariaDB, and the start of the transaction on
    PostgreSQL. A statement's time is constant in it, so an index can be searched with it.
    """

    output_field = UtcDateTimeField()

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        return "STATEMENT_TIMESTAMP()", []

    def as_mysql(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        return "UTC_TIMESTAMP(6)", []

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        # As long as what Django stores: the text of the same time would be less than it otherwise.
        return "(STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW') || '000')", []


class Clock(Protocol):
    """The source of the time."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""

    def expression(self) -> Expression:
        """Return the time as a database expression."""

    def learn(self, reading: datetime) -> None:
        """Take note of a time that was just read from the database."""

    def time_of_event(self) -> datetime:
        """Return the time for an event that happens now."""

    def time_of_start(self, now: datetime) -> datetime:
        """Return the time for a run that begins now: after the events before it."""


#: How far the times of what happens at one instant of a clock may be set apart.
_INSTANT = timedelta(milliseconds=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


class _Sequence:
    """Keeps events and starts apart that happen in a process at one instant of its clock.

    A run sees the events since it began. A clock has instants: whole milliseconds, or as long as a
    test likes. So a run begins a microsecond after an event before it at the same instant.
    """

    def __init__(self) -> None:
        self._last_event = self._last_start = _NEVER

    def now(self) -> datetime:
        raise NotImplementedError

    def time_of_event(self) -> datetime:
        now, after = self.now(), self._last_start
        self._last_event = after if now < after < now + _INSTANT else now
        return self._last_event

    def time_of_start(self, now: datetime) -> datetime:
        after = self._last_event + timedelta(microseconds=1)
        self._last_start = after if now < after < now + _INSTANT else now
        return self._last_start


class DatabaseClock(_Sequence):
    """The time of one database; read once a minute at most, and with each claim."""

    def __init__(self, alias: str) -> None:
        super().__init__()
        self._alias = alias
        #: What was read, and the monotonic time of it: one value, as threads share it.
        self._known: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        known, at = self._known, time.monotonic()
        if known is None or at - known[1] > _FRESH_SECONDS:
            reading = _ask(connections[self._alias])
            self.learn(reading)
            return reading
        # Whole milliseconds, as SQLite tells them: what is due now has to be due there too.
        return known[0] + timedelta(milliseconds=int((at - known[1]) * 1000))

    def expression(self) -> Expression:
        return DatabaseNow()

    def learn(self, reading: datetime) -> None:
        self._known = (reading, time.monotonic())


class _FixedTime(Value):
    """A fixed time as the database returns it: MariaDB would give the text of a plain value."""

    def as_mysql(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        sql, params = super().as_sql(compiler, connection)
        return f"CAST({sql} AS DATETIME(6))", params


class ManualClock(_Sequence):
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, start: datetime | None = None) -> None:
        super().__init__()
        self._now = start or datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def expression(self) -> Expression:
        return _FixedTime(self._now, output_field=UtcDateTimeField())

    def learn(self, reading: datetime) -> None:
        return None

    def advance(self, delta: timedelta | None = None, **parts: float) -> datetime:
        """Move by a duration (``days=3, hours=1``), and return the new time."""
        self._now += delta if delta is not None else timedelta(**parts)
        return self._now

    def set(self, time: datetime) -> None:
        """Move to a time (aware)."""
        self._now = time.astimezone(UTC)


#: Those of the databases by their aliases: each server has its own time.
_clocks: dict[str, Clock] = {}
_replacements: list[Clock] = []


def clock() -> Clock:
    """Return the clock in force: that of the present database, or the one put in its place."""
    if _replacements:
        return _replacements[-1]
    name = alias()
    found = _clocks.get(name)
    return found or _clocks.setdefault(name, DatabaseClock(name))


AnyClock = TypeVar("AnyClock", bound=Clock)


@contextmanager
def use_clock(replacement: AnyClock) -> Iterator[AnyClock]:
    """Put another clock in force for the length of a ``with`` block, for all threads."""
    _replacements.append(replacement)
    try:
        yield replacement
    finally:
        _replacements.remove(replacement)


def _ask(database: BaseDatabaseWrapper) -> datetime:
    sql, _ = {
        "postgresql": DatabaseNow().as_postgresql,
        "mysql": DatabaseNow().as_mysql,
    }.get(database.vendor, DatabaseNow().as_sqlite)(None, database)
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {sql.replace('%%', '%')}")
        (value,) = cursor.fetchone()
    now: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return now.astimezone(UTC) if now.tzinfo else now.replace(tzinfo=UTC)
