"""The outbox: what has to be delivered to waiting runs after a commit, and how no wake-up is lost.

Both sides commit first and check then: an event commits and then finds the runs that wait; a run
commits that it waits and then finds the events. What is undelivered says so in a column, and each
sweep delivers it again, for the case that a process died in between. No step updates the row of
another run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import call
from typing import Any, TypeVar
from uuid import UUID

from django.db import OperationalError
from django.db.models import Q, QuerySet

from flowcontrol_core.actions.context import Wakeup
from flowcontrol_core.conf import get_settings
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
from flowcontrol_core.runs.store.compiled import get_compiled
from flowcontrol_core.runs.store.connection import (
    alias,
    dispatch,
    is_row_locked,
    retrying,
)
from flowcontrol_core.runs.store.needs import is_there
from flowcontrol_core.runs.store.rows import rows, update, update_together

Item = TypeVar("Item")
_BATCH = 500
_ASLEEP = (Status.PENDING, Status.WAITING, Status.BLOCKED)
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
        events = events.filter(**run.about)
    return events.exclude(pk__in=run.events_taken).order_by("created_at", "pk")


def wait_due_at(run: FlowRun) -> datetime | None:
    """Return when a waiting run has to be checked, if nothing wakes it before."""
    times = [time for time in (run.wait_until, run.wait_timeout) if time is not None]
    due_at = min(times) if times else None
    return guard_due_at(due_at, clock().now()) if is_guarded(run) else due_at


def guard_due_at(due_at: datetime | None, now: datetime) -> datetime:
    """Return when a waiting run of a flow with a guard has to be checked: its guard, at the latest.

    ``due_at`` is when it would have to be checked without it.
    """
    latest = now + timedelta(seconds=get_settings().GUARD_INTERVAL)
    return latest if due_at is None else min(due_at, latest)


def is_guarded(run: FlowRun) -> bool:
    """Return whether a run has begun and has a guard; raises FlowcontrolError as compiling does."""
    return bool(run.cursor) and get_compiled(run.version).guard is not None


# --- after a commit -------------------------------------------------------------------------


def after_checkpoint(run: FlowRun) -> None:
    """Do what follows the commit of a checkpoint: check the wait again, deliver the end.

    A run that is due still, because that has happened or it was asked for something, is dispatched.
    """
    if run.status == Status.DONE:
        after_end(run)
    elif run.request == Request.INBOX or (
        run.status == Status.WAITING
        and (run.wait_trigger or run.wait_child)
        and not recheck_wait(run)
    ):
        dispatch([run.pk])


def after_end(run: FlowRun) -> None:
    """Do what follows the commit of an end: wake the parent, and a run that queues for the slot."""
    if run.undelivered_since is not None:
        deliver_ends([run.pk])
    if run.flow.has_limits and run.flow.has_queue:
        wake_queued(run)


@retrying
def recheck_wait(run: FlowRun) -> bool:
    """Check, after the commit that made a run wait, whether that has already happened.

    Until then the run was due. ``request`` tells whether it was woken in the meantime. Return
    whether it has to wait; otherwise it stays due.
    """
    if run.wait_child is not None and not _is_live(run.wait_child):
        # A child that has ended, or was deleted, wakes it.
        return False
    if run.wait_trigger and matching_events(run).values("pk").first():
        return False
    waiting = rows([run.pk], Status.WAITING).filter(fence=run.fence, request=Request.NONE)
    return update(waiting, due_at=wait_due_at(run)) == 1


@retrying
def _is_live(key: UUID) -> bool:
    return FlowRun.objects.using(alias()).filter(uuid=key).live().exists()


# --- waking ---------------------------------------------------------------------------------


def _wake(ids: Collection[int]) -> list[int]:
    """Make those runs due at once that have not begun, wait or are blocked.

    Return the keys, if there were any.

    Outside of any step's transaction; the caller dispatches them. One that has begun to wait for
    something else in the meantime finds out that it has to wait on.
    """
    keys = sorted(ids)
    return _each(
        _wake_chunk, (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
    )


def _wake_chunk(keys: list[int]) -> list[int]:
    now = clock().now()
    return keys if update_together(_asleep, keys, due_at=now, request=Request.INBOX) else []


def _asleep(ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, *_ASLEEP)


def _running(ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, Status.RUNNING).filter(request=Request.NONE)


def _each(work: Callable[[Item], list[int]], items: Iterable[Item]) -> list[int]:
    """Do something for each, and return the runs that are due by it.

    What is locked is left, and its error raised in the end: so nothing else waits for it, and it is
    not taken for done.
    """
    due: list[int] = []
    locked = None
    for item in items:
        try:
            due += work(item)
        except OperationalError as error:
            if not is_row_locked(error):
                raise
            locked = error
    if locked is not None:
        dispatch(due)
        raise locked
    return due


def _keys(runs: QuerySet[FlowRun]) -> list[int]:
    return list(runs.order_by().values_list("pk", flat=True))


@retrying
def notify(ids: Collection[int]) -> list[int]:
    """Have runs read their inboxes: running ones at their next checkpoint, waiting ones at once.

    Blocked ones too: a message may send them past the step that blocks them. Return the keys, if
    any is due now.

    In this order: a running one that begins to wait in between is still found, and a waiting one
    that is claimed in between reads its inbox anyway.
    """
    keys = sorted(ids)
    return _each(call, [partial(_notify_running, keys), partial(_wake, keys)]) if keys else []


def _notify_running(keys: list[int]) -> list[int]:
    update_together(_running, keys, request=Request.INBOX)
    return []


@retrying
def wake_paused(ids: Collection[int], reason_code: str) -> list[int]:
    """Make those runs due that are paused for a reason which is gone; return the keys, if any."""
    keys, paused = sorted(ids), partial(_paused, reason_code)
    woken = update_together(paused, keys, due_at=clock().now(), request=Request.INBOX)
    return keys if woken else []


def _paused(reason_code: str, ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, Status.PAUSED).filter(reason_code=reason_code)


def is_awaited(key: str, about: Mapping[str, Any]) -> bool:
    """Return whether a run waits for an event of a trigger about an object, named by its columns.

    It may already be due for another reason, and its step may refuse the event.
    """
    return _waiting_for(key, about).exists()


def _waiting_for(key: str, about: Mapping[str, Any]) -> QuerySet[FlowRun]:
    same_object = Q(**about)
    anything = Q(wait_match_object=False) | Q(object_key__isnull=True)
    waiting = FlowRun.objects.using(alias()).filter(anything | same_object, wait_trigger=key)
    return waiting.order_by()


@retrying
def notify_canceled(pk: int) -> bool:
    """Have a run that has a cancellation in its inbox read it; return whether it is due now."""
    if update(rows([pk], Status.RUNNING), request=Request.CANCEL):
        return False
    return bool(update(rows([pk], *LIVE), due_at=clock().now(), request=Request.CANCEL))


def _deliver_cancellation(pk: int) -> list[int]:
    return [pk] if notify_canceled(pk) else []


@retrying
def wake_queued(run: FlowRun) -> None:
    """Let those that have queued longest for a slot of a run that ended try again.

    One of the same flow and one for the same object: either may be what the slot was for. Those
    that were notified already are left out, so that two ended runs wake two queued ones.
    """
    now = clock().now()
    queued = _queued(run.flow_id, now)
    same_object = queued.filter(**run.about)
    candidates = [queued] if run.object_key is None else [queued, same_object]
    _let_try({pk for runs in candidates for pk in runs.values_list("pk", flat=True)[:1]}, now)


@retrying
def wake_next(run: FlowRun) -> None:
    """Let the next one try after a run that was notified of a slot, but is refused for its object.

    It is about another object. Each wakes one that has queued for less long, so this terminates.
    """
    now = clock().now()
    later = Q(queued_at__gt=run.queued_at) | Q(queued_at=run.queued_at, pk__gt=run.pk)
    others = _queued(run.flow_id, now).exclude(**run.about)
    _let_try(others.filter(later).values_list("pk", flat=True)[:1], now)


@retrying
def wake_again(run: FlowRun) -> None:
    """Let a run begin now whose due time was to be later, unless it has begun by then."""
    pending = rows([run.pk], Status.PENDING).filter(fence=run.fence)
    if update(pending, due_at=clock().now()):
        dispatch([run.pk])


def _let_try(ids: Iterable[int], now: datetime) -> None:
    keys = sorted(ids)
    if keys and update(rows(keys, Status.PENDING), due_at=now):
        dispatch(keys)


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
#: The runs that are blocked on what was missing, by the keys of that.
LACKING = FlowRun.objects.filter(blocked_on__gt="").order_by("blocked_on")


@retrying
def deliver_events(keys: Iterable[int] | None = None) -> int:
    """Wake the runs that wait for undelivered events: those with these keys, or all."""
    events = UNDELIVERED_EVENTS.using(alias())
    if keys is not None:
        events = events.filter(pk__in=list(keys))
    woken = _each(_deliver_event, events[:_BATCH])
    dispatch(woken)
    return len(woken)


def _deliver_event(event: TriggerEvent) -> list[int]:
    woken = _wake(_keys(_waiting_for(event.key, event.about)))
    TriggerEvent.objects.using(alias()).filter(pk=event.pk).update(undelivered_since=None)
    return woken


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
    woken = _wake(_keys(parents))
    update_together(rows, [pk for pk, _ in children], undelivered_since=None)
    dispatch(woken)
    return len(woken)


@retrying
def deliver_messages(run_ids: Iterable[int] | None = None) -> int:
    """Notify runs of undelivered messages: these runs, or all."""
    messages = UNDELIVERED_MESSAGES.using(alias())
    if run_ids is not None:
        messages = messages.filter(run_id__in=list(run_ids))
    undelivered = list(messages.values_list("pk", "run_id", "kind")[:_BATCH])
    if not undelivered:
        return 0
    canceled, resumed = (
        {run_id for _, run_id, kind in undelivered if kind == wanted}
        for wanted in (MessageKind.CANCEL, MessageKind.RESUME)
    )
    others = {run_id for _, run_id, _ in undelivered} - canceled
    cancel = partial(_each, _deliver_cancellation, sorted(canceled))
    resume = partial(wake_paused, resumed, "parent_paused")
    due = _each(call, [cancel, partial(notify, others), resume])
    delivered = Message.objects.using(alias()).filter(pk__in=[pk for pk, _, _ in undelivered])
    count = delivered.update(undelivered_since=None)
    dispatch(due)
    return count


def unblock() -> int:
    """Make runs due that are blocked on what this process has."""
    known = [key for key in missing_keys() if is_there(key)]
    blocked = FlowRun.objects.using(alias()).filter(status=Status.BLOCKED, due_at__isnull=True)
    ids = _keys(blocked.filter(blocked_on__in=known)) if known else []
    count = update_together(_blocked, ids, due_at=clock().now()) if ids else 0
    dispatch(ids)
    return count


def _blocked(ids: Collection[int]) -> QuerySet[FlowRun]:
    return rows(ids, Status.BLOCKED)


def missing_keys() -> Iterator[str]:
    """Yield the keys of what runs are blocked on (see ``needs``), each by one index probe.

    Thousands of runs may be blocked on the same one for days.
    """
    blocked = LACKING.using(alias()).values_list("blocked_on", flat=True)
    key = ""
    while key := blocked.filter(blocked_on__gt=key).first() or "":
        yield key
