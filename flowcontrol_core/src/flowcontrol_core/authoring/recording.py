"""Who did what to a flow as a whole, and why: kept by the flow's key, for longer than the flow."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from flowcontrol_core.models import FlowEvent

#: What is recorded of a flow; ``prune`` is done to all of them.
VERBS = (
    "create", "change", "publish", "activate", "deactivate", "hold", "release", "delete", "prune",
)  # fmt: skip


def record(key: str, verb: str, message: str = "", *, by: Any = None, reason: str = "") -> None:
    """Note what was done, in the transaction that does it."""
    FlowEvent.objects.create(
        key=key,
        verb=verb,
        message=f"{message} {reason}".strip(),
        actor=str(by or "")[:200],
        at=timezone.now(),
    )
