"""What happens to a claimed run before its first step: its inbox, its limits, its wake-up."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from flowcontrol_core.actions.context import Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.engine.interpreter import locate
from flowcontrol_core.errors import DirectiveError, FlowcontrolError
from flowcontrol_core.models import (
    EventKind,
    FlowRun,
    LimitPolicy,
    Message,
    MessageKind,
    Outcome,
    Reason,
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
    write_ended,
)
from flowcontrol_core.runs.execution.failures import WRITTEN, Written, describe, one_line
from flowcontrol_core.runs.queue import limits, outbox
from flowcontrol_core.runs.queue.claim import Heartbeat
from flowcontrol_core.runs.queue.inbox import put_cancellations, reason_of, remove_messages
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.queue.release import release
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import WriteGuard, alias, durable, retrying
from flowcontrol_core.runs.store.objects import ObjectSource
from flowcontrol_core.runs.store.rows import LostLease, make_event, set_reason, write_guarded

logger = logging.getLogger("flowcontrol.runs")
QUEUE_RECHECK = timedelta(seconds=60)


def read_inboxes(runs: Sequence[FlowRun]) -> dict[int, list[Message]]:
    """Return the messages of claimed runs, oldest first, with one query for all of them."""
    inboxes: dict[int, list[Message]] = defaultdict(list)
    messages = Message.objects.using(alias()).filter(run_id__in=[run.pk for run in runs])
    for message in messages.order_by("pk"):
        inboxes[message.run_id].append(message)
    return inboxes


def prepare(
    run: FlowRun,
    messages: list[Message],
    source: ObjectSource,
    guard: WriteGuard,
    heartbeat: Heartbeat,
) -> Execution | Written:
    """Prepare a claimed run, with its flow, for execution; WRITTEN: it is not executed now.

    In that case its row has been written. Raises LostLease; and FlowcontrolError where the run
    cannot be executed at all, to be given to ``end_errored``.
    """
    if _is_kept_from_execution(run, messages) or _is_refused(run):
        return WRITTEN
    sent = [each for each in messages if each.kind == MessageKind.GO_TO] if messages else []
    wakeup = None
    if sent:
        clear_wait(run)
    elif outbox.waits(run):
        wakeup = _wakeup_of(messages) or outbox.find_wakeup(run, clock().now())
        if wakeup is None:
            _let_wait(run, messages)
            return WRITTEN
    execution = make_execution(run, run.flow, source, guard, heartbeat, wakeup)
    execution.taken = messages
    if run.attempt > 1:
        reason = Reason.of("recovered", attempt=run.attempt)
        event = make_event(EventKind.RECOVERED, clock().now(), reason)
        execution.notes.append(event)
    if sent:
        execution.notes += [_go_to(execution, message) for message in sent]
    return execution


def _is_refused(run: FlowRun) -> bool:
    """Return whether a run has exhausted its attempts or gets no slot; it is written then."""
    if run.attempt > get_settings().MAX_ATTEMPTS:
        logger.error("Run %s has killed its worker too often; it is ended as errored.", run.pk)
        end_errored(run, None, Reason.of("dead_lettered", attempts=run.attempt - 1))
        return True
    if not run.cursor:
        # The time that it was created for has come.
        clear_wait(run)
    if run.flow.has_limits and (limit := limits.take_slots(run, run.flow)):
        _refuse(run, limit)
        return True
    return False


@retrying
def end_errored(run: FlowRun, error: BaseException | None, reason: Reason | None = None) -> None:
    """End a claimed run as ERRORED because of what is wrong with the run itself, not a step."""
    now = clock().now()
    if reason is None:
        reason = Reason.of("error", error=one_line(error) if error else "")
    event = make_event(EventKind.FAILED, now, reason, run_id=run.pk)
    event.error = describe(error or FlowcontrolError(str(reason)), _step_of(run.cursor), "")
    end(run, Outcome.ERRORED, now, reason)
    run.attempt = 0
    with durable():
        write_ended(run, event)
    after_checkpoint(run)


def _step_of(cursor: Any) -> str:
    """Return the step on top of a stored cursor, which may be damaged."""
    top = cursor[-1] if isinstance(cursor, list) and cursor else None
    return str(top.get("step", "")) if isinstance(top, dict) else ""


def _is_kept_from_execution(run: FlowRun, messages: list[Message]) -> bool:
    """Return whether the run is canceled, paused, or its time has not come; it is written then."""
    kinds = {message.kind for message in messages} if messages else frozenset()
    if run.request == Request.CANCEL or MessageKind.CANCEL in kinds:
        end_canceled(run)
    elif MessageKind.PAUSE in kinds:
        pauses = [message for message in messages if message.kind == MessageKind.PAUSE]
        _pause(run, reason_of(pauses[-1], "paused"), pauses, pauses[-1].actor)
    elif run.flow.paused:
        _pause(run, Reason("flow_paused"))
    elif not (run.cursor or kinds) and run.wait_until and run.wait_until > clock().now():
        _let_wait(run, messages)
    else:
        return False
    return True


def _wakeup_of(messages: list[Message]) -> Wakeup | None:
    """Return the wake-up that a message brings, if one does."""
    for message in messages:
        if message.kind == MessageKind.WAKE:
            trigger = message.data.get("trigger", "")
            payload = decode(message.data.get("payload", {}))
            kind: Any = "trigger" if trigger else "operator"
            return Wakeup(kind=kind, trigger=trigger, payload=payload)
    return None


def _go_to(execution: Execution, message: Message) -> RunEvent:
    """Send the run to a step; return what its history says of it."""
    activation = execution.activation
    step = str(message.data.get("step", ""))
    try:
        activation.cursor = locate(activation.compiled.program, step, activation.compiled.is_loop)
        activation.started = True
        reason = Reason.of("went_to_step", message.data.get("note", ""), step=step)
        kind = EventKind.OPERATOR
    except DirectiveError as error:
        reason = Reason.of("step_refused", step=step, error=str(error))
        kind = EventKind.REFUSED
    return make_event(kind, clock().now(), reason, actor=message.actor)


# --- writing a run back that is not executed ------------------------------------------------


def _let_wait(run: FlowRun, messages: list[Message]) -> None:
    """Put a run back that was claimed although nothing woke it."""
    status = Status.WAITING if run.cursor else Status.PENDING
    waits_for_others = run.wait_trigger or run.wait_child
    run.due_at = clock().now() if waits_for_others else outbox.wait_due_at(run)
    _put_back(run, status, run.explanation, messages)
    after_checkpoint(run)


def _pause(run: FlowRun, reason: Reason, messages: Iterable[Message] = (), actor: str = "") -> None:
    run.due_at = None
    now = clock().now()
    event = make_event(EventKind.OPERATOR, now, reason, run_id=run.pk, actor=actor)
    _put_back(run, Status.PAUSED, reason, messages, event)


def _put_back(
    run: FlowRun,
    status: Status,
    reason: Reason,
    messages: Iterable[Message] = (),
    event: RunEvent | None = None,
) -> None:
    """Write a claimed run back without having executed it."""
    if run.status != status:
        set_status(run, status, clock().now())
    set_reason(run, reason)
    run.worker = ""
    _write_back(run, messages, event)


def _write_back(
    run: FlowRun, messages: Iterable[Message] = (), event: RunEvent | None = None
) -> None:
    """Write a claimed run; one that was asked for something by now is given back instead."""
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
            remove_messages(messages)
    return written


# --- limits ---------------------------------------------------------------------------------

#: The columns of the slots of the limits that may have the policy "replace".
_COLUMNS = {"max_concurrent": "slot", "max_concurrent_per_object": "slot_object"}


def _refuse(run: FlowRun, limit: str) -> None:
    """Do with a run what the policy says about a limit that has been reached."""
    now, flow = clock().now(), run.flow
    values = {"limit": limit, "most": getattr(flow, limit)}
    policy = flow.policy_of(limit)
    # The one that has the slot may be waiting for this one: they would wait for ever.
    by_ancestor = policy != LimitPolicy.SKIP and _is_held_by_ancestor(run, limit)
    is_final = policy == LimitPolicy.SKIP or by_ancestor
    if is_final and run.started_at is None:
        reason = Reason("limit_of_ancestor" if by_ancestor else "limit", values)
        end(run, Outcome.CANCELED, now, reason)
        event = make_event(EventKind.REFUSED, now, reason, run_id=run.pk)
        _write_back(run, event=event)
        after_checkpoint(run)
        return
    replaces = policy == LimitPolicy.REPLACE and not is_final
    if replaces and _yield_slot(run, limit):
        return
    # One that has begun, and was taken up again or found a new limit, waits for its turn.
    is_new = run.queued_at is None
    run.queued_at = run.queued_at or now
    run.due_at = now + QUEUE_RECHECK
    _put_back(run, Status.PENDING, Reason("queued", values))
    if replaces:
        _replace_older(run, limit)
    if not limits.reached(limits.wanting(run, flow)):
        # A slot that became free in the meantime did not find it in the queue.
        outbox.wake_again(run)
    elif not is_new:
        _pass_on(run, limit)


def _pass_on(run: FlowRun, limit: str) -> None:
    """Let another run have the flow's slot that this one cannot use because of its object."""
    whole = limits.limits_of(run.flow, None, None)
    if limit == "max_concurrent_per_object" and whole and not limits.reached(whole):
        outbox.wake_next(run)


