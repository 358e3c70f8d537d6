"""A stretch of code whose writes are always undone: in each database, whatever it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol_core.errors import EffectsError, gettext

_BEGINNING = r"(?:^|;)\s*(?:(?:/\*.*?\*/|--[^\n]*\n)\s*)*"
#: What ends a transaction, or begins another one; going back to a savepoint does neither.
_ENDS = re.compile(
    _BEGINNING
    + r"(?:commit|begin|start\s+transaction|end|abort|prepare\s+transaction|set\s+\S*autocommit"
    r"|rollback(?!\s+(?:work\s+|transaction\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)
#: What commits by itself where a database cannot roll back changes of its tables.
_COMMITS = re.compile(
    _BEGINNING
    + r"(?:(?:create|drop)(?!\s+temporary\b)|alter|truncate|rename|grant|revoke|call|lock|unlock"
    r"|analyze|check|optimize|repair|flush|load|install|uninstall)\b",
    re.IGNORECASE | re.DOTALL,
)


@contextmanager
def always_rolled_back(seconds: float) -> Iterator[None]:
    """Undo all writes of a ``with`` block, in each database that this thread can reach.

    No statement takes longer than ``seconds``, where the database can be told.

    Callbacks after the commit are not called. A database that cannot be reached, or that cannot
    roll back, is refused in the block: EffectsError is raised for its statements.
    """
    with ExitStack() as stack:
        for database in connections.all():
            stack.enter_context(_undone(database))
            stack.enter_context(_bounded(database, seconds))
        yield


@contextmanager
def savepoints() -> Iterator[Callable[[], None]]:
    """Open a savepoint in each open transaction, and yield what marks all of them as to be undone.

    They are undone, too, where the block raises.
    """
    opened = [database for database in connections.all() if database.in_atomic_block]

    def undo() -> None:
        for database in opened:
            if database.in_atomic_block:
                transaction.set_rollback(True, using=database.alias)

    with ExitStack() as stack:
        for database in opened:
            stack.enter_context(transaction.atomic(using=database.alias))
        yield undo


@contextmanager
def _undone(database: BaseDatabaseWrapper) -> Iterator[None]:
    begun = _begin(database)
    if begun is None:
        with database.execute_wrapper(_refuse_all):
            yield
        return
    try:
        with database.execute_wrapper(_refuse_ends):
            yield
    finally:
        if database.in_atomic_block:
            transaction.set_rollback(True, using=database.alias)
        begun.__exit__(None, None, None)


@contextmanager
def _bounded(database: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Bound the time of each statement, and of each wait for a row that is locked."""
    is_mariadb = getattr(database, "mysql_is_mariadb", False)
    if not database.in_atomic_block or not (is_mariadb or database.vendor == "postgresql"):
        yield
        return
    if not is_mariadb:
        # For the transaction only: its end puts it back.
        with database.cursor() as cursor:
            cursor.execute(_POSTGRESQL_BOUND, [f"{max(1, int(seconds * 1000))}ms"])
        yield
        return
    before = _set_mariadb(database, (seconds, max(1, int(seconds))))
    try:
        yield
    finally:
        if not database.closed_in_transaction:
            _set_mariadb(database, before)


_POSTGRESQL_BOUND = "SELECT set_config('statement_timeout', %s, true)"


def _set_mariadb(database: BaseDatabaseWrapper, values: Sequence[Any]) -> Sequence[Any]:
    """Set the bounds of a session, and return those before."""
    names = ("max_statement_time", "innodb_lock_wait_timeout")
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'@@SESSION.{name}' for name in names)}")
        before: Sequence[Any] = cursor.fetchone()
        cursor.execute(f"SET SESSION {', '.join(f'{name} = %s' for name in names)}", values)
    return before


def _begin(database: BaseDatabaseWrapper) -> transaction.Atomic | None:
    """Return a transaction, entered; None where a database has none to roll back."""
    begun = transaction.atomic(using=database.alias)
    try:
        if not database.features.supports_transactions:
            return None
        begun.__enter__()
    except Exception:  # noqa: BLE001 - a test forbids databases by an error of its own
        return None
    return begun


def _refuse_all(
    _execute: Callable[..., Any], _sql: Any, _params: Any, _many: bool, context: Any
) -> NoReturn:
    text = gettext(
        "The database %(database)r cannot be reached, or cannot roll back what is written to it. "
        "A dry run does not use it."
    )
    raise EffectsError(text % {"database": context["connection"].alias})


def _refuse_ends(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
) -> Any:
    text, database = sql if isinstance(sql, str) else str(sql), context["connection"]
    commits = not database.features.can_rollback_ddl and _COMMITS.search(text)
    if commits or _ENDS.search(text):
        refused = gettext("A dry run refuses a statement that would end its transaction: %(sql)s")
        raise EffectsError(refused % {"sql": text.strip()[:80]})
    return execute(sql, params, many, context)
