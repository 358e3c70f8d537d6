"""The database that flows are written to, and the one lock that their changes take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import router, transaction
from django.db.transaction import Atomic
from django.utils import timezone

from flowcontrol_core.errors import UnknownFlowError
from flowcontrol_core.models import Flow, FlowEvent, FlowOperation


def atomic() -> Atomic:
    """Give a transaction, or a savepoint inside of one, on the database of the flows."""
    return transaction.atomic(using=router.db_for_write(Flow))


def lock(flow: Flow) -> None:
    """Let the changes of a flow's versions come one after the other; runs never wait for it.

    Without it, two first edits at once would deadlock on MariaDB. Correctness rests on the
    revision alone. Raises UnknownFlowError where the flow was deleted meanwhile.
    """
    if not Flow.objects.select_for_update().filter(pk=flow.pk).values_list("pk").first():
        raise UnknownFlowError(f"The flow {flow.key!r} was deleted; go back to the list of flows.")


def record(
    key: str,
    operation: FlowOperation,
    values: Mapping[str, Any] | None = None,
    *,
    by: Any = None,
    reason: str = "",
) -> None:
    """Add what was done to the history of a flow, in the transaction that does it."""
    FlowEvent.objects.create(
        key=key,
        operation=operation,
        values=dict(values or {}),
        note=reason,
        actor=str(by or "")[:200],
        at=timezone.now(),
    )
