"""Who wakes a waiting run, and how no wake-up is lost.

Both sides commit first and look then: an event commits and then looks for waiting runs; a run
commits that it waits and then looks for events. The sweep repeats both looks, for the case that
a process died in between. Nobody updates another run's row inside of a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from flowcontrol_core.engine.codec import decode
from flowcontrol_core.models import (
    FlowRun,
    Message,
    MessageKind,
    Request,
    Status,
    TriggerEvent,
)
from flowcontrol_core.plugins.context import Wakeup
from flowcontrol_core.plugins.registry import registry
from flowcontrol_core.runtime.clock import clock
from flowcontrol_core.runtime.database import alias, retrying

_BATCH = 500
#: "Not null" as a range: SQLite searches an index for the latter only.
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_STOPPED = (Status.PENDING, Status.PAUSED, Status.BLOCKED)


def waits(run: FlowRun) -> bool:
    """Say whether a row has a wait that has not been dealt with."""
    return bool(run.wait_until or run.wait_timeout or run.wait_trigger or run.wait_child)


def find_wakeup(run: FlowRun, now: datetime) -> Wakeup | None:
    """Say what woke a claimed run that waits; ``None``: nothing did. Takes the event, if any."""
    if run.wait_child is not None:
        child = FlowRun.objects.using(alias()).filter(uuid=run.wait_child).first()
        if child is None:
            return Wakeup(kind="child", outcome="canceled")
        if child.status == Status.DONE:
            return Wakeup(kind="child", outcome=child.outcome, result=decode(child.state))
    if run.wait_trigger:
        event = matching_events(run).first()
        if event is not None:
            run.events_taken = [*run.events_taken, event.pk]
            payload = decode(event.payload)
            return Wakeup(kind="trigger", trigger=event.key, payload=payload)
    if run.wait_until is not None and run.wait_until <= now:
        return Wakeup(kind="time")
    if run.wait_timeout is not None and run.wait_timeout <= now:
        return Wakeup(kind="timeout")
    return None


def matching_events(run: FlowRun) -> QuerySet[TriggerEvent]:
    """Give the events since the run began that it waits for and has not taken, oldest first."""
    events = TriggerEvent.objects.using(alias()).filter(
        key=run.wait_trigger, created_at__gte=run.created_at
    )
    if run.wait_match_object and run.object_key is not None:
        events = events.filter(content_type_id=run.content_type_id, object_key=run.object_key)
    return events.exclude(pk__in=run.events_taken).order_by("pk")


def next_look(run: FlowRun) -> datetime | None:
    """Give the time at which a waiting run has to be looked at, if nothing wakes it before."""
    times = [moment for moment in (run.wait_until, run.wait_timeout) if moment is not None]
    return min(times) if times else None


@retrying
def settle(run: FlowRun) -> None:
    """Look, after the commit that made a run wait, whether it has come already; if not, let it be.

    Until then the run was due. ``request`` tells if somebody woke it in the meantime.
    """
    if run.wait_child is not None and not _is_live(run.wait_child):
        # A child that has ended, or was deleted, wakes it.
        return
    if run.wait_trigger and matching_events(run).exists():
        return
    # The status compared as in ``rows.held``, for the same reason.
    FlowRun.objects.using(alias()).filter(
        pk=run.pk,
        fence=run.fence,
        status__endswith=Status.WAITING.value,
        request=Request.NONE,
    ).update(wake_at=next_look(run))


@retrying
def _is_live(key: UUID) -> bool:
    return FlowRun.objects.using(alias()).filter(uuid=key).live().exists()


def wake(runs: QuerySet[FlowRun]) -> int:
    """Make waiting runs due at once; give their number. Outside of any step's transaction."""
    return runs.filter(status=Status.WAITING).update(wake_at=clock().now(), request=Request.INBOX)


@retrying
def ask(ids: Iterable[int]) -> None:
    """Tell runs to look into their inboxes: waiting ones at once, running ones when they can."""
    runs = FlowRun.objects.using(alias()).filter(pk__in=list(ids))
    wake(runs)
    runs.filter(status=Status.RUNNING, request=Request.NONE).update(request=Request.INBOX)


