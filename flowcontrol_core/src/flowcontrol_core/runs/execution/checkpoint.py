"""The checkpoint: cursor, state and history are written, guarded by the fence, or nothing is.

Lock order, here and everywhere: the row of a run first, by its primary key; then its history and
its inbox, by theirs. Rows of several runs are locked in the order of their keys.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flowcontrol_core.actions.base import Effects
from flowcontrol_core.actions.context import FlowReference, RunContext, Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import cursor_from_json, cursor_to_json, decode
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.state import State
from flowcontrol_core.models import (
    NO_REASON,
    EventKind,
    Flow,
    FlowRun,
    Message,
    MessageKind,
    Outcome,
    Reason,
    Request,
    RunEvent,
    Status,
)
from flowcontrol_core.runs.execution.activation import Activation, RunScope
from flowcontrol_core.runs.execution.failures import Stop, StopKind
from flowcontrol_core.runs.queue.claim import lease_until
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.inbox import (
    empty_inbox,
    put_to_children,
    reason_of,
    remove_messages,
)
from flowcontrol_core.runs.queue.outbox import after_end, deliver_messages, guard_due_at
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import CompiledFlow
from flowcontrol_core.runs.store.connection import alias, durable, retrying
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.objects import ObjectSource, RunObject
from flowcontrol_core.runs.store.rows import (
    CancelRequested,
    LostLease,
    insert_events,
    make_event,
    owned,
    rows,
    set_reason,
    write_end,
    write_guarded,
)

#: How long a run whose configuration does not validate is left alone before it is tried again.
BLOCKED_RECHECK = timedelta(minutes=15)


@dataclass(slots=True, kw_only=True)
class Execution:
    """A claimed run: its row, its activation, and what goes with them.

    ``stored`` is False for a run that is executed before its row is inserted; ``taken`` are the
    messages that the next checkpoint takes out of the inbox, ``notes`` the rows of history that it
    writes before its own, and ``brings_payload`` whether one of the messages has.
    """

    run: FlowRun
    flow: Flow
    activation: Activation
    object: RunObject
    stored: bool = True
    taken: list[Message] = field(default_factory=list)
    notes: list[RunEvent] = field(default_factory=list)
    brings_payload: bool = False
    #: The row in memory as of the last commit, to return to.
    _committed: dict[str, Any]

    def committed(self) -> None:
        """Mark the checkpoint as committed, and forget what it wrote."""
        self.activation.history.clear()
        self.activation.attempt = 1
        self.activation.context.pk = self.run.pk
        self.taken, self.notes, self.brings_payload = [], [], False
        self.object.forget()
        self._committed = vars(self.run).copy()

    def rolled_back(self) -> None:
        """Put the row in memory back to the last commit: what was written since is gone."""
        vars(self.run).update(self._committed)
        self.stored = self._committed["id"] is not None
        self.activation.context.pk = self.run.pk
        self.object.forget()

    def is_known_to_be_blocked(self, stop: Stop) -> bool:
        """Return whether a run that was tried again is blocked for the same reason as before."""
        before = self._committed
        known = Reason(before["reason_code"], before["reason_values"])
        return before["status"] == Status.BLOCKED and known == stop.reason


def make_execution(
    run: FlowRun,
    flow: Flow,
    compiled: CompiledFlow,
    source: ObjectSource,
    guard: CallGuard,
    heartbeat: Heartbeat,
    wakeup: Wakeup | None = None,
) -> Execution:
    """Return what is needed to execute a run; raises FlowcontrolError where it is damaged."""
    obj, time = RunObject(run, source, guard), clock()
    context = RunContext(
        uuid=run.uuid,
        flow=FlowReference(flow.key, flow.name, flow.pk),
        state=State.from_json(run.state, max_bytes=get_settings().STATE_MAX_BYTES),
        now=time.now(),
        time_zone=compiled.zone,
        pk=run.pk,
        tenant=guard.tenant,
        depth=run.depth,
        trigger=run.trigger,
        payload=decode(run.payload) if run.payload and isinstance(run.payload, dict) else {},
        load_object=obj.load,
        lock=obj.lock,
        beat=partial(heartbeat.touch, run, guard),
    )
    activation = Activation(
        context=context,
        scope=RunScope(context),
        compiled=compiled,
        clock=time,
        guard=guard,
        cursor=cursor_from_json(run.cursor),
        sequence=run.sequence,
        attempt=max(run.attempt, 1),
        started=bool(run.cursor),
        has_object=bool(run.object_type),
    )
    if wakeup is not None or activation.cursor:
        activation.wake(wakeup)
    committed = vars(run).copy()
    return Execution(run=run, flow=flow, activation=activation, object=obj, _committed=committed)


def timeout_of(stop: Stop) -> float:
    """Return the time-out in seconds of the call that is about to be made."""
    return stop.timeout or get_settings().STEP_TIMEOUT


def apply(run: FlowRun, activation: Activation, stop: Stop, now: datetime) -> None:
    """Bring a run's row, in memory, to where its activation stopped."""
    run.cursor = cursor_to_json(activation.cursor)
    run.state = activation.context.state.to_json()
    run.sequence = activation.sequence
    run.attempt = 0
    run.request = Request.NONE
    run.blocked_on = None
    run.queued_at = None
    run.started_at = run.started_at or now
    clear_wait(run)
    _APPLY[stop.kind](run, stop, now)
    if activation.compiled.guard is not None and run.status == Status.WAITING:
        run.due_at = guard_due_at(run.due_at, now)


