"""What happens to a claimed run before its first step: its inbox, its limits, its wake-up."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from django.db.models import Count, Max, Q, QuerySet

from flowcontrol_core.actions.context import Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.engine.cursor import Cursor
from flowcontrol_core.engine.interpreter import locate
from flowcontrol_core.errors import DirectiveError, FlowcontrolError
from flowcontrol_core.models import (
    NO_OBJECT,
    NO_REASON,
    PAUSES,
    DamagedJson,
    EventKind,
    Flow,
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
from flowcontrol_core.models.columns import JsonField
from flowcontrol_core.runs.execution.checkpoint import (
    BLOCKED_RECHECK,
    Execution,
    clear_wait,
    end,
    end_canceled,
    make_execution,
    set_status,
    write_ended,
)
from flowcontrol_core.runs.execution.driver import Driver
from flowcontrol_core.runs.execution.failures import (
    CONTINUE,
    WRITTEN,
    StopKind,
    Written,
    describe,
    one_line,
)
from flowcontrol_core.runs.queue import limits, outbox
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.inbox import (
    put_messages,
    put_to_children,
    reason_of,
    remove_messages,
)
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.queue.release import release
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import CompiledFlow, UnusableVersion
from flowcontrol_core.runs.store.connection import alias, dispatch, durable, retrying
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.objects import ObjectSource
from flowcontrol_core.runs.store.rows import LostLease, make_event, set_reason, write_guarded

logger = logging.getLogger("flowcontrol.runs")
QUEUE_RECHECK = timedelta(seconds=60)
_json_of = attrgetter(
    *(field.attname for field in FlowRun._meta.local_fields if isinstance(field, JsonField))
)


def read_inboxes(runs: Sequence[FlowRun]) -> dict[int, list[Message]]:
    """Return the messages of claimed runs, oldest first, with one query for all of them."""
    inboxes: dict[int, list[Message]] = defaultdict(list)
    messages = Message.objects.using(alias()).filter(run_id__in=[run.pk for run in runs])
    for message in messages.order_by("pk"):
        inboxes[message.run_id].append(message)
    return inboxes


def prepare(
    run: FlowRun,
    compiled: CompiledFlow | UnusableVersion,
    messages: list[Message],
    source: ObjectSource,
    guard: CallGuard,
    heartbeat: Heartbeat,
) -> Execution | Written:
    """Prepare a claimed run, with its flow, for execution; WRITTEN: it is not executed now.

    In that case its row has been written. Raises LostLease; and FlowcontrolError where the run
    cannot be executed at all, to be given to ``end_errored``.
    """
    if _is_kept_from_execution(run, messages):
        return WRITTEN
    if isinstance(compiled, UnusableVersion):
        block(run, compiled.reason, compiled.missing)
        return WRITTEN
    if _is_refused(run):
        return WRITTEN
    mail = _open(run, compiled, messages) if messages or run.reason_code in PAUSES else _NO_MAIL
    wakeup = None
    if is_waiting := outbox.waits(run):
        wakeup = _wakeup_of(messages) or outbox.find_wakeup(run, clock().now())
        is_waiting = wakeup is None
    if is_waiting and not outbox.is_guarded(run):
        _let_wait(run, messages, mail.events)
        return WRITTEN
    run.payload = run.payload if mail.payload is None else mail.payload
    execution = make_execution(run, run.flow, compiled, source, guard, heartbeat, wakeup)
    _hand_over(execution, messages, mail)
    if is_waiting:
        _check_guard(execution)
        return WRITTEN
    if run.attempt > 1:
        reason = Reason.of("recovered", attempt=run.attempt)
        execution.notes.append(make_event(EventKind.RECOVERED, clock().now(), reason))
    return execution


def _hand_over(execution: Execution, messages: list[Message], mail: _Mail) -> None:
    """Let an execution begin with what a run has received."""
    execution.taken, execution.notes = messages, [*mail.events]
    execution.brings_payload = mail.payload is not None
    if mail.target is not None:
        execution.activation.go_to(mail.target)


def _check_guard(execution: Execution) -> None:
    """Let a run that nothing has woken wait on, or end it because its guard is false."""
    stop = execution.activation.check_guard()
    if stop is CONTINUE:
        _let_wait(execution.run, execution.taken, execution.notes)
        return
    stop = execution.activation.explained(stop)
    if stop.kind is StopKind.BLOCKED:
        # What it waits for stays what it is.
        block(execution.run, stop.reason, stop.blocked_on)
    else:
        Driver(execution).finish(stop)


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
    elif DamagedJson in map(type, _json_of(run)):
        columns = [name for name, value in vars(run).items() if type(value) is DamagedJson]
        end_errored(run, None, Reason.of("damaged", columns=", ".join(columns)))
    elif kinds and (pause := _last_pause(messages)) is not None:
        _pause(run, messages, pause)
    elif run.flow.paused:
        _pause_with_flow(run)
    elif run.wait_until and not run.cursor and kinds.isdisjoint(_WAKING) and _is_early(run):
        _let_wait(run, messages, _end_pause(run, messages) if run.reason_code in PAUSES else [])
    else:
        return False
    return True


def _is_early(run: FlowRun) -> bool:
    """Return whether the time that a run was created for has not come."""
    return run.wait_until is not None and run.wait_until > clock().now()


#: The messages that end a wait.
_WAKING = frozenset({MessageKind.WAKE, MessageKind.GO_TO})


def _wakeup_of(messages: list[Message]) -> Wakeup | None:
    """Return the wake-up that a message brings, if one does."""
    for message in messages:
        if message.kind == MessageKind.WAKE:
            trigger = message.data.get("trigger", "")
            payload = decode(message.data.get("payload", {}))
            kind: Any = "trigger" if trigger else "operator"
            return Wakeup(kind=kind, trigger=trigger, payload=payload)
    return None


class _Mail(NamedTuple):
    """What was in the inbox of a run: where it is sent, the payload of the event that woke it or
    sent it, and what its history says.
    """

    target: Cursor | None = None
    payload: Any = None
    events: Sequence[RunEvent] = ()


_NO_MAIL = _Mail()


def _open(run: FlowRun, compiled: CompiledFlow, messages: list[Message]) -> _Mail:
    """Return what the messages say to a run that may continue; sent to a step, it waits no more."""
    ended = _end_pause(run, messages)
    target, sent = _target_of(compiled, messages)
    if target is not None:
        clear_wait(run)
    payload = _payload_of(messages, has_target=target is not None)
    return _Mail(target, payload, [*ended, *sent])


def _target_of(
    compiled: CompiledFlow, messages: list[Message]
) -> tuple[Cursor | None, list[RunEvent]]:
    """Return where the last message sends a run that can, and what the history says of each."""
    target: Cursor | None = None
    events: list[RunEvent] = []
    for message in messages:
        if message.kind != MessageKind.GO_TO:
            continue
        step = str(message.data.get("step", ""))
        try:
            target = locate(compiled.program, step, compiled.is_loop)
            reason = Reason.of("went_to_step", message.data.get("note", ""), step=step)
            kind = EventKind.OPERATOR
        except DirectiveError as error:
            reason = Reason.of("step_refused", step=step, error=str(error))
            kind = EventKind.REFUSED
        events.append(make_event(kind, clock().now(), reason, actor=message.actor))
    return target, events


def _payload_of(messages: list[Message], *, has_target: bool) -> Any:
    """Return the payload, as JSON, of the last event that woke a run or sent it to a step."""
    brought = [
        message.data["payload"]
        for message in messages
        if message.kind == MessageKind.WAKE or (message.kind == MessageKind.GO_TO and has_target)
        if "payload" in message.data
    ]
    return brought[-1] if brought else None


# --- pausing --------------------------------------------------------------------------------


def _last_pause(messages: list[Message]) -> Message | None:
    """Return the request to pause that no request to resume has followed, if there is one."""
    asked = [m for m in messages if m.kind in (MessageKind.PAUSE, MessageKind.RESUME)]
    return asked[-1] if asked and asked[-1].kind == MessageKind.PAUSE else None


def _pause(run: FlowRun, messages: list[Message], pause: Message) -> None:
    """Pause a claimed run, its children first: after a death in between it is done again."""
    children = put_to_children(run.pk, MessageKind.PAUSE, pause.actor)
    outbox.deliver_messages(children)
    until = decode(pause.data.get("until"))
    run.due_at = until if isinstance(until, datetime) else None
    dealt = [m for m in messages if m.kind in (MessageKind.PAUSE, MessageKind.RESUME)]
    _put_paused(run, reason_of(pause, "paused"), dealt, pause.actor)


def _pause_with_flow(run: FlowRun) -> None:
    """Pause a claimed run because its flow was paused when it was read; then read that again."""
    run.due_at = None
    _put_paused(run, Reason("flow_paused"))
    if not Flow.objects.using(alias()).filter(pk=run.flow_id, paused=True).exists():
        # The flow was resumed in the meantime, when the run was not paused yet.
        dispatch(outbox.wake_paused([run.pk], "flow_paused"))


def _put_paused(
    run: FlowRun, reason: Reason, messages: Iterable[Message] = (), actor: str = ""
) -> None:
    event = make_event(EventKind.OPERATOR, clock().now(), reason, run_id=run.pk, actor=actor)
    _put_back(run, Status.PAUSED, reason, messages, [event])


#: What the history says of the end of a pause, by its reason.
_ENDS = {
    "paused": Reason("pause_over"),
    "flow_paused": Reason("flow_resumed"),
    "parent_paused": Reason("parent_resumed"),
}


def _end_pause(run: FlowRun, messages: list[Message]) -> list[RunEvent]:
    """Note that a claimed run is not paused any more, and resume its children.

    Before its own checkpoint, until which its row has the reason: after a death in between it is
    done again.
    """
    ended = run.reason_code
    is_resumed = any(m.kind == MessageKind.RESUME for m in messages)
    if is_resumed or ended in ("paused", "parent_paused"):
        outbox.deliver_messages(put_to_children(run.pk, MessageKind.RESUME, ""))
    if ended not in _ENDS:
        return []
    set_reason(run, NO_REASON)
    return [make_event(EventKind.OPERATOR, clock().now(), _ENDS[ended], run_id=run.pk)]


# --- writing a run back that is not executed ------------------------------------------------


def _let_wait(run: FlowRun, messages: list[Message], events: Sequence[RunEvent] = ()) -> None:
    """Put a run back that was claimed although nothing woke it."""
    status = Status.WAITING if run.cursor else Status.PENDING
    waits_for_others = run.wait_trigger or run.wait_child
    run.due_at = clock().now() if waits_for_others else outbox.wait_due_at(run)
    _put_back(run, status, run.explanation, messages, events)
    after_checkpoint(run)


def block(run: FlowRun, reason: Reason, missing: str | None) -> None:
    """Put a run back that lacks something; its inbox and what it waits for stay as they are.

    ``missing`` is the key of that (see ``needs``), if it is known.
    """
    now, is_news = clock().now(), run.explanation != reason
    run.blocked_on = missing
    run.due_at = None if missing else now + BLOCKED_RECHECK
    event = make_event(EventKind.BLOCKED, now, reason, run_id=run.pk) if is_news else None
    _put_back(run, Status.BLOCKED, reason, events=[event] if event else [])


def _put_back(
    run: FlowRun,
    status: Status,
    reason: Reason,
    messages: Iterable[Message] = (),
    events: Sequence[RunEvent] = (),
) -> None:
    """Write a claimed run back without having executed it."""
    if run.status != status:
        set_status(run, status, clock().now())
    if status != Status.BLOCKED:
        run.blocked_on = None
    set_reason(run, reason)
    run.worker = ""
    _write_back(run, messages, events)


def _write_back(
    run: FlowRun, messages: Iterable[Message] = (), events: Sequence[RunEvent] = ()
) -> None:
    """Write a claimed run; one that was asked for something by now is given back instead."""
    attempt, run.attempt = run.attempt, 0
    if not _write_row(run, messages, events):
        run.attempt = attempt
        release(run)
        dispatch([run.pk])
        raise LostLease


@retrying
def _write_row(run: FlowRun, messages: Iterable[Message], events: Sequence[RunEvent]) -> bool:
    with durable():
        written = write_guarded([run]) == 1
        if written:
            for event in events:
                event.run_id = run.pk
                event.save(force_insert=True, using=alias())
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
        _write_back(run, events=[event])
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
    whole = limits.limits_of(run.flow, NO_OBJECT)
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
    return limit == "max_concurrent" or above.about == run.about


def _yield_slot(run: FlowRun, limit: str) -> bool:
    """End a claimed run that newer ones leave no slot for; return whether that was so."""
    newer = _counted(run, limit).filter(pk__gt=run.pk).order_by()
    found = newer.aggregate(number=Count("pk"), newest=Max("pk"))
    if found["number"] < getattr(run.flow, limit):
        return False
    put_messages([run.pk], MessageKind.CANCEL, Reason.of("replaced", run=found["newest"]))
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
    put_messages(replaced, MessageKind.CANCEL, Reason.of("replaced", run=run.pk))
    outbox.deliver_messages(replaced)


def _counted(run: FlowRun, limit: str) -> QuerySet[FlowRun]:
    """Return the live runs that the limit counts or will; not those whose time has not come."""
    runs = FlowRun.objects.using(alias()).filter(flow_id=run.flow_id).live()
    if limit == "max_concurrent_per_object":
        runs = runs.filter(**run.about)
    now: datetime = clock().now()
    later = Q(started_at__isnull=True, wait_until__gt=now)
    paused = Q(status=Status.PAUSED, **{f"{_COLUMNS[limit]}__isnull": True})
    return runs.exclude(later | paused)