def _is_held_by_ancestor(run: FlowRun, limit: str) -> bool:
    """Return whether a run that this one was started by has a slot of the limit."""
    parent = run.parent_id
    for _ in range(run.depth):
        above = FlowRun.objects.using(alias()).filter(pk=parent).first() if parent else None
        if above is None:
            return False
        if above.flow_id == run.flow_id and _has_slot(above, run, limit):
            return True
        parent = above.parent_id
    return False


def _has_slot(above: FlowRun, run: FlowRun, limit: str) -> bool:
    if getattr(above, _COLUMNS.get(limit, "slot_object")) is None:
        return False
    same_object = (above.content_type_id, above.object_key) == (
        run.content_type_id,
        run.object_key,
    )
    return limit == "max_concurrent" or same_object


def _yield_slot(run: FlowRun, limit: str) -> bool:
    """End a claimed run that newer ones leave no slot for; return whether that was so."""
    newer = _counted(run, limit).filter(pk__gt=run.pk).order_by()
    found = newer.aggregate(number=Count("pk"), newest=Max("pk"))
    if found["number"] < getattr(run.flow, limit):
        return False
    put_cancellations([run.pk], Reason.of("replaced", run=found["newest"]))
    end_canceled(run)
    return True


@retrying
def _replace_older(run: FlowRun, limit: str) -> None:
    """Ask the older runs to cancel that have no slot beside this one and the newer ones.

    A slot that one of them has wakes the queue when it has ended.
    """
    counted = _counted(run, limit).order_by().values_list("pk", _COLUMNS[limit], "queued_at")
    superfluous = sorted(counted, reverse=True)[getattr(run.flow, limit) :]
    # The others are not refused, or are, and replaced, when they are claimed.
    replaced = [pk for pk, slot, queued_at in superfluous if slot or queued_at]
    put_cancellations(replaced, Reason.of("replaced", run=run.pk))
    outbox.deliver_messages(replaced)


def _counted(run: FlowRun, limit: str) -> QuerySet[FlowRun]:
    """Return the live runs that the limit counts or will; not those whose time has not come."""
    runs = FlowRun.objects.using(alias()).filter(flow_id=run.flow_id).live()
    if limit == "max_concurrent_per_object":
        runs = runs.filter(content_type_id=run.content_type_id, object_key=run.object_key)
    now: datetime = clock().now()
    later = Q(started_at__isnull=True, wait_until__gt=now)
    paused = Q(status=Status.PAUSED, **{f"{_COLUMNS[limit]}__isnull": True})
    return runs.exclude(later | paused)