def clear_wait(run: FlowRun) -> None:
    """Note, in memory, that the run waits for nothing."""
    run.wait_until = run.wait_timeout = run.wait_trigger = run.wait_child = None
    run.wait_match_object = False


def set_status(run: FlowRun, status: Status, now: datetime, reason: Reason = NO_REASON) -> None:
    """Change the status of a row in memory, with the time and the reason."""
    run.status = status
    run.since = now
    set_reason(run, reason)
    run.worker = run.worker if status == Status.RUNNING else ""


def end(run: FlowRun, outcome: str, now: datetime, reason: Reason = NO_REASON) -> None:
    """Bring a row in memory to its end, and free its slots."""
    set_status(run, Status.DONE, now, reason)
    run.outcome = Outcome(outcome)
    run.finished_at = now
    run.due_at = None
    run.slot = run.slot_object = None
    run.blocked_on = None
    run.queued_at = None
    run.request = Request.NONE
    clear_wait(run)
    run.undelivered_since = now if run.parent_id is not None else None


def _apply_running(run: FlowRun, stop: Stop, now: datetime) -> None:
    if run.status != Status.RUNNING:
        set_status(run, Status.RUNNING, now)
    # What follows the checkpoint is being executed for the first time.
    run.attempt = 1
    run.due_at = lease_until(now, timeout_of(stop) if stop.effects is Effects.EXTERNAL else None)


def _apply_suspended(run: FlowRun, stop: Stop, now: datetime) -> None:
    wait = stop.wait or Wait()
    set_status(run, Status.WAITING, now, stop.reason)
    run.wait_until, run.wait_timeout = wait.until, wait.timeout
    run.wait_trigger, run.wait_match_object = wait.trigger, wait.match_object
    run.wait_child = uuid.UUID(wait.child) if wait.child else None
    # What it waits for may have happened already: it stays due until that was checked after the
    # commit (see ``outbox.recheck_wait``), so that a crash in between loses no wake-up.
    run.due_at = now if wait.trigger or wait.child else wait.due_at


def _apply_ended(run: FlowRun, stop: Stop, now: datetime) -> None:
    end(run, stop.outcome, now, stop.reason)


def _apply_blocked(run: FlowRun, stop: Stop, now: datetime) -> None:
    set_status(run, Status.BLOCKED, now, stop.reason)
    run.blocked_on = stop.blocked_on
    run.due_at = None if stop.blocked_on else now + BLOCKED_RECHECK


def _apply_yielded(run: FlowRun, stop: Stop, now: datetime) -> None:
    set_status(run, Status.WAITING, now, stop.reason)
    run.due_at = now


_APPLY = {
    StopKind.NEEDS: _apply_running,
    StopKind.SUSPENDED: _apply_suspended,
    StopKind.ENDED: _apply_ended,
    StopKind.FAILED: _apply_ended,
    StopKind.BLOCKED: _apply_blocked,
    StopKind.YIELDED: _apply_yielded,
}
_EVENTS = {
    StopKind.NEEDS: EventKind.STEPS,
    StopKind.SUSPENDED: EventKind.SUSPENDED,
    StopKind.ENDED: EventKind.ENDED,
    StopKind.FAILED: EventKind.FAILED,
    StopKind.BLOCKED: EventKind.BLOCKED,
    StopKind.YIELDED: EventKind.STEPS,
}


