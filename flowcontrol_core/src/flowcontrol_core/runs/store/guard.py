"""Guards a thread in which actions are called: what one of them changes harms no other.

Each call has a copy of the context: whatever it does to the language, the time zone, the decimal
context and any other context variable ends with it. Database sessions and what belongs to the
process are compared with what they were, and put back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from datetime import tzinfo
from decimal import getcontext, setcontext
from operator import attrgetter, call, itemgetter
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone, translation

from flowcontrol_core.errors import EffectsError, raise_interruption
from flowcontrol_core.runs.store.connection import (
    Tenant,
    is_search_path,
    mark_source,
    tenant,
    tenant_restorer,
)
from flowcontrol_core.runs.store.process import READ, READ_QUICK, process
from flowcontrol_core.runs.store.sessions import (
    Watched,
    close_broken,
    may_change,
    note_connections,
    reset,
)

logger = logging.getLogger("flowcontrol.runs")

_WRITE = re.compile(
    r"\s*(?:/\*.*?\*/\s*)*(insert|update|delete|replace|merge|create|alter|drop|truncate|call)\b",
    re.IGNORECASE | re.DOTALL,
)
#: Of a decimal context, all but the flags, which each calculation raises.
_DECIMAL = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
#: What is changed as a rule, and compared after each call; the rest is put back with it.
_precision = attrgetter("prec", "rounding")
#: What Django knows of a session: the first two are what ``Watched`` is made of, the last one is
#: whether there were errors. It is read for each call, so by nothing that is slower.
_state = attrgetter(
    "connection", "in_atomic_block", "autocommit", "closed_in_transaction", "errors_occurred"
)
_had_errors = itemgetter(-1)
_blocks = attrgetter("atomic_blocks")


class CallGuard:
    """Guards the calls of a sweep, one after the other: ``begin``, the call, ``end``.

    ``armed`` is whether the present one must not write to a database. ``has_lost_transaction`` is
    whether the last one has ended the transaction around it, ``complaint`` what it must not leave
    so, in a sentence; ``is_set`` is whether a session was set to something for the present
    transaction, or for longer, which ``renew`` undoes after it.
    """

    def __init__(self) -> None:
        self.armed = False
        self.has_lost_transaction = False
        self.complaint = ""
        self.is_set = False
        self._is_calling = False
        self._databases: list[BaseDatabaseWrapper] = []
        self._states: list[tuple[Any, ...]] = []
        #: How many transactions and savepoints were open in each database.
        self._depths: list[int] = []
        self._watched: dict[str, Watched] = {}
        self._outdated: list[BaseDatabaseWrapper] = []
        #: Whose runs this sweep executes; None where there is no database.
        self.tenant: Tenant | None = None
        #: Has the connection to the runs show the tenant of this sweep; None without tenants.
        self._show_tenant: Callable[[], None] | None = None
        #: The context around the calls, and by time zone what is made of it for them.
        self._outside = copy_context()
        self._bases: dict[tzinfo, Context] = {}
        #: The run whose calls are being made, and the context that each of them has a copy of.
        self._run: object = None
        self._surroundings = Context()
        self._decimal = getcontext().copy()
        self._plain, self._precision = self._decimal.copy(), _precision(self._decimal)

    def begin(self, zone: tzinfo, mark: ContextVar[Any], run: object, *, writes: bool) -> Context:
        """Note how things are before a call of a run, and return the context to make it in.

        There the language is the site's, the given time zone is in force, and ``mark`` is the run.
        """
        self.armed, self._is_calling = not writes, True
        self._states = [*map(_state, self._databases)]
        self._depths = [*map(len, map(_blocks, self._databases))]
        if writes:
            self._watched = self._watch_all()
        if run is not self._run:
            base = self._bases.get(zone)
            if base is None:
                base = self._bases[zone] = self._outside.copy()
                base.run(translation.activate, settings.LANGUAGE_CODE)
                base.run(timezone.activate, zone)
                base.run(setcontext, self._decimal)
            self._run, self._surroundings = run, base.copy()
            self._surroundings.run(mark.set, run)
        return self._surroundings.copy()

    @property
    def has_closed(self) -> bool:
        """Return whether a connection was closed inside of a transaction."""
        return any(database.closed_in_transaction for database in self._databases)

    def begin_transaction(self, using: str) -> transaction.Atomic:
        """Begin a transaction for the engine itself within a call, in the database of this alias.

        Return it, entered; it is to be left after ``end``.
        """
        watched, begun = self._watch(connections[using]), transaction.atomic(using=using)
        begun.__enter__()
        watched.expect_transaction()
        return begun

    def end(self, *, whole: bool = True) -> bool:
        """Put back what the call has changed; return whether it may stand, or see ``complaint``.

        ``whole`` checks the process too, which is done once for steps in memory. To be called
        again does no harm.
        """
        try:
            if whole and [*map(call, READ_QUICK)] != process.quick:
                process.put_back()
        except OSError:
            # The current directory was deleted.
            process.put_back()
        if _precision(self._decimal) != self._precision:
            self._put_decimal_back()
        if self._show_tenant is not None:
            self._show_tenant()
        if not self._is_calling:
            return True
        self.armed = self._is_calling = False
        is_same = (
            not self._watched
            and [*map(_state, self._databases)] == self._states
            and [*map(len, map(_blocks, self._databases))] == self._depths
            and True not in map(_had_errors, self._states)
        )
        return is_same or self._put_back()

    def call_after_commit(self, work: Callable[[], object]) -> None:
        """Call what an action of the present run wants done after the commit.

        That has happened, whatever it raises.

        What it raises is logged, as is the state that it leaves a session in.
        """
        self._is_calling, self._states = True, [*map(_state, self._databases)]
        self._depths = [*map(len, map(_blocks, self._databases))]
        self._watched = self._watch_all()
        try:
            self._surroundings.copy().run(work)
        except BaseException as error:
            raise_interruption(error)
            logger.warning("What an action does after the commit failed.", exc_info=True)
        finally:
            if not self.end():
                logger.warning("After the commit: %s", self.complaint)

    def renew(self) -> None:
        """Begin anew after a transaction: close the sessions that were set to something in it."""
        outdated, self._outdated = self._outdated, []
        self.is_set = self.has_lost_transaction = False
        for database in outdated:
            if not database.in_atomic_block:
                reset(database)

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if self._is_calling:
            text = sql if isinstance(sql, str) else str(sql)
            if self.armed and _WRITE.match(text):
                raise EffectsError(
                    "An action with Effects.NONE wrote to the database. Declare Effects.DATABASE, "
                    "so that its writes and the checkpoint are one transaction."
                )
            if may_change(text) and not is_search_path(context["connection"], text):
                self._watch(context["connection"]).note(text)
        try:
            return execute(sql, params, many, context)
        except Error as error:
            mark_source(error, context["connection"].alias)
            raise

    @contextmanager
    def installed(self) -> Iterator[CallGuard]:
        """Guard this thread, and all of its connections, for the length of a ``with`` block."""
        # What a call would be the first to use of a cache would be gone with its context.
        for alias in caches:
            with suppress(Exception):
                caches[alias]
        note_connections()
        self._databases = [*connections.all()]
        self.tenant, self._show_tenant = tenant(), tenant_restorer()
        with process.lock:
            process.sweeps += 1
            if process.sweeps == 1:
                process.noted = process.quick = []
                with suppress(OSError):
                    process.noted = [*map(call, READ)]
                    process.quick = process.noted[: len(READ_QUICK)]
        with ExitStack() as stack:
            for database in self._databases:
                stack.enter_context(database.execute_wrapper(self))
            try:
                yield self
            finally:
                self.end()
                with process.lock:
                    process.sweeps -= 1

    def _put_decimal_back(self) -> None:
        for name in _DECIMAL:
            setattr(self._decimal, name, getattr(self._plain, name))

    def _watch_all(self, *, has_begun: bool | None = None) -> dict[str, Watched]:
        states = zip(self._databases, self._states, self._depths, strict=True)
        return {
            database.alias: Watched(database, state[0], state[1], depth, has_begun)
            for database, state, depth in states
        }

    def _watch(self, database: BaseDatabaseWrapper) -> Watched:
        if database.alias not in self._watched:
            self._watched |= {**self._watch_all(), **self._watched}
        return self._watched[database.alias]

    def _put_back(self) -> bool:
        """Put back what is not as it was; return whether there is nothing to complain of."""
        process.put_back()
        self._put_decimal_back()
        self.has_lost_transaction = False
        # After the call it cannot be read any more whether a transaction had begun.
        watched, self._watched = self._watched or self._watch_all(has_begun=True), {}
        found = {session: session.complaint() for session in watched.values()}
        for session, complaint in found.items():
            if complaint:
                self.has_lost_transaction |= session.put_back()
            self.is_set |= session.in_atomic_block and bool(session.statements)
            if session.is_changed and session.in_atomic_block:
                self._outdated.append(session.database)
            elif session.is_changed and not complaint:
                reset(session.database)
        for session in found:
            close_broken(session.database)
        self.complaint = next(filter(None, found.values()), "")
        return not self.complaint