@retrying
def ask_to_cancel(pk: int) -> None:
    """Let a run that has a cancellation in its inbox be looked at, whatever its status."""
    run = FlowRun.objects.using(alias()).filter(pk=pk)
    running = run.filter(status=Status.RUNNING).update(request=Request.CANCEL)
    if not running:
        run.live().update(wake_at=clock().now(), request=Request.CANCEL)


@retrying
def wake_queued(run: FlowRun) -> None:
    """Let those that have queued longest for a slot of a run that ended try again.

    One of the same flow and one for the same object: either may be what the slot was for. Those
    that were told already are left out, so that two ends wake two.
    """
    now = clock().now()
    queued = FlowRun.objects.using(alias()).filter(
        flow_id=run.flow_id, status=Status.PENDING, queued_at__isnull=False, wake_at__gt=now
    )
    same_object = queued.filter(content_type_id=run.content_type_id, object_key=run.object_key)
    candidates = [queued] if run.object_key is None else [queued, same_object]
    ids = {
        pk
        for runs in candidates
        for pk in runs.order_by("queued_at", "pk").values_list("pk", flat=True)[:1]
    }
    if ids:
        queued.filter(pk__in=ids).update(wake_at=now)


@retrying
def announce_events(keys: Iterable[int] | None = None) -> int:
    """Wake the runs that wait for events which nobody has announced yet."""
    events = TriggerEvent.objects.using(alias()).filter(announce_at__gt=_EVER)
    if keys is not None:
        events = events.filter(pk__in=list(keys))
    count = 0
    for event in events.order_by("announce_at", "pk")[:_BATCH]:
        same_object = Q(content_type_id=event.content_type_id, object_key=event.object_key)
        anything = Q(wait_match_object=False) | Q(object_key__isnull=True)
        waiting = FlowRun.objects.using(alias()).filter(wait_trigger=event.key)
        count += wake(waiting.filter(anything | same_object))
        TriggerEvent.objects.using(alias()).filter(pk=event.pk).update(announce_at=None)
    return count


@retrying
def announce_ended(ids: Iterable[int] | None = None) -> int:
    """Wake the runs that wait for children which have ended without their parents being told."""
    ended = FlowRun.objects.using(alias()).filter(announce_at__gt=_EVER)
    if ids is not None:
        ended = ended.filter(pk__in=list(ids))
    children = list(ended.order_by("announce_at").values_list("pk", "uuid")[:_BATCH])
    if not children:
        return 0
    parents = FlowRun.objects.using(alias()).filter(wait_child__in=[key for _, key in children])
    count = wake(parents)
    FlowRun.objects.using(alias()).filter(pk__in=[pk for pk, _ in children]).update(
        announce_at=None
    )
    return count


@retrying
def deliver_messages() -> int:
    """Tell the runs that have messages which nobody told them of."""
    told, last = 0, 0
    while True:
        # Without a join: of two tables SQLite may choose the long one to begin with.
        messages = Message.objects.using(alias()).filter(pk__gt=last).order_by("pk")
        page = list(messages.values_list("pk", "run_id", "kind")[:_BATCH])
        if not page:
            return told
        last = page[-1][0]
        told += _deliver({(run_id, kind) for _, run_id, kind in page})


def _deliver(addressed: set[tuple[int, str]]) -> int:
    """Waiting runs look at any message; a cancellation concerns those that are stopped too."""
    runs = FlowRun.objects.using(alias()).filter(
        pk__in={pk for pk, _ in addressed}, request=Request.NONE
    )
    statuses = dict(runs.values_list("pk", "status"))
    canceled = {
        pk
        for pk, kind in addressed
        if kind == MessageKind.CANCEL and statuses.get(pk) in (Status.WAITING, *_STOPPED)
    }
    for pk in canceled:
        ask_to_cancel(pk)
    others = {pk for pk, status in statuses.items() if status == Status.WAITING} - canceled
    return len(canceled) + (wake(runs.filter(pk__in=others)) if others else 0)


def unblock() -> int:
    """Make runs due that are blocked on an action which this process knows."""
    blocked = FlowRun.objects.using(alias()).filter(blocked_on__gt="")
    keys: list[Any] = list(blocked.order_by().values_list("blocked_on", flat=True).distinct())
    known = [key for key in keys if registry.knows_action(key)]
    if not known:
        return 0
    return blocked.filter(blocked_on__in=known, status=Status.BLOCKED, wake_at__isnull=True).update(
        wake_at=clock().now()
    )