def write(execution: Execution, stop: Stop) -> bool:
    """Write a checkpoint inside of the present transaction; return whether the run may continue.

    Raises LostLease and CancelRequested, which roll the transaction back.
    """
    run = execution.run
    now = clock().now()
    apply(run, execution.activation, stop, now)
    may_continue = stop.kind is StopKind.NEEDS
    if not execution.stored:
        run.save(force_insert=True, using=alias())
        execution.stored = True
    elif write_guarded([run]) != 1:
        may_continue = False
        _write_requested(run, now)
    _write_history([(execution, stop)], now)
    return may_continue


def write_many(finished: list[tuple[Execution, Stop]]) -> None:
    """Write the last checkpoints of runs whose steps had no effects, in the present transaction.

    Raises LostLease where any of them is no longer this worker's or is asked for something: then
    nothing counts, and they are to be written one by one.
    """
    now = clock().now()
    finished.sort(key=lambda item: item[0].run.pk)
    for execution, stop in finished:
        apply(execution.run, execution.activation, stop, now)
    if write_guarded([execution.run for execution, _ in finished]) != len(finished):
        raise LostLease
    _write_history(finished, now)


def _write_history(finished: list[tuple[Execution, Stop]], now: datetime) -> None:
    """Write the history rows, and take the messages that were dealt with out of the inboxes."""
    events: list[RunEvent] = []
    taken: list[Message] = []
    for execution, stop in finished:
        steps = execution.activation.history.entries()
        own = execution.notes
        is_news = stop.kind is not StopKind.BLOCKED or not execution.is_known_to_be_blocked(stop)
        if steps or (is_news and stop.kind is not StopKind.NEEDS):
            event = make_event(_EVENTS[stop.kind], now, stop.reason, steps=steps)
            event.error = dict(stop.error) if stop.error else None
            own = [*own, event]
        for event in own:
            event.run_id = execution.run.pk
        events += own
        taken += execution.taken
        if execution.brings_payload:
            rows([execution.run.pk]).update(payload=execution.run.payload)
    if events:
        insert_events(events)
    if taken:
        remove_messages(taken)


def _write_requested(run: FlowRun, now: datetime) -> None:
    """Write a checkpoint of a run that was asked for something in the meantime.

    It ends the activation; the next claim, which is due at once, reads the inbox.
    """
    request: Any = owned(run.pk, run.fence).values_list("request", flat=True).first()
    if request is None:
        raise LostLease
    if request == Request.CANCEL:
        raise CancelRequested
    if run.status == Status.RUNNING:
        set_status(run, Status.WAITING, now)
        run.attempt = 0
        # The call that was about to be made is not made.
        run.cursor[-1].pop("calling", None)
    if run.status != Status.DONE:
        run.due_at, run.request = now, Request.INBOX
    else:
        # What it was asked for came too late.
        empty_inbox(run.pk)
    if write_guarded([run], request=request) != 1:
        raise LostLease


@retrying
def end_canceled(run: FlowRun) -> None:
    """End a claimed run as CANCELED, as of its last checkpoint, with who asked for it and why.

    Its children are asked to cancel too. Raises LostLease where another worker has claimed it.
    """
    now = clock().now()
    with durable():
        messages = Message.objects.using(alias()).filter(run_id=run.pk, kind=MessageKind.CANCEL)
        first = messages.order_by("pk").first()
        actor = first.actor if first else ""
        reason = reason_of(first, "canceled") if first else Reason("canceled")
        end(run, Outcome.CANCELED, now, reason)
        run.attempt = 0
        write_ended(run, make_event(EventKind.OPERATOR, now, reason, actor=actor))
        children = put_to_children(run.pk, MessageKind.CANCEL, actor)
    deliver_messages(children)
    after_end(run)


def write_ended(run: FlowRun, event: RunEvent) -> None:
    """Write the end of a claimed run, as it stands in memory, in the present transaction.

    With what the history says of it; raises LostLease where another worker has claimed it.
    """
    if not write_end(run):
        raise LostLease
    event.run_id = run.pk
    event.save(force_insert=True, using=alias())
    empty_inbox(run.pk)
