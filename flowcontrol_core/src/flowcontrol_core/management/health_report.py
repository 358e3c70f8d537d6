"""The health of the whole as text: the issues first, then the counts."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flowcontrol_core.health import Health, HealthIssue


def health_report(health: Health, *, as_json: bool) -> str:
    """Give what ``look`` has found, for people or as JSON."""
    if as_json:
        return json.dumps(health.as_json(), indent=2) + "\n"
    return "\n".join(_lines(health)) + "\n"


def _lines(health: Health) -> Iterator[str]:
    if health.is_healthy:
        yield "All works, but some runs want attention." if health.issues else "All is well."
    for trouble in health.issues:
        yield from _trouble_lines(trouble)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(health.live.items()))
    yield f"Live runs: {counts or 'none'}. Overdue: {health.overdue}."
    for worker in health.workers:
        state = "gone" if worker["gone"] else "works"
        queues = worker["queues"] or "all queues"
        yield f"Worker {worker['name']} ({queues}): {state}, last sweep {worker['last_sweep']}."


def _trouble_lines(trouble: HealthIssue) -> Iterator[str]:
    yield f"[{trouble.code}] {trouble.message}"
    yield f"    {trouble.advice}"
    for pk, reason in zip(trouble.runs, trouble.reasons, strict=True):
        yield f"    Run {pk}: {reason}" if reason else f"    Run {pk}"
    if trouble.count > len(trouble.runs) > 0:
        yield "    …"
