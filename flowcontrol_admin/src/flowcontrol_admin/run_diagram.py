"""Where a run has been, from its cursor and its history, for the diagram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from flowcontrol import flows
from flowcontrol.models import FlowRun, Outcome, Status
from flowcontrol_admin.diagram.overlay import Overlay
from flowcontrol_admin.diagram.plan import ListKey
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.step_checks import is_loop

#: At most this many rows of the history are read, the newest.
MOST_READ = 500


def overlay_of(run: FlowRun, document: Document, history: Iterable[Any]) -> Overlay:
    """Return what a run has done of each step; ``history`` has the steps of each checkpoint."""
    entries = [*_entries(history)]
    counts = _counts(entries, document)
    marks = dict.fromkeys((entry["step"] for entry in entries), "done")
    marks |= {
        step_id: "skipped" for step_id, visit in document.index.items() if visit.step.disabled
    }
    entered = frozenset(
        ListKey(entry["step"], str(entry["branch"])) for entry in entries if entry.get("branch")
    )
    is_complete = run.status == Status.DONE and run.outcome == Outcome.COMPLETE
    return Overlay(
        kind="run",
        marks=marks | dict(_present(run, document)),
        counts=counts,
        entered=entered,
        is_complete=is_complete,
    )


def _entries(history: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for steps in history:
        for entry in steps if isinstance(steps, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("step"), str):
                yield entry


def _counts(entries: list[dict[str, Any]], document: Document) -> Counter[str]:
    """Return how often each step was called, and loops made a pass, as far as that is known."""
    counts: Counter[str] = Counter()
    unknown = set()
    for entry in entries:
        step = entry["step"]
        if "omitted" in entry and _has_other_calls(step, document):
            unknown.add(step)
        # Coming back from a branch does not count as a call, but a pass of a loop does.
        is_pass = not entry.get("method") or entry.get("answer") == "enter"
        counts[step] += _count(entry) if "omitted" in entry else is_pass
    return Counter({step: count for step, count in counts.items() if step not in unknown})


def _has_other_calls(step: str, document: Document) -> bool:
    """Return whether there are calls of a step that are no passes: it comes back from branches."""
    visit = document.index.get(step)
    if visit is None or not visit.step.branches:
        return False
    return not (is_loop(visit.step, if_missing=False) and visit.around is None)


def _count(entry: dict[str, Any]) -> int:
    omitted = entry["omitted"]
    return omitted if isinstance(omitted, int) else 0


def _present(run: FlowRun, document: Document) -> Iterator[tuple[str, str]]:
    """Yield the marks of the step that the run is at, and of those around it."""
    is_at_step = run.is_live or run.outcome == Outcome.ERRORED
    step = flows.step_of(run) if is_at_step else ""
    visit = document.index.get(step)
    if visit is None:
        return
    for around in visit.ancestors:
        yield around.id, "current"
    yield step, _mark(run)


def _mark(run: FlowRun) -> str:
    if run.outcome == Outcome.ERRORED or run.status == Status.BLOCKED:
        return "failed"
    return "current" if run.status == Status.RUNNING else "waiting"
