"""What happens to a claimed run before its first step: its inbox, its limits, its wake-up."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from flowcontrol_core.actions.context import Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.engine.interpreter import locate
from flowcontrol_core.errors import DirectiveError, FlowcontrolError
from flowcontrol_core.models import (
    EventKind,
    Flow,
    FlowRun,
    LimitPolicy,
    Message,
    MessageKind,
    Outcome,
    Request,
    RunEvent,
    Status,
)
from flowcontrol_core.runs.execution.checkpoint import (
    Execution,
    clear_wait,
    end,
    end_canceled,
    make_execution,
    set_status,
)
from flowcontrol_core.runs.execution.failures import describe
from flowcontrol_core.runs.queue import limits, outbox
from flowcontrol_core.runs.queue.claim import release
from flowcontrol_core.runs.queue.inbox import HELD, empty_inbox
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import WriteGuard, alias, durable, retrying
from flowcontrol_core.runs.store.objects import ObjectSource
from flowcontrol_core.runs.store.rows import LostLease, write_end, write_guarded

logger = logging.getLogger("flowcontrol.runtime")
QUEUE_RECHECK = timedelta(seconds=60)


def admit(
    run: FlowRun, flow: Flow, messages: Iterable[Message], source: ObjectSource, guard: WriteGuard
) -> Execution | None:
    """Prepare a claimed run for execution; ``None`` where it is not to be executed now.

    In that case its row has been written. Raises LostLease; and FlowcontrolError where the run
    cannot be executed at all, to be given to ``end_errored``.
    """
    messages = list(messages)
    if _is_kept(run, flow, messages):
        return None
    if run.attempt > get_settings().MAX_ATTEMPTS:
        raise FlowcontrolError(
            f"Set aside: its worker died {run.attempt - 1} times without reaching a checkpoint. "
            "Find out why, then retry the run."
        )
    if not run.cursor:
        # The time that it was created for has come.
        clear_wait(run)
    if flow.has_limits:
        refused = limits.take_slots(run, flow)
        if refused:
            _refuse(run, flow, refused)
            return None
    return _prepare(run, flow, messages, source, guard)


def _is_kept(run: FlowRun, flow: Flow, messages: list[Message]) -> bool:
    """Say whether somebody keeps the run from going on, or its time has not come."""
    kinds = {message.kind for message in messages}
    if run.request == Request.CANCEL or MessageKind.CANCEL in kinds:
        end_canceled(run)
    elif MessageKind.PAUSE in kinds:
        pauses = [message for message in messages if message.kind == MessageKind.PAUSE]
        _pause(run, pauses, pauses[-1].data.get("reason") or "Paused.", pauses[-1].actor)
    elif flow.paused:
        _pause(run, [], HELD, "")
    elif not (run.cursor or kinds) and run.wait_until and run.wait_until > clock().now():
        _wait_on(run, messages)
    else:
        return False
    return True


def end_errored(run: FlowRun, error: BaseException) -> None:
    """End a claimed run as ERRORED because of what is wrong with the run itself, not a step."""
    now = clock().now()
    step = run.cursor[-1].get("step", "") if _is_cursor(run.cursor) else ""
    reason = str(error) or type(error).__name__
    event = RunEvent(run_id=run.pk, at=now, kind=EventKind.FAILED, message=reason)
    event.error = describe(error, step, "")
    end(run, Outcome.ERRORED, now, reason)
    run.attempt = 0
    with durable():
        if not write_end(run):
            raise LostLease
        event.save(force_insert=True, using=alias())
        empty_inbox(run.pk)
    after_checkpoint(run)


def _is_cursor(cursor: Any) -> bool:
    return isinstance(cursor, list) and bool(cursor) and isinstance(cursor[-1], dict)


def _prepare(
    run: FlowRun, flow: Flow, messages: list[Message], source: ObjectSource, guard: WriteGuard
) -> Execution | None:
    jumps = [message for message in messages if message.kind == MessageKind.GO_TO]
    wakes = [message for message in messages if message.kind == MessageKind.WAKE]
    wakeup = None
    if jumps:
        clear_wait(run)
    elif outbox.waits(run):
        wakeup = _wakeup_of(wakes) or outbox.find_wakeup(run, clock().now())
        if wakeup is None:
            _wait_on(run, messages)
            return None
    execution = make_execution(run, flow, source, guard, wakeup)
    execution.taken = [message.pk for message in messages]
    if run.attempt > 1:
        execution.notes.append(_recovery(run))
    for message in jumps:
        _jump(execution, message)
    return execution


def _recovery(run: FlowRun) -> RunEvent:
    message = (
        f"Execution {run.attempt} since the last checkpoint: the one before was cut short, because "
        "its worker died, took too long, or lost the database."
    )
    return RunEvent(at=clock().now(), kind=EventKind.RECOVERED, message=message)


def _wakeup_of(wakes: list[Message]) -> Wakeup | None:
    if not wakes:
        return None
    data = wakes[0].data
    kind = "trigger" if data.get("trigger") else "operator"
    return Wakeup(
        kind=kind,  # type: ignore[arg-type]
        trigger=data.get("trigger", ""),
        payload=decode(data.get("payload", {})),
    )


def _jump(execution: Execution, message: Message) -> None:
    """Send the run to a step, or note why not."""
    activation = execution.activation
    step = str(message.data.get("step", ""))
    event = RunEvent(at=clock().now(), kind=EventKind.OPERATOR, actor=message.actor)
    try:
        activation.cursor = locate(activation.compiled.program, step, activation.compiled.is_loop)
        activation.started = True
        event.message = f"Sent to the step {step!r}: {message.data.get('reason', '')}".rstrip(": ")
    except DirectiveError as error:
        event.kind = EventKind.REFUSED
        event.message = f"Not sent to the step {step!r}: {error}"
    execution.notes.append(event)


def _wait_on(run: FlowRun, messages: list[Message]) -> None:
    """Put a run back that was looked at although nothing woke it."""
    now = clock().now()
    status = Status.WAITING if run.cursor else Status.PENDING
    run.due_at = now if run.wait_trigger or run.wait_child else outbox.next_look(run)
    _put_back(run, status, run.reason, messages)
    after_checkpoint(run)


def _pause(run: FlowRun, messages: list[Message], reason: str, actor: str) -> None:
    now = clock().now()
    run.due_at = None
    event = RunEvent(run_id=run.pk, at=now, kind=EventKind.OPERATOR, message=reason, actor=actor)
    _put_back(run, Status.PAUSED, reason, messages, event)


def _put_back(
    run: FlowRun,
    status: Status,
    reason: str,
    messages: Iterable[Message] = (),
    event: RunEvent | None = None,
) -> None:
    """Write a claimed run back without having executed it."""
    if run.status != status:
        set_status(run, status, clock().now())
    run.reason = reason
    run.worker = ""
    _write_back(run, messages, event)


def _write_back(
    run: FlowRun, messages: Iterable[Message] = (), event: RunEvent | None = None
) -> None:
    """Write a claimed run; one that is asked for something by now is given back instead."""
    attempt, run.attempt = run.attempt, 0
    if not _write_row(run, messages, event):
        run.attempt = attempt
        release(run)
        raise LostLease


@retrying
def _write_row(run: FlowRun, messages: Iterable[Message], event: RunEvent | None) -> bool:
    with durable():
        written = write_guarded([run]) == 1
        if written and event is not None:
            event.save(force_insert=True, using=alias())
        if written:
            Message.objects.using(alias()).filter(pk__in=[item.pk for item in messages]).delete()
    return written


def _refuse(run: FlowRun, flow: Flow, limit: str) -> None:
    """Do with a run what the policy says about a limit that has been reached."""
    now = clock().now()
    reason = f"The limit {limit} of the flow is reached ({getattr(flow, limit)})."
    policy = flow.policy_of(limit)
    final = policy == LimitPolicy.SKIP
    if not final and _is_held_by_ancestor(run, limit):
        # The one that holds the slot may be waiting for this one: they would wait for ever.
        reason = f"{reason} A run that started this one holds the slot."
        final = True
    if final and run.started_at is None:
        end(run, Outcome.CANCELED, now, reason)
        _write_back(
            run, event=RunEvent(run_id=run.pk, at=now, kind=EventKind.REFUSED, message=reason)
        )
        after_checkpoint(run)
        return
    replaces = policy == LimitPolicy.REPLACE and not final
    if replaces and yield_slot(run, flow, limit):
        return
    # One that has begun, and was taken up again or found a new limit, waits for its turn.
    is_new = run.queued_at is None
    run.queued_at = run.queued_at or now
    run.due_at = now + QUEUE_RECHECK
    _put_back(run, Status.PENDING, f"Queued: {reason}")
    if replaces:
        replace_older(run, flow, limit)
    if not limits.reached(limits.wanting(run, flow)):
        # Whoever has freed a slot in the meantime has not seen it in the queue.
        outbox.wake_again(run)
    elif not is_new:
        _pass_on(run, flow, limit)


def _pass_on(run: FlowRun, flow: Flow, limit: str) -> None:
    """Let another run have the flow's slot that this one cannot use because of its object."""
    whole = limits.limits_of(flow, None, None)
    if limit == "max_concurrent_per_object" and whole and not limits.reached(whole):
        outbox.wake_next(run)


def _is_held_by_ancestor(run: FlowRun, limit: str) -> bool:
    """Say whether a run that this one was started by holds a slot of the limit."""
    parent = run.parent_id
    for _ in range(run.depth):
        if parent is None:
            return False
        above = FlowRun.objects.using(alias()).filter(pk=parent).first()
        if above is None:
            return False
        if above.flow_id == run.flow_id and _holds(above, run, limit):
            return True
        parent = above.parent_id
    return False


def _holds(above: FlowRun, run: FlowRun, limit: str) -> bool:
    if limit == "max_concurrent":
        return above.slot is not None
    same_object = (above.content_type_id, above.object_key) == (
        run.content_type_id,
        run.object_key,
    )
    return above.slot_object is not None and same_object


#: The columns of the slots of the limits that have this policy.
_COLUMNS = {"max_concurrent": "slot", "max_concurrent_per_object": "slot_object"}


def yield_slot(run: FlowRun, flow: Flow, limit: str) -> bool:
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
            undelivered_since=now,
        )
        for pk in ids
    )
