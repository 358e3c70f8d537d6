"""The outbox: what has to be delivered to waiting runs after a commit, and how no wake-up is lost.

Both sides commit first and check then: an event commits and then finds the runs that wait; a run
commits that it waits and then finds the events. What is undelivered says so in a column, and each
sweep delivers it again, for the case that a process died in between. No step updates the row of
another run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import OperationalError
from django.db.models import Q, QuerySet

from flowcontrol_core.actions.context import Wakeup
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.models import (
    LIVE,
    FlowRun,
    Message,
    MessageKind,
    Request,
    Status,
    TriggerEvent,
)
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    durable,
    is_row_locked,
    retrying,
)
from flowcontrol_core.runs.store.rows import rows, update

Item = TypeVar("Item")
#: The rows of runs with these keys that are to be updated.
Rows = Callable[[Collection[int]], QuerySet[FlowRun]]
_BATCH = 500
#: "Not null" as a range: SQLite searches an index for the latter only.
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


# --- what a run waits for -------------------------------------------------------------------


def waits(run: FlowRun) -> bool:
    """Return whether a row has a wait that has not been dealt with."""
    return bool(run.wait_until or run.wait_timeout or run.wait_trigger or run.wait_child)


def find_wakeup(run: FlowRun, now: datetime) -> Wakeup | None:
    """Return what woke a claimed run that waits, if anything did; an event is taken."""
    if run.wait_child is not None:
        child = FlowRun.objects.using(alias()).filter(uuid=run.wait_child).first()
        if child is None:
            return Wakeup(kind="child", outcome="canceled", child=str(run.wait_child))
        if child.status == Status.DONE:
            result = decode(child.state)
            uuid = str(run.wait_child)
            return Wakeup(kind="child", outcome=child.outcome, result=result, child=uuid)
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
    """Return the events since the run began that it waits for and has not taken, oldest first."""
    events = TriggerEvent.objects.using(alias()).filter(
        key=run.wait_trigger, created_at__gte=run.created_at
    )
    if run.wait_match_object and run.object_key is not None:
        events = events.filter(content_type_id=run.content_type_id, object_key=run.object_key)
    return events.exclude(pk__in=run.events_taken).order_by("created_at", "pk")


def wait_due_at(run: FlowRun) -> datetime | None:
    """Return when a waiting run has to be checked, if nothing wakes it before."""
    times = [time for time in (run.wait_until, run.wait_timeout) if time is not None]
    return min(times) if times else None


# --- after a commit -------------------------------------------------------------------------


def after_checkpoint(run: FlowRun) -> None:
    """Do what follows the commit of a checkpoint: check the wait again, deliver the end."""
    if run.status == Status.DONE:
        after_end(run)
    elif run.status == Status.WAITING and (run.wait_trigger or run.wait_child):
        recheck_wait(run)


def after_end(run: FlowRun) -> None:
    """Do what follows the commit of an end: wake the parent, and a run that queues for the slot."""
    if run.undelivered_since is not None:
        deliver_ends([run.pk])
    if run.flow.has_limits and run.flow.has_queue:
        wake_queued(run)


@retrying
def recheck_wait(run: FlowRun) -> None:
    """Check, after the commit that made a run wait, whether that has already happened.

    Until then the run was due. ``request`` tells whether it was woken in the meantime.
    """
    if run.wait_child is not None and not _is_live(run.wait_child):
        # A child that has ended, or was deleted, wakes it.
        return
    if run.wait_trigger and matching_events(run).values("pk").first():
        return
    waiting = rows([run.pk], Status.WAITING)
    update(waiting.filter(fence=run.fence, request=Request.NONE), due_at=wait_due_at(run))


@retrying
def _is_live(key: UUID) -> bool:
    return FlowRun.objects.using(alias()).filter(uuid=key).live().exists()


# --- waking ---------------------------------------------------------------------------------


def _wake(ids: Collection[int]) -> int:
    """Make those runs due at once that wait or are blocked; return their number.

    Outside of any step's transaction. One that has begun to wait for something else in the
    meantime finds out that it has to wait on.
    """
    keys, now = sorted(ids), clock().now()
    wake = partial(_write, _waiting, due_at=now, request=Request.INBOX)
    return sum(wake(keys[start : start + _BATCH]) for start in range(0, len(keys), _BATCH))


def _waiting(ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, Status.WAITING, Status.BLOCKED)


def _running(ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, Status.RUNNING).filter(request=Request.NONE)


def _write(found: Rows, keys: Sequence[int], **values: Any) -> int:
    """Update runs together, without those that another session has locked.

    Then the error is raised: these are still to be updated.
    """
    try:
        return update(found(keys), **values)
    except OperationalError as error:
        if is_row_locked(error) and not connection().in_atomic_block:
            _write_unlocked(found, keys, **values)
        raise


def _write_unlocked(found: Rows, keys: Sequence[int], **values: Any) -> None:
    if not connection().features.has_select_for_update_skip_locked:
        return
    with durable():
        unlocked = found(keys).order_by("pk").select_for_update(skip_locked=True)
        update(found(list(unlocked.values_list("pk", flat=True))), **values)


def _each(work: Callable[[Item], int], items: Iterable[Item]) -> int:
    """Do something for each; what is locked is left, and its error raised in the end.

    So that nothing else waits for it, and it is not taken for done.
    """
    count, locked = 0, None
    for item in items:
        try:
            count += work(item)
        except OperationalError as error:
            if not is_row_locked(error):
                raise
            locked = error
    if locked is not None:
        raise locked
    return count


def _keys(runs: QuerySet[FlowRun]) -> list[int]:
    return list(runs.order_by().values_list("pk", flat=True))


@retrying
def notify(ids: Collection[int]) -> None:
    """Have runs read their inboxes: running ones at their next checkpoint, waiting ones at once.

    Blocked ones too: a message may send them past the step that blocks them.

    In this order: a running one that begins to wait in between is still found, and a waiting one
    that is claimed in between reads its inbox anyway.
    """
    if keys := sorted(ids):
        _write(_running, keys, request=Request.INBOX)
    _wake(ids)


@retrying
def notify_canceled(pk: int) -> int:
    """Make a run that has a cancellation in its inbox due, whatever its status; return 1 then."""
    running = update(rows([pk], Status.RUNNING), request=Request.CANCEL)
    return running or update(rows([pk], *LIVE), due_at=clock().now(), request=Request.CANCEL)


@retrying
def wake_queued(run: FlowRun) -> None:
    """Let those that have queued longest for a slot of a run that ended try again.

    One of the same flow and one for the same object: either may be what the slot was for. Those
    that were notified already are left out, so that two ended runs wake two queued ones.
    """
    now = clock().now()
    queued = _queued(run.flow_id, now)
    same_object = queued.filter(content_type_id=run.content_type_id, object_key=run.object_key)
    candidates = [queued] if run.object_key is None else [queued, same_object]
    ids = {pk for runs in candidates for pk in runs.values_list("pk", flat=True)[:1]}
    if ids:
        update(rows(ids, Status.PENDING), due_at=now)


@retrying
def wake_next(run: FlowRun) -> None:
    """Let the next one try after a run that was notified of a slot, but is refused for its object.

    It is about another object. Each wakes one that has queued for less long, so this terminates.
    """
    now = clock().now()
    later = Q(queued_at__gt=run.queued_at) | Q(queued_at=run.queued_at, pk__gt=run.pk)
    others = _queued(run.flow_id, now).exclude(
        content_type_id=run.content_type_id, object_key=run.object_key
    )
    ids = list(others.filter(later).values_list("pk", flat=True)[:1])
    if ids:
        update(rows(ids, Status.PENDING), due_at=now)


@retrying
def wake_again(run: FlowRun) -> None:
    """Let a run try again that was put into the queue when a slot was just becoming free."""
    update(rows([run.pk], Status.PENDING).filter(fence=run.fence), due_at=clock().now())


def _queued(flow_id: int, now: datetime) -> QuerySet[FlowRun]:
    """Return the runs that queue and were not notified, those that have queued longest first."""
    queued = FlowRun.objects.using(alias()).filter(
        flow_id=flow_id, status=Status.PENDING, queued_at__isnull=False, due_at__gt=now
    )
    return queued.order_by("queued_at", "pk")


# --- delivery -------------------------------------------------------------------------------


#: The events whose waiting runs have not been woken yet.
UNDELIVERED_EVENTS = TriggerEvent.objects.filter(undelivered_since__gt=_EVER).order_by(
    "undelivered_since"
)
#: The runs that have ended without their parents having been woken.
UNDELIVERED_ENDS = FlowRun.objects.filter(undelivered_since__gt=_EVER).order_by("undelivered_since")
#: The messages of which the runs have not been notified yet.
UNDELIVERED_MESSAGES = Message.objects.filter(undelivered_since__gt=_EVER).order_by(
    "undelivered_since"
)
#: The runs that are blocked on missing actions, by the keys of these.
MISSING_ACTIONS = FlowRun.objects.filter(blocked_on__gt="").order_by("blocked_on")


@retrying
def deliver_events(keys: Iterable[int] | None = None) -> int:
    """Wake the runs that wait for undelivered events: those with these keys, or all."""
    events = UNDELIVERED_EVENTS.using(alias())
    if keys is not None:
        events = events.filter(pk__in=list(keys))
    return _each(_deliver_event, events[:_BATCH])


def _deliver_event(event: TriggerEvent) -> int:
    same_object = Q(content_type_id=event.content_type_id, object_key=event.object_key)
    anything = Q(wait_match_object=False) | Q(object_key__isnull=True)
    waiting = FlowRun.objects.using(alias()).filter(wait_trigger=event.key)
    count = _wake(_keys(waiting.filter(anything | same_object)))
    TriggerEvent.objects.using(alias()).filter(pk=event.pk).update(undelivered_since=None)
    return count


@retrying
def deliver_ends(ids: Iterable[int] | None = None) -> int:
    """Wake the runs that wait for children whose ends are undelivered: of these, or of all."""
    ended = UNDELIVERED_ENDS.using(alias())
    if ids is not None:
        ended = ended.filter(pk__in=list(ids))
    children = list(ended.values_list("pk", "uuid")[:_BATCH])
    if not children:
        return 0
    parents = FlowRun.objects.using(alias()).filter(wait_child__in=[key for _, key in children])
    count = _wake(_keys(parents))
    update(rows([pk for pk, _ in children]), undelivered_since=None)
    return count


@retrying
def deliver_messages(run_ids: Iterable[int] | None = None) -> int:
    """Notify runs of undelivered messages: these runs, or all."""
    messages = UNDELIVERED_MESSAGES.using(alias())
    if run_ids is not None:
        messages = messages.filter(run_id__in=list(run_ids))
    undelivered = list(messages.values_list("pk", "run_id", "kind")[:_BATCH])
    if not undelivered:
        return 0
    canceled = {run_id for _, run_id, kind in undelivered if kind == MessageKind.CANCEL}
    _each(notify_canceled, sorted(canceled))
    notify({run_id for _, run_id, _ in undelivered} - canceled)
    delivered = Message.objects.using(alias()).filter(pk__in=[pk for pk, _, _ in undelivered])
    return delivered.update(undelivered_since=None)


def unblock() -> int:
    """Make runs due that are blocked on an action which this process knows."""
    known = [key for key in missing_keys() if registry.knows_action(key)]
    blocked = FlowRun.objects.using(alias()).filter(status=Status.BLOCKED, due_at__isnull=True)
    ids = _keys(blocked.filter(blocked_on__in=known)) if known else []
    return update(rows(ids, Status.BLOCKED), due_at=clock().now()) if ids else 0


def missing_keys() -> Iterator[str]:
    """Yield the keys of the actions that runs are blocked on, each by one probe of the index.

    Thousands of runs may be blocked on the same one for days.
    """
    blocked = MISSING_ACTIONS.using(alias()).values_list("blocked_on", flat=True)
    key = ""
    while key := blocked.filter(blocked_on__gt=key).first() or "":
        yield key
