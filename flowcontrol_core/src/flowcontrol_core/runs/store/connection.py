"""The connection to the runs' database: whose tables it shows, its errors, its transactions.

A site without tenants is one tenant. Whatever a process remembers of the rows of the core's tables
is in a ``TenantCache``: kept apart by database and schema, and forgotten when tables are emptied.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar

from django.db import (
    Error,
    InterfaceError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet, Subquery
from django.db.models.signals import post_migrate
from django.db.models.sql import Query
from django.db.models.sql.constants import SINGLE

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import raise_interruption
from flowcontrol_core.models import FlowRun

logger = logging.getLogger("flowcontrol.runs")
Result = TypeVar("Result")
Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

_TRANSIENT = re.compile(
    r"deadlock|could not serialize|locked|lock (wait )?timeout|record has changed"
    r"|restart transaction",
    re.IGNORECASE,
)
#: What PostgreSQL and MariaDB say where another session has a row locked for too long.
_ROW_LOCKED = re.compile(r"lock (wait )?timeout", re.IGNORECASE)
#: MySQL's and MariaDB's numbers for a connection that is gone, lost, killed or timed out.
_MYSQL_GONE = frozenset({1053, 1927, 2006, 2013, 2055, 4031})
#: PostgreSQL's classes and codes for a connection that failed, a server that shuts down or starts
#: up, and a session that was idle for too long.
_POSTGRESQL_GONE = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")
#: What is noted on an error: the alias of the database that it came from.
_SOURCE = "flowcontrol_source"
_TRIES = 8
#: Seconds of work, and of leaving the lock to others, in ``yield_lock``.
_TURN = 0.02
_PAUSE = (0.002, 0.006)
_yielded_at = [0.0]


def alias() -> str:
    """Return the alias of the database that holds the runs."""
    return router.db_for_write(FlowRun)


def connection() -> BaseDatabaseWrapper:
    """Return this thread's connection to the runs' database."""
    return connections[alias()]


def pool_size() -> int | None:
    """Return how many connections the pool of the runs' database has; None where there is none.

    Each process has a pool of its own.
    """
    pool = connections.settings[alias()].get("OPTIONS", {}).get("pool")
    if not pool:
        return None
    options = pool if isinstance(pool, dict) else {}
    # What psycopg_pool does without these.
    return int(options.get("max_size") or options.get("min_size") or 4)


class Tenant(NamedTuple):
    """A database, by its alias and its name, and the schema that its connection shows.

    The schema is what django-tenants calls ``schema_name``; it is empty where one connection always
    shows the same tables.
    """

    alias: str
    database: str
    schema: str = ""


def tenant() -> Tenant:
    """Return the present tenant: a router chooses its database, and the connection its schema."""
    database: Any = connection()
    name = str(database.settings_dict["NAME"])
    return Tenant(database.alias, name, getattr(database, "schema_name", ""))


def in_tenant(work: Callable[[], None]) -> Callable[[], None]:
    """Return ``work`` for a thread of its own, where it sees the tenant that is present now."""
    return partial(copy_context().run, partial(_show_and_work, tenant_restorer(), work))


def _show_and_work(show: Callable[[], None] | None, work: Callable[[], None]) -> None:
    if show is not None:
        show()
    work()


def tenant_restorer() -> Callable[[], None] | None:
    """Return what has a thread's connection to the runs show the tables that this one shows now.

    None where one connection always shows the same tables. The thread may be another one.
    """
    database: Any = connection()
    schema = getattr(database, "schema_name", None)
    # django-tenants has the tenant itself there, which code may ask for more than the schema.
    shown = getattr(database, "tenant", None)
    return None if schema is None else partial(_show, database.alias, schema, shown)


def _show(using: str, schema: str, shown: Any) -> None:
    database: Any = connections[using]
    if database.schema_name == schema:
        return
    if shown is None:
        database.set_schema(schema)
    else:
        database.set_tenant(shown)


def is_search_path(database: BaseDatabaseWrapper, sql: str) -> bool:
    """Return whether a statement chooses the tables that a connection shows, as its tenant asks.

    django-tenants sends it before each statement of anyone.
    """
    return hasattr(database, "schema_name") and sql.startswith("SET search_path = ")


class TenantCache(dict[tuple[Hashable, ...], Value]):
    """What this process remembers of rows, by keys that begin with ``tenant()``: whose rows.

    A key also names all else that a value depends on, such as the digest of a document. Beyond
    ``most`` values, the oldest are forgotten.
    """

    #: All of them, to be emptied together.
    every: ClassVar[list[TenantCache[Any]]] = []

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._changing = threading.Lock()
        self.every.append(self)

    def __setitem__(self, key: tuple[Hashable, ...], value: Value) -> None:
        if not isinstance(key[0], Tenant):
            raise TypeError(f"The key {key!r} does not begin with tenant().")
        with self._changing:
            super().__setitem__(key, value)
            while len(self) > self._most:
                del self[next(iter(self))]

    def clear(self) -> None:
        with self._changing:
            super().clear()


def connect() -> None:
    """Notice when this process creates or empties tables: ``migrate``, ``flush``, and tests."""
    post_migrate.connect(_forget, dispatch_uid="flowcontrol.caches")


def _forget(**_: Any) -> None:
    for cache in TenantCache.every:
        cache.clear()


def is_transient(error: BaseException) -> bool:
    """Return whether the same transaction may well succeed when it is tried again."""
    return isinstance(error, OperationalError) and bool(_TRANSIENT.search(str(error)))


def mark_source(error: Error, source: str) -> None:
    """Note on an error of a statement which database it came from."""
    vars(error)[_SOURCE] = source


def is_of_own_database(error: BaseException) -> bool:
    """Return whether a step met a failure of the runs' own database.

    Then the step is not to blame: its transaction is to be repeated, or the connection is gone. A
    failure of any other database is the step's own, as is that of any service it asks.
    """
    if not is_transient(error) and not is_lost_connection(error):
        return False
    source = vars(error).get(_SOURCE)
    if source is not None:
        return bool(source == alias())
    # It was met on connecting, or at a commit: no statement says where.
    database = connection()
    return is_transient(error) or database.connection is None or not database.is_usable()


def is_row_locked(error: BaseException) -> bool:
    """Return whether a row's lock was not given in time: trying again at once would wait again."""
    return isinstance(error, OperationalError) and bool(_ROW_LOCKED.search(str(error)))


