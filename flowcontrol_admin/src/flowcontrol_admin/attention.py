"""Which runs need attention: they failed of late, are blocked, or are overdue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from flowcontrol.clock import clock
from flowcontrol.health import overdue_runs
from flowcontrol.models import FlowRun, Outcome, Status

#: Runs that failed longer ago than this are no longer said to need attention.
RECENT = timedelta(days=30)


def needing_attention(runs: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of the runs that a person has to deal with."""
    failed, blocked, overdue = _parts(runs)
    return failed | blocked | overdue


def first_needing_attention(runs: QuerySet[Any], most: int) -> list[FlowRun]:
    """Return at most this many of each kind: what failed first, the newest at the top.

    One query, each part of which reads its index: with an OR, a database sorts all that ended.
    """
    failed, blocked, overdue = _parts(runs)
    parts = [
        failed.order_by("-since"),
        blocked.order_by("-since"),
        overdue.order_by("due_at", "pk"),
    ]
    compiled = [part[:most].query.get_compiler(runs.db).as_sql() for part in parts]
    # Not every database takes a limit inside of a union, but each takes one inside of a table.
    tables = [f"SELECT * FROM ({sql}) part{n}" for n, (sql, _) in enumerate(compiled)]  # noqa: S608
    values = [value for _, params in compiled for value in params]
    found = FlowRun.objects.using(runs.db).raw(" UNION ALL ".join(tables), values)
    return list(dict.fromkeys(found))


def _parts(runs: QuerySet[Any]) -> tuple[QuerySet[Any], QuerySet[Any], QuerySet[Any]]:
    newest = clock().now() - RECENT
    failed = runs.filter(status=Status.DONE, outcome=Outcome.ERRORED, since__gte=newest)
    blocked = runs.filter(status=Status.BLOCKED)
    overdue = runs.filter(pk__in=overdue_runs().order_by().values("pk"))
    return failed, blocked, overdue
