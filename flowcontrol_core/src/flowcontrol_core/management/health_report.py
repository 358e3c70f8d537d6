"""Health as text: the issues first, then the counts."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flowcontrol_core.health import Health, HealthIssue


def health_report(health: Health, *, as_json: bool) -> str:
    """Return the result of ``check_health``, for people or as JSON."""
    if as_json:
        return json.dumps(health.as_json(), indent=2) + "\n"
    return "\n".join(_lines(health)) + "\n"


def _lines(health: Health) -> Iterator[str]:
    if health.is_healthy:
        yield "Healthy, but some runs need attention." if health.issues else "Healthy."
    for issue in health.issues:
        yield from _issue_lines(issue)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(health.live.items()))
    yield f"Live runs: {counts or 'none'}. Overdue: {health.overdue}."
    for worker in health.workers:
        state = "alive" if worker["claims"] else "alive, executes no runs"
        state = "gone" if worker["gone"] else state
        queues = worker["queues"] or "all queues"
        yield f"Worker {worker['name']} ({queues}): {state}, last sweep {worker['last_sweep']}."


def _issue_lines(issue: HealthIssue) -> Iterator[str]:
    yield f"[{issue.code}] {issue.message}"
    yield f"    {issue.remedy}"
    for pk, reason in zip(issue.runs, issue.reasons, strict=True):
        yield f"    Run {pk}: {reason}" if reason else f"    Run {pk}"
    if issue.count > len(issue.runs) > 0:
        yield "    …"
