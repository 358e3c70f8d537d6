"""The inbox of a run: requests that anyone may insert, and that its worker reads.

A run that is being executed is never changed by others; they put a message here instead. The
``request`` column of the run is a hint, the inbox decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flowcontrol_core.models import FlowRun, Message, MessageKind, Reason
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias


def remove_messages(messages: Iterable[Message]) -> None:
    """Delete messages that were dealt with."""
    if keys := [message.pk for message in messages]:
        Message.objects.using(alias()).filter(pk__in=keys).delete()


def empty_inbox(run_id: int) -> None:
    """Delete the messages of a run that has ended.

    By primary key: on MariaDB a deletion by run would wait for anyone who is just inserting one.
    """
    messages = Message.objects.using(alias())
    keys = list(messages.filter(run_id=run_id).values_list("pk", flat=True))
    if keys:
        messages.filter(pk__in=keys).delete()


def put_message(
    pk: int, kind: MessageKind, data: dict[str, Any], actor: str, now: datetime | None = None
) -> None:
    """Insert a message for a run; the caller notifies the run in the same transaction."""
    Message.objects.using(alias()).create(
        run_id=pk, kind=kind, data=data, actor=actor, created_at=now or clock().now()
    )


def put_messages(ids: Iterable[int], kind: MessageKind, reason: Reason, actor: str = "") -> None:
    """Insert a message for each run, to be delivered after the commit."""
    now = clock().now()
    data = {"code": reason.code, "values": reason.stored()}
    Message.objects.using(alias()).bulk_create(
        Message(
            run_id=pk,
            kind=kind,
            data=data,
            actor=actor,
            created_at=now,
            undelivered_since=now,
        )
        for pk in ids
    )


def reason_of(message: Message, code: str) -> Reason:
    """Return why a message was sent: its own reason, or that of a code with its note."""
    data = message.data
    return Reason(data.get("code", code), data.get("values", {}))


#: Why the children of a run are asked for what it was asked for.
_WITH_PARENT = {
    MessageKind.CANCEL: Reason("parent_canceled"),
    MessageKind.PAUSE: Reason("parent_paused"),
    MessageKind.RESUME: Reason("parent_resumed"),
}


def put_to_children(pk: int, kind: MessageKind, actor: str) -> list[int]:
    """Put a message into the inboxes of a run's live children; return their keys."""
    live = FlowRun.objects.using(alias()).filter(parent_id=pk).live()
    children = list(live.values_list("pk", flat=True))
    put_messages(children, kind, _WITH_PARENT[kind], actor)
    return children
