"""A table of runs as after years of work, filled by SQL within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from flowcontrol_core.models import Flow, FlowRun, Outcome, Status
from flowcontrol_core.runs.store.objects import reference

_NUMBERS = {
    "postgresql": "GENERATE_SERIES(1, {number}) AS numbers(n)",
    "mysql": "(SELECT seq AS n FROM seq_1_to_{number}) AS numbers",
    "sqlite": (
        "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        "WHERE n < {number}) SELECT n FROM numbers) AS numbers"
    ),
}
_UUID = {
    "postgresql": "GEN_RANDOM_UUID()",
    "mysql": "UUID()",
    "sqlite": "LOWER(HEX(RANDOMBLOB(16)))",
}
_LATER = {
    "postgresql": "{column} + n * INTERVAL '1 second'",
    "mysql": "{column} + INTERVAL n SECOND",
    "sqlite": "STRFTIME('%Y-%m-%d %H:%M:%f', {column}, n || ' seconds')",
}
#: What differs between the copies of a run: a second each.
_TIMES = ("due_at", "since", "finished_at")


def fill(
    flow: Flow, now: datetime, *, waiting: int, finished: int, of_object: Mapping[Any, int]
) -> None:
    """Add runs of a flow: as many that wait for each kind of thing, and that have finished.

    None of them is due for a year from ``now``. ``of_object`` says how many more have finished for
    which object.
    """
    later = now + timedelta(days=365)
    earlier = now - timedelta(seconds=finished + sum(of_object.values()), days=1)
    first = _copies(flow, now, waiting, status=Status.WAITING, due_at=later, wait_until=later)
    kinds: list[dict[str, Any]] = [
        {"status": Status.WAITING, "wait_trigger": "many.runs"},
        {"status": Status.WAITING, "wait_child": first.uuid},
        {"status": Status.PAUSED},
        {"status": Status.BLOCKED, "blocked_on": "gone.action"},
    ]
    for kind in kinds:
        _copies(flow, now, waiting, **kind)
    done = {"status": Status.DONE, "outcome": Outcome.COMPLETE, "finished_at": earlier}
    _copies(flow, earlier, finished, **done)
    for obj, number in of_object.items():
        _copies(flow, earlier, number, **done, **reference(obj))


def analyze() -> None:
    """Have the database look at its tables: until then it knows them as they were."""
    suffix = f" TABLE {FlowRun._meta.db_table}" if connection.vendor == "mysql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE{suffix}")


def _copies(flow: Flow, at: datetime, number: int, **values: Any) -> FlowRun:
    """Add a run and copies of it; give the first."""
    fields: dict[str, Any] = {"created_at": at, "started_at": at, "since": at, **values}
    first = FlowRun.objects.create(flow=flow, version_id=flow.published_id or 0, **fields)
    columns = [
        str(field.column) for field in FlowRun._meta.concrete_fields if not field.primary_key
    ]
    expressions = [_expression(column) for column in columns]
    numbers = _NUMBERS[connection.vendor].format(number=number - 1)
    table = FlowRun._meta.db_table
    quoted = ", ".join(map(connection.ops.quote_name, columns))
    # Made of the names of columns and of numbers only.
    sql = (
        f"INSERT INTO {table} ({quoted}) SELECT {', '.join(expressions)} "
        f"FROM {table} AS run, {numbers} WHERE run.id = {first.pk}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
    return first


def _expression(column: str) -> str:
    if column == "uuid":
        return _UUID[connection.vendor]
    name = f"run.{connection.ops.quote_name(column)}"
    return _LATER[connection.vendor].format(column=name) if column in _TIMES else name
