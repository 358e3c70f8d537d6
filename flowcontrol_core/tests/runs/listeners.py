"""Flow triggers for the trigger ``lab.paid``, and what came of firing it."""

from __future__ import annotations

from typing import Any

from django.db import connection

from flowcontrol_core.flows.flow_triggers import associate_trigger
from flowcontrol_core.flows.lifecycle import LIMITS, POLICIES
from flowcontrol_core.models import Flow, FlowTrigger, SkippedFiring
from flowcontrol_core.runs.triggers.listeners import cache

from .conftest import publish, think

KEY = "lab.paid"
_LIMITS = {*LIMITS, *POLICIES}


def listener(key: str = "flow", *, flow: Flow | None = None, **options: Any) -> FlowTrigger:
    """Associate the trigger with a flow, a new one by default."""
    fields = {name: options.pop(name) for name in _LIMITS & options.keys()}
    target = flow or publish(think(id="first"), think(), key=key, **fields)
    return associate_trigger(target, KEY, **options)


def refusals() -> list[str]:
    return list(SkippedFiring.objects.order_by("pk").values_list("reason", flat=True))


def outside_of_a_change() -> None:
    """Forget that the test's own transaction has changed flows, as its commit would."""
    connection.run_on_commit = []
    cache.forget()
    connection.run_on_commit = []
