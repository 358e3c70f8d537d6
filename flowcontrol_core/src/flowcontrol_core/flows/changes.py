"""The database that flows are written to, and the one lock that their changes take."""

from __future__ import annotations

from typing import Any

from django.db import router, transaction
from django.db.transaction import Atomic
from django.utils import timezone

from flowcontrol_core.errors import UnknownFlowError
from flowcontrol_core.models import Flow, FlowEvent


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


#: What is recorded of a flow; ``prune`` is done to all of them.
VERBS = (
    "create", "change", "publish", "activate", "deactivate", "pause", "resume", "delete", "prune",
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
