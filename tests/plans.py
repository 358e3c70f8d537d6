"""How the database answers a query: by which indexes, and how much it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Model

#: How the plans say that a table, or one of its indexes, is read from end to end.
_WHOLE = {
    "sqlite": r"SCAN {table}\b",
    "postgresql": r"Seq Scan on {table}\b",
    "mysql": r"(?<!INSERT )\b{table} (None )?(ALL|index) ",
}


def plan(sql: str) -> str:
    """Return the plan of a statement, in the words of the database."""
    # MariaDB explains no statement with its own settings.
    sql = re.sub(r"^SET STATEMENT \S+ FOR ", "", sql)
    prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        return "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())


def whole_tables(plan: str, *models: type[Model]) -> list[str]:
    """Return the lines of a plan that read the whole table of one of these models."""
    patterns = [_WHOLE[connection.vendor].format(table=model._meta.db_table) for model in models]
    return [line for line in plan.splitlines() if re.search("|".join(patterns), line)]


@dataclass(frozen=True, slots=True)
class Reading:
    """What PostgreSQL has read for a query: rows of runs or of their indexes, and pages."""

    runs: int
    pages: int


def reading(sql: str) -> Reading:
    """Execute a query on PostgreSQL, and give what it reads."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
        (answer,) = cursor.fetchone()
    (explained,) = json.loads(answer) if isinstance(answer, str) else answer
    root = explained["Plan"]
    runs = sum(_rows(node) for node in _nodes(root) if "flowrun" in node.get("Relation Name", ""))
    return Reading(runs, root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for part in node.get("Plans", ()):
        yield from _nodes(part)


def _rows(node: dict[str, Any]) -> int:
    dropped = (node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return int((node["Actual Rows"] + sum(dropped)) * node["Actual Loops"])