def is_lost_connection(error: BaseException) -> bool:
    """Return whether the database itself failed, not what was asked of it.

    To be asked about the runs' own: see ``is_of_own_database``.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    # Asking the database would not do: in a transaction that failed it refuses any answer. And
    # after the transaction Django may be connected anew already.
    raw = connection().connection
    code = error.args[0] if error.args else None
    closed = raw is None or bool(getattr(raw, "closed", False))
    return closed or code in _MYSQL_GONE or _is_postgresql_gone(error.__cause__)


def _is_postgresql_gone(cause: BaseException | None) -> bool:
    """Return whether an error of psycopg ends the session, or is the client's own.

    The client's own operational errors, which are about the connection, have no code.
    """
    for name in ("sqlstate", "pgcode"):
        if hasattr(cause, name):
            state = getattr(cause, name)
            return state is None or state.startswith(_POSTGRESQL_GONE)
    return False


def retrying(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a function that writes transactions of its own repeat them after a deadlock.

    Outside of a transaction only: inside of one the database has rolled all of it back. Not only
    for locks taken in a wrong order: on MariaDB two statements about one and the same row deadlock
    if one reaches it by its primary key and the other by an index. A row that is locked is not
    asked for again: that has been waited for already.
    """

    @wraps(work)
    def retried(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        for attempt in range(1, _TRIES + 1):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:
                is_final = attempt == _TRIES or is_row_locked(error) or not is_transient(error)
                if is_final or connection().in_atomic_block:
                    raise
                pause(attempt)
        raise AssertionError("unreachable")

    return retried


def pause(attempt: int) -> None:
    """Wait a little before a transaction is tried again, with full jitter."""
    time.sleep(random.uniform(0, min(1.0, 0.005 * 2**attempt)))


def yield_lock() -> None:
    """Let others write, after a transaction: nothing to do but on SQLite.

    There, a connection that waits for the lock polls it; a worker that takes it again at once would
    starve the others, an operator who cancels the run among them.
    """
    database: Any = connection()
    if database.vendor != "sqlite" or database.is_in_memory_db():
        return
    if time.monotonic() - _yielded_at[0] > _TURN:
        time.sleep(random.uniform(*_PAUSE))
        _yielded_at[0] = time.monotonic()


def durable() -> transaction.Atomic:
    """Return a transaction of our own: never inside of a caller's."""
    return transaction.atomic(using=alias(), durable=True)


def transaction_elsewhere() -> str:
    """Return the alias of another database whose transaction this thread is in; empty: of none.

    What happens in it may be rolled back, and no one else sees it before its commit.
    """
    own = alias()
    for database in connections.all(initialized_only=True):
        if database.alias != own and database.in_atomic_block and _will_end(database):
            return database.alias
    return ""


def _will_end(database: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction is one of the code, not that of a ``TestCase`` around it.

    Django has no public way to ask.
    """
    blocks: Any = database.atomic_blocks
    return not all(block._from_testcase for block in blocks)  # noqa: SLF001


def after_commit(work: Callable[[], object]) -> None:
    """Do something once the present transaction has committed, at once if there is none.

    Its errors are logged, never raised into the code that committed.
    """
    transaction.on_commit(partial(_logged, work), using=alias(), robust=True)


def is_registered_after_commit(work: Callable[[], object]) -> bool:
    """Return whether the present transaction will do something after its commit.

    Django has no public way to ask: ``run_on_commit`` lists what a rollback forgets.
    """
    database = connection()
    return database.in_atomic_block and any(entry[1] == work for entry in database.run_on_commit)


def contain_callbacks(call: Callable[[Callable[[], object]], None]) -> None:
    """Have ``call`` call what actions have registered to be done after the present transaction.

    Django has no public way to change it; each entry is (savepoints, function, robust).
    """
    database: Any = connection()
    if database.run_on_commit:
        database.run_on_commit = [
            entry if _is_own(entry[1]) else (entry[0], partial(call, entry[1]), True)
            for entry in database.run_on_commit
        ]


def _is_own(work: Callable[[], object]) -> bool:
    return isinstance(work, partial) and work.func is _logged


def _logged(work: Callable[[], object]) -> None:
    try:
        work()
    except BaseException as error:
        raise_interruption(error)
        logger.exception("on_commit callback failed; the next sweep will retry.")


Send = Callable[[Sequence[int]], None]
#: What hands runs to workers, by the values of the setting DISPATCH: ``inline`` is registered by
#: the sweep, ``celery`` by the tasks. With ``sweep`` they wait for the periodic one, which also
#: finds whatever is lost here: dispatching only lowers latency.
senders: dict[str, Send] = {}


def dispatch(ids: Sequence[int]) -> None:
    """Have runs executed after the commit, as the setting DISPATCH says."""
    send = senders.get(get_settings().DISPATCH)
    if ids and send is not None:
        after_commit(partial(send, ids))


#: Where a dry run collects the runs that its steps insert.
inserted_runs: ContextVar[list[FlowRun] | None] = ContextVar("flowcontrol_inserted", default=None)


def note_inserted(runs: Iterable[FlowRun]) -> None:
    """Note new runs for a dry run, if a step of one inserts them."""
    noted = inserted_runs.get()
    if noted is not None:
        noted.extend(runs)


@retrying
def first_keys(queries: Sequence[QuerySet[Any]]) -> Sequence[Any]:
    """Return the first primary key of each query, or ``None``: one round trip for all of them.

    Each is to be ordered by the index that answers it. EXISTS would not do: it drops the order, and
    PostgreSQL, where its statistics are old, expects a row early in the table and reads all of it.
    """
    # Django has no public way to select without a table: this is how its own ``exists()`` does it.
    asked = Query(None)
    for number, query in enumerate(queries):
        asked.add_annotation(Subquery(query.values("pk")[:1]), f"query{number}")
    row = asked.get_compiler(using=alias()).execute_sql(SINGLE)
    return tuple(row)
