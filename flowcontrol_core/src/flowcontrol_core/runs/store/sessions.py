"""The state of a database session: compared before and after a call, and put back.

What a session is set to (``SET``, ``PRAGMA``) no driver tells. It is seen in the statements, and
the session is closed: the next query connects anew.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils.translation import gettext

from flowcontrol_core.errors import EffectsError

_BEGIN = r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*"
#: Statements that begin or end a transaction by hand; Django's own are those of its driver.
_CONTROL = re.compile(
    rf"{_BEGIN}(begin|start\s+transaction|xa|commit|end|abort|rollback(?!\s+(?:work\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)
#: Statements that end a transaction of MariaDB and MySQL without saying so.
_IMPLICIT = re.compile(
    rf"{_BEGIN}(create(?!\s+temporary)|alter|drop(?!\s+temporary)|truncate|rename|lock\s+tables"
    r"|set\s+(?:session\s+|@@session\.|@@)?autocommit)\b",
    re.IGNORECASE | re.DOTALL,
)
#: Statements that change a session.
_CHANGE = re.compile(
    rf"{_BEGIN}(set(?!\s+constraints\b)|reset|discard|pragma|use|lock\s+tables|attach)\b",
    re.IGNORECASE | re.DOTALL,
)
#: Those that end with the transaction they are in.
_LOCAL = re.compile(rf"{_BEGIN}set\s+(local|transaction)\b", re.IGNORECASE | re.DOTALL)
#: Those that change what the following transactions of the session may do.
_TRANSACTIONS = re.compile(
    rf"{_BEGIN}(?:set\s+(?:session\s+|@@session\.|@@)?"
    r"(?:characteristics|transaction|default_transaction_\w+|transaction_\w+|tx_\w+|autocommit)\b"
    r"|pragma\s+query_only\b|lock\s+tables\b)",
    re.IGNORECASE | re.DOTALL,
)
#: Those that would lead the engine's own statements of the same transaction astray.
_ASTRAY = re.compile(
    rf"{_BEGIN}(?:set\s+(?:session\s+|local\s+)?(?:search_path|schema|role|transaction)\b"
    r"|use\b|pragma\s+query_only\b)",
    re.IGNORECASE | re.DOTALL,
)
#: Where a database object keeps the connection that is made and greeted: see ``note_made``.
_MADE = "flowcontrol_made"
_POSTGRESQL = {0: False, 1: True, 2: True, 3: True}


@cache
def note_connections() -> None:
    """Have ``note_made`` called for each connection that is made from now on in this process.

    It is to be the last receiver: what a project says to a new connection is a greeting too.
    """
    connection_created.connect(note_made)


def note_made(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Note that a connection is made, for ``Watched`` to tell a greeting from an action's words."""
    vars(connection)[_MADE] = connection.connection


def may_change(sql: str) -> bool:
    """Return whether a statement may change the session, or begins or ends a transaction."""
    return bool(_CONTROL.match(sql) or _CHANGE.match(sql) or _IMPLICIT.match(sql))


