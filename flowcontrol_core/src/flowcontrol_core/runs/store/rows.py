"""The guarded write of a run's row: it counts only while the run is still this worker's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, Q, QuerySet

from flowcontrol_core.models import EventKind, FlowRun, Reason, Request, RunEvent, Status
from flowcontrol_core.runs.store.connection import alias, connection, durable, is_row_locked

#: The rows of runs with these keys that are to be updated.
Rows = Callable[[Collection[int]], QuerySet[FlowRun]]
#: What a checkpoint writes; every write of a run names its columns.
WRITTEN_COLUMNS = (
    "status",
    "outcome",
    "reason_code",
    "reason_values",
    "cursor",
    "state",
    "sequence",
    "due_at",
    "attempt",
    "worker",
    "request",
    "wait_until",
    "wait_timeout",
    "wait_trigger",
    "wait_match_object",
    "wait_child",
    "events_taken",
    "blocked_on",
    "queued_at",
    "undelivered_since",
    "slot",
    "slot_object",
    "started_at",
    "finished_at",
    "since",
)
#: What the end of a run writes: neither its cursor nor its state, which may be damaged.
END_COLUMNS = tuple(
    name for name in WRITTEN_COLUMNS if name not in ("cursor", "state", "sequence", "events_taken")
)


#: How long a write of runs waits in seconds for a row that another session has locked.
LOCK_WAIT = 1
#: What bounds it, before and after an UPDATE that ends with its conditions: no statement more.
_BOUNDS = {
    "postgresql": ("", f" AND set_config('lock_timeout', '{LOCK_WAIT}s', true) IS NOT NULL"),
    "mariadb": (f"SET STATEMENT innodb_lock_wait_timeout={LOCK_WAIT} FOR ", ""),
}


class LostLease(Exception):
    """The run belongs to another worker by now; whatever was done here is rolled back."""


class CancelRequested(Exception):
    """The run is to be canceled; whatever was done since the last checkpoint is rolled back."""


def set_reason(run: FlowRun, reason: Reason) -> None:
    """Note, in memory, why a run is in its status."""
    run.reason_code, run.reason_values = reason.code, reason.stored() if reason.values else {}


def make_event(kind: EventKind, at: datetime, message: Reason, **columns: Any) -> RunEvent:
    """Return the row, not saved, of something that happened to a run."""
    values = message.stored() if message.values else {}
    return RunEvent(kind=kind, at=at, code=message.code, values=values, **columns)


def rows(ids: Iterable[int], *statuses: Status) -> QuerySet[FlowRun]:
    """Return the rows of runs to be updated, those that have one of the statuses.

    No update finds its rows in another way. By any other index MariaDB would lock the index's entry
    first and the row second, and deadlock with whatever has locked the row and changes the entry;
    so the status is compared in a way that no index helps with. The keys are in order, as all lock.
    """
    has_status = Q()
    for status in statuses:
        has_status |= Q(status__endswith=status.value)
    return FlowRun.objects.using(alias()).filter(has_status, pk__in=sorted(ids))


def owned(pk: int, fence: int) -> QuerySet[FlowRun]:
    """Return the row of a claimed run, while it is this worker's."""
    return rows([pk], Status.RUNNING).filter(fence=fence)


def update(found: QuerySet[FlowRun], **values: Any) -> int:
    """Update rows of runs, and return how many; does not wait for long where one is locked.

    Then it raises an OperationalError (``is_row_locked``). On SQLite no row is locked by itself.
    """
    with connection().execute_wrapper(_bounded):
        return found.update(**values)


def update_together(found: Rows, keys: Sequence[int], **values: Any) -> int:
    """Update runs together, without those that another session has locked.

    Then the error is raised: these are still to be updated.
    """
    try:
        return update(found(keys), **values)
    except OperationalError as error:
        if is_row_locked(error) and not connection().in_atomic_block:
            _update_unlocked(found, keys, **values)
        raise


def _update_unlocked(found: Rows, keys: Sequence[int], **values: Any) -> None:
    if not connection().features.has_select_for_update_skip_locked:
        return
    with durable():
        unlocked = found(keys).order_by("pk").select_for_update(skip_locked=True)
        update(found(list(unlocked.values_list("pk", flat=True))), **values)


