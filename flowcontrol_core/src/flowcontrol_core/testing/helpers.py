"""Helpers for the tests of projects and plugins that use the database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.lifecycle import activate, create_flow
from flowcontrol_core.flows.publication import publish
from flowcontrol_core.models import Flow
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.store.clock import ManualClock, use_clock

_MOST_SWEEPS = 1_000


def manual_clock(start: datetime | None = None) -> AbstractContextManager[ManualClock]:
    """Use a clock that stands still until ``advance(days=3)`` moves it."""
    return use_clock(ManualClock(start))


temporary_registry = registry.temporary


def publish_flow(document: Document, *, key: str = "flow", **fields: Any) -> Flow:
    """Create, publish and activate a flow; raises PublishError with its problems."""
    flow = create_flow(key=key, name=fields.pop("name", key), document=document, **fields)
    publish(flow)
    activate(flow)
    flow.refresh_from_db()
    return flow


def run_due() -> int:
    """Execute all runs that are due, and those that become due by it; return their number.

    Inside of a ``TestCase``, where nothing ever commits, it executes in savepoints.
    """
    executed = 0
    for _ in range(_MOST_SWEEPS):
        done = continue_flowruns().executed
        executed += done
        if not done:
            return executed
    raise AssertionError(
        "Runs are still due after 1,000 sweeps: one of them is due at once again and again."
    )
