"""What the benchmarks share: counting queries, measuring time, printing a figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from django.db import connection
from django.test.utils import CaptureQueriesContext

_BOUNDARIES = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


def report(name: str, text: str) -> None:
    """Print one figure."""
    print(f"{name:<44} {text}")


def rate(work: Callable[[], object], times: int) -> float:
    """Return how often a second a piece of work can be done."""
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - begun)


def median(work: Callable[[], object], times: int = 100) -> float:
    """Return the median duration of a piece of work in milliseconds."""
    return statistics.median(1000 / rate(work, 1) for _ in range(times))


def statements(work: Callable[[], object]) -> list[str]:
    """Return the SQL statements of a piece of work, those of transactions included."""
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"] for query in captured]


def queries(work: Callable[[], object]) -> tuple[int, int]:
    """Return the number of queries, without those of transactions, and of commits."""
    sent = statements(work)
    return (
        sum(not sql.startswith(_BOUNDARIES) for sql in sent),
        sum(sql.startswith("COMMIT") for sql in sent),
    )