def _bounded(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    # A backend may send statements of its own before it, as django-tenants does.
    before, after = _bounds(context["connection"]) if sql.startswith("UPDATE ") else ("", "")
    return execute(f"{before}{sql}{after}", params, many, context)


def _bounds(database: BaseDatabaseWrapper) -> tuple[str, str]:
    kind = "mariadb" if getattr(database, "mysql_is_mariadb", False) else database.vendor
    return _BOUNDS.get(kind, ("", ""))


def write_end(run: FlowRun) -> bool:
    """Write the end of a run as it stands in memory; return whether it was still this worker's.

    What it was asked for in the meantime no longer matters.
    """
    values = {name: getattr(run, name) for name in END_COLUMNS}
    return update(owned(run.pk, run.fence), **values) == 1


def write_guarded(runs: Sequence[FlowRun], *, request: str = Request.NONE) -> int:
    """Write runs as they stand in memory, each guarded by its fence; return how many were written.

    One statement for all of them. A run that was claimed by another worker, was ended, or is
    asked for something (``request``), is not written.
    """
    database = connection()
    sql = _update_sql(database.alias)
    guards = (str(Status.RUNNING), str(request))
    values = [[*_values(run, _FIELDS, database), run.pk, run.fence, *guards] for run in runs]
    with database.cursor() as cursor:
        if len(values) == 1:
            cursor.execute(sql, values[0])
        else:
            cursor.executemany(sql, values)
        return int(cursor.rowcount)


def insert_events(events: Sequence[RunEvent]) -> None:
    """Insert what happened to runs: one statement for all of them that the database can take.

    They learn no primary keys. Django's own way costs as much as the rest of a short checkpoint.
    """
    database = connection()
    head, row = _insert_sql(database.alias)
    most = database.ops.bulk_batch_size(_EVENT_FIELDS, events)
    with database.cursor() as cursor:
        for first in range(0, len(events), most):
            part = events[first : first + most]
            values = [value for event in part for value in _values(event, _EVENT_FIELDS, database)]
            cursor.execute(head + ", ".join([row] * len(part)), values)


_FIELDS: Any = [FlowRun._meta.get_field(name) for name in WRITTEN_COLUMNS]
_EVENT_FIELDS: Any = [field for field in RunEvent._meta.local_fields if not field.primary_key]


def _values(row: Model, fields: Iterable[Any], database: BaseDatabaseWrapper) -> list[Any]:
    """Return the values of a row, prepared for the database."""
    return [
        None
        if (value := getattr(row, field.attname)) is None
        else field.get_db_prep_save(value, database)
        for field in fields
    ]


@cache
def _insert_sql(alias: str) -> tuple[str, str]:
    """Return the statement of ``insert_events``, and what it has for each row."""
    quote = connections[alias].ops.quote_name
    columns = ", ".join(quote(field.column) for field in _EVENT_FIELDS)
    table = quote(RunEvent._meta.db_table)
    row = f"({', '.join(['%s'] * len(_EVENT_FIELDS))})"
    return f"INSERT INTO {table} ({columns}) VALUES ", row  # noqa: S608


@cache
def _update_sql(alias: str) -> str:
    """Return the statement of ``write_guarded``: made of the names of columns only."""
    database = connections[alias]
    quote = database.ops.quote_name
    columns = ", ".join(f"{quote(field.column)} = %s" for field in _FIELDS)
    # By the primary key, whatever the statistics say, and the row first: see ``rows``.
    index = " FORCE INDEX (PRIMARY)" if database.vendor == "mysql" else ""
    status = quote("status") if index else f"{quote('status')} || ''"
    compared = (quote("id"), quote("fence"), status, quote("request"))
    guard = " AND ".join(f"{value} = %s" for value in compared)
    before, after = _bounds(database)
    table = quote(FlowRun._meta.db_table)
    return f"{before}UPDATE {table}{index} SET {columns} WHERE {guard}{after}"  # noqa: S608
