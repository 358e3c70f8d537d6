"""The policy "replace": of the runs that a limit counts, the newest stay."""

from __future__ import annotations

from django.db.models import Count, Max, Q, QuerySet

from flowcontrol_core.models import Flow, FlowRun, Message, MessageKind, Status
from flowcontrol_core.runs.execution.driver import end_canceled
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, retrying

#: The columns of the slots of the limits that have this policy.
_COLUMNS = {"max_concurrent": "slot", "max_concurrent_per_object": "slot_object"}


def give_way(run: FlowRun, flow: Flow, limit: str) -> bool:
    """End a claimed run that newer ones leave no place for; say whether that was so."""
    newer = _present(run, limit).filter(pk__gt=run.pk).order_by()
    found = newer.aggregate(number=Count("pk"), newest=Max("pk"))
    if found["number"] < getattr(flow, limit):
        return False
    _write_cancellations([run.pk], found["newest"])
    end_canceled(run)
    return True


@retrying
def replace_older(run: FlowRun, flow: Flow, limit: str) -> None:
    """Ask the older runs to cancel that have no place beside this one and the newer ones.

    A slot that one of them holds wakes the queue when it has ended.
    """
    present = _present(run, limit).order_by().values_list("pk", _COLUMNS[limit], "queued_at")
    superfluous = sorted(present, reverse=True)[getattr(flow, limit) :]
    # The others are not refused, or are, and replaced, when they are looked at.
    replaced = [pk for pk, slot, queued_at in superfluous if slot or queued_at]
    _write_cancellations(replaced, run.pk)
    outbox.deliver_messages(replaced)


def _present(run: FlowRun, limit: str) -> QuerySet[FlowRun]:
    """Give the live runs that the limit counts or will; not those that do not want to begin yet."""
    runs = FlowRun.objects.using(alias()).filter(flow_id=run.flow_id).live()
    if limit == "max_concurrent_per_object":
        runs = runs.filter(content_type_id=run.content_type_id, object_key=run.object_key)
    later = Q(started_at__isnull=True, wait_until__gt=clock().now())
    paused = Q(status=Status.PAUSED, **{f"{_COLUMNS[limit]}__isnull": True})
    return runs.exclude(later | paused)


def _write_cancellations(ids: list[int], newer: int) -> None:
    now = clock().now()
    reason = f"Replaced by run {newer}."
    Message.objects.using(alias()).bulk_create(
        Message(
            run_id=pk,
            kind=MessageKind.CANCEL,
            data={"reason": reason},
            created_at=now,
            announce_at=now,
        )
        for pk in ids
    )
