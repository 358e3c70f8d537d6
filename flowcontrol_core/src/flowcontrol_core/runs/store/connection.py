"""The runs' database: which one it is, which of its errors pass, and who may write to it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import (
    InterfaceError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet, Subquery
from django.db.models.sql import Query
from django.db.models.sql.constants import SINGLE

from flowcontrol_core.errors import EffectsError
from flowcontrol_core.models import FlowRun

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_TRANSIENT = re.compile(
    r"deadlock|could not serialize|locked|lock (wait )?timeout|record has changed"
    r"|restart transaction",
    re.IGNORECASE,
)
#: MySQL's and MariaDB's numbers for a connection that is gone, lost, killed or timed out.
_MYSQL_GONE = frozenset({1053, 1927, 2006, 2013, 2055, 4031})
#: PostgreSQL's classes and codes for a connection that failed, a server that shuts down or starts
#: up, and a session that was idle for too long.
_POSTGRESQL_GONE = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")
_TRIES = 8
#: Seconds of work, and of leaving the lock to others, in ``yield_lock``.
_TURN = 0.02
_WAY = (0.002, 0.006)
_made_way = [0.0]
_WRITE = re.compile(
    r"\s*(?:/\*.*?\*/\s*)*(insert|update|delete|replace|merge|create|alter|drop|truncate|call)\b",
    re.IGNORECASE | re.DOTALL,
)


def alias() -> str:
    """Name the database that holds the runs."""
    return router.db_for_write(FlowRun)


def connection() -> BaseDatabaseWrapper:
    """Give this thread's connection to the runs' database."""
    return connections[alias()]


def is_transient(error: BaseException) -> bool:
    """Say whether the same transaction may well succeed when it is tried again."""
    return isinstance(error, OperationalError) and bool(_TRANSIENT.search(str(error)))


def is_lost_connection(error: BaseException) -> bool:
    """Say whether the database, not what was asked of it, is the trouble."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    # Asking the database would not do: in a transaction that failed it refuses any answer. And
    # behind the transaction Django may be connected anew already.
    raw = connection().connection
    code = error.args[0] if error.args else None
    closed = raw is None or bool(getattr(raw, "closed", False))
    return closed or code in _MYSQL_GONE or _is_postgresql_gone(error.__cause__)


def _is_postgresql_gone(cause: BaseException | None) -> bool:
    """Say whether an error of psycopg is the server's farewell, or the client's own.

    The client's own operational errors, which are about the connection, have no code.
    """
    for name in ("sqlstate", "pgcode"):
        if hasattr(cause, name):
            state = getattr(cause, name)
            return state is None or state.startswith(_POSTGRESQL_GONE)
    return False


def retry_transient(work: Callable[[], Result]) -> Result:
    """Do a whole transaction, again after a deadlock or a serialisation failure.

    Outside of a transaction only: inside of one the database has rolled all of it back.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return work()
        except OperationalError as error:
            if connection().in_atomic_block or attempt == _TRIES or not is_transient(error):
                raise
            pause(attempt)
    raise AssertionError("unreachable")


def retrying(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a function that writes transactions of its own do so with ``retry_transient``.

    Not only for locks taken in a wrong order: on MariaDB two statements about one and the same row
    deadlock if one reaches it by its primary key and the other by an index.
    """

    @wraps(work)
    def retried(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return retry_transient(partial(work, *args, **kwargs))

    return retried


def pause(attempt: int) -> None:
    """Wait a little before a transaction is tried again, with full jitter."""
    time.sleep(random.uniform(0, min(1.0, 0.005 * 2**attempt)))


def yield_lock() -> None:
    """Let others write, after a transaction: nothing to do but on SQLite.

    There, whoever waits for the lock looks every now and then whether it is free; a worker that
    takes it again at once would starve them, an operator who cancels the run among them.
    """
    database: Any = connection()
    if database.vendor != "sqlite" or database.is_in_memory_db():
        return
    if time.monotonic() - _made_way[0] > _TURN:
        time.sleep(random.uniform(*_WAY))
        _made_way[0] = time.monotonic()


def durable() -> transaction.Atomic:
    """Open a transaction of our own: never inside of somebody else's."""
    return transaction.atomic(using=alias(), durable=True)


@retrying
def have_rows(*queries: QuerySet[Any]) -> list[bool]:
    """Say of each query whether it gives a row: one round trip for all of them.

    Each is to be ordered by the index that answers it. EXISTS would not do: it drops the order, and
    PostgreSQL, where its statistics are old, expects a row early in the table and reads all of it.
    """
    asked = Query(None)
    for number, query in enumerate(queries):
        asked.add_annotation(Subquery(query.values("pk")[:1]), f"query{number}")
    row = asked.get_compiler(using=alias()).execute_sql(SINGLE)
    return [value is not None for value in row]


class WriteGuard:
    """Refuses database writes while an action that declared no effects is called."""

    __slots__ = ("armed",)

    def __init__(self) -> None:
        self.armed = False

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if self.armed and _WRITE.match(sql):
            raise EffectsError(
                "An action with Effects.NONE wrote to the database. Declare Effects.DATABASE, so "
                "that its writes and the checkpoint are one transaction."
            )
        return execute(sql, params, many, context)

    @contextmanager
    def installed(self) -> Iterator[WriteGuard]:
        """Watch all connections of this thread for the length of a ``with`` block."""
        with ExitStack() as stack:
            for database in connections.all():
                stack.enter_context(database.execute_wrapper(self))
            yield self
