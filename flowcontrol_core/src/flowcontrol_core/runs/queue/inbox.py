"""TODO."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from flowcontrol_core.models import (
    FlowRun,
    Message,
)
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
)


def cancel_children(pk: int, actor: str) -> list[int]:
    """Put a cancellation into the inboxes of a run's live children; give their keys."""
    live = FlowRun.objects.using(alias()).filter(parent_id=pk).live()
    children = list(live.values_list("pk", flat=True))
    now = clock().now()
    reason = "The run that started this one was canceled."
    Message.objects.using(alias()).bulk_create(
        [
            Message(
                run_id=child,
                kind="cancel",
                data={"reason": reason},
                actor=actor[:200],
                created_at=now,
                undelivered_since=now,
            )
            for child in children
        ]
    )
    return children


def empty_inbox(run_id: int) -> None:
    """Delete the messages of a run that has ended.

    By primary key: on MariaDB a deletion by run would wait for anybody who is just inserting one.
    """
    messages = Message.objects.using(alias())
    keys = list(messages.filter(run_id=run_id).values_list("pk", flat=True))
    if keys:
        messages.filter(pk__in=keys).delete()


def read_inboxes(runs: Sequence[FlowRun]) -> dict[int, list[Message]]:
    """Give the messages of claimed runs, with one query for all of them."""
    inboxes: dict[int, list[Message]] = defaultdict(list)
    messages = Message.objects.using(alias()).filter(run_id__in=[run.pk for run in runs])
    for message in messages.order_by("pk"):
        inboxes[message.run_id].append(message)
    return inboxes


HELD = "The flow is on hold."