@dataclass(slots=True, eq=False)
class Watched:
    """One database session during a call: how it was before, and what was asked of it.

    ``connection`` and ``in_atomic_block`` are those of before, ``depth`` counts the transactions
    and savepoints that were open.
    """

    database: BaseDatabaseWrapper
    connection: Any
    in_atomic_block: bool
    depth: int
    #: Whether the server had begun the transaction, as PostgreSQL does at its first statement; None
    #: for it to be read, before the call.
    has_begun: bool | None = None
    statements: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.has_begun is None:
            self.has_begun = self.in_atomic_block and self._is_in_transaction()

    def note(self, sql: str) -> None:
        """Note a statement that may change the session.

        What is said to a new connection before it is handed out is not the action's. Raises
        EffectsError for one that would end the transaction around the call: what the steps before
        it wrote would be committed without their checkpoint.
        """
        if self.in_atomic_block and self._ends_transaction(sql):
            text = gettext(
                "The action wanted to end the transaction that it was called in: %(sql)s. Use "
                "`with transaction.atomic(): ...` only."
            )
            raise EffectsError(text % {"sql": shortened(sql)})
        present = self.database.connection
        if present is self.connection or present is vars(self.database).get(_MADE):
            self.statements.append(sql)

    def expect_transaction(self) -> None:
        """Take the transaction that the engine has just begun for one from before the call."""
        self.connection, self.in_atomic_block = self.database.connection, True
        self.depth += 1

    @property
    def is_changed(self) -> bool:
        """Return whether the session was set to something that outlasts the call."""
        return any(_CHANGE.match(sql) and not _LOCAL.match(sql) for sql in self.statements)

    def complaint(self) -> str:
        """Return in a sentence what is wrong with the session since the call; empty for nothing."""
        database = self.database
        if self.in_atomic_block and (not database.in_atomic_block or self._has_lost_transaction()):
            return gettext(
                "The action closed the connection to the database of the runs, or ended the "
                "transaction that it was called in; all that was written in it is rolled back. "
                "Leave that connection as it is, and use `with transaction.atomic(): ...` only."
            )
        if database.in_atomic_block != self.in_atomic_block or (
            self.in_atomic_block and len(database.atomic_blocks) != self.depth
        ):
            return gettext(
                "The action left a transaction of the database “%(alias)s” open. It is rolled "
                "back. Use `with transaction.atomic(): ...`."
            ) % {"alias": database.alias}
        if self.in_atomic_block:
            return self._refused(_ASTRAY) or self._refused(_TRANSACTIONS)
        if database.connection is not None and (
            database.autocommit != database.settings_dict["AUTOCOMMIT"] or self._is_in_transaction()
        ):
            return gettext(
                "The action left the database “%(alias)s” without autocommit, or in a transaction "
                "that was begun by hand. It is rolled back. Use `with transaction.atomic(): ...`."
            ) % {"alias": database.alias}
        return self._refused(_TRANSACTIONS)

    def _refused(self, pattern: re.Pattern[str]) -> str:
        for sql in self.statements:
            if pattern.match(sql):
                return gettext(
                    "The action changed its database session and left it so: %(sql)s. The session "
                    "is closed. Use `with transaction.atomic(): ...` and SET LOCAL in it, or a "
                    "connection of your own."
                ) % {"sql": shortened(sql)}
        return ""

    def _ends_transaction(self, sql: str) -> bool:
        is_implicit = self.database.vendor == "mysql" and _IMPLICIT.match(sql)
        return bool(is_implicit or _CONTROL.match(sql))

    def _has_lost_transaction(self) -> bool:
        """Return whether the transaction around the call is gone."""
        if self.database.closed_in_transaction or self.database.connection is not self.connection:
            return True
        if self.database.vendor == "mysql":
            is_broken = self.database.errors_occurred and not self.database.is_usable()
            return is_broken or any(map(_CONTROL.match, self.statements))
        return bool(self.has_begun) and not self._is_in_transaction()

    def _is_in_transaction(self) -> bool:
        """Return whether the database has a transaction open, whatever Django knows of it."""
        raw = self.database.connection
        if raw is None:
            return False
        if self.database.vendor == "sqlite":
            with suppress(raw.ProgrammingError):
                return bool(raw.in_transaction)
            # It is closed.
            return False
        if self.database.vendor == "postgresql":
            status = getattr(raw, "get_transaction_status", None)
            return _POSTGRESQL.get(int(status() if status else raw.info.transaction_status), False)
        # The driver does not tell: the last statement that began or ended one does.
        last = next((sql for sql in reversed(self.statements) if _CONTROL.match(sql)), "")
        return last.split(None, 1)[0].lower() in ("begin", "start", "xa") if last else False

    def put_back(self) -> bool:
        """Make the session usable again; return whether the transaction around the call is lost."""
        database = self.database
        if not self.in_atomic_block:
            reset(database)
            return False
        if not database.in_atomic_block or self._has_lost_transaction():
            database.needs_rollback = True
            return True
        _allow_writes(database)
        del database.atomic_blocks[self.depth :]
        del database.savepoint_ids[max(self.depth - 1, 0) :]
        return False


def _allow_writes(database: BaseDatabaseWrapper) -> None:
    """Undo what would have the engine's own statements refused, even in the present transaction.

    PostgreSQL undoes it itself, with the savepoint around the step.
    """
    if database.vendor == "sqlite":
        database.connection.execute("PRAGMA query_only = OFF")
    elif database.vendor == "mysql":
        driver: Any = database
        with suppress(driver.Database.Error), driver.connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ WRITE")


def shortened(sql: str) -> str:
    """Return a statement in one line, for a message."""
    return " ".join(sql.split())[:100]


def close_broken(database: BaseDatabaseWrapper) -> None:
    """Close a session that had errors, if it is of no use any more, as Django does in web requests.

    In a transaction it is left alone: the transaction fails.
    """
    if database.errors_occurred and not database.in_atomic_block:
        if database.connection is None or database.is_usable():
            database.errors_occurred = False
        else:
            with suppress(Error):
                database.close()


def reset(database: BaseDatabaseWrapper) -> None:
    """Take a session out of use: it is rolled back and closed; the next query connects anew."""
    database.in_atomic_block = database.closed_in_transaction = database.needs_rollback = False
    database.savepoint_ids, database.atomic_blocks, database.run_on_commit = [], [], []
    # A database in memory cannot be closed; a session that is broken can be nothing else.
    with suppress(Error, database.Database.Error):  # type: ignore[attr-defined]
        if database.connection is not None:
            database.rollback()
            database.set_autocommit(database.settings_dict["AUTOCOMMIT"])
            _allow_writes(database)
    with suppress(Error):
        database.close()
