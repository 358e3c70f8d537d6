"""The checkpoint: cursor, state and history are written, guarded by the fence, or nothing is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flowcontrol_core.actions.base import Effects
from flowcontrol_core.actions.context import FlowReference, Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import cursor_from_json, cursor_to_json, decode
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.state import State
from flowcontrol_core.models import (
    EventKind,
    Flow,
    FlowRun,
    Message,
    Outcome,
    Request,
    RunEvent,
    Status,
)
from flowcontrol_core.runs.execution.activation import Activation, Stop, StopKind
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.claim import lease_until
from flowcontrol_core.runs.queue.inbox import cancel_children, empty_inbox
from flowcontrol_core.runs.queue.outbox import free_queue
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import get_compiled
from flowcontrol_core.runs.store.connection import (
    WriteGuard,
    alias,
    durable,
    retrying,
)
from flowcontrol_core.runs.store.objects import ObjectSlot, ObjectSource
from flowcontrol_core.runs.store.rows import (
    WRITTEN,
    CancelRequested,
    LostLease,
    write_end,
    write_guarded,
)

#: How long a run whose configuration does not validate is left alone before it is looked at again.
BLOCKED_RECHECK = timedelta(minutes=15)


@dataclass(slots=True, kw_only=True)
class Execution:
    """A run in somebody's hands: its row, its activation, and what goes with them."""

    run: FlowRun
    flow: Flow
    activation: Activation
    slot: ObjectSlot
    #: False for a run that is executed before its row is inserted.
    stored: bool = True
    #: Messages that the next checkpoint takes out of the inbox.
    taken: list[int] = field(default_factory=list)
    #: Events to be written with the next checkpoint, before its own.
    notes: list[RunEvent] = field(default_factory=list)
    #: The row in memory as of the last commit, to go back to.
    _committed: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._committed = self._row()

    def committed(self) -> None:
        """Take note that the checkpoint stands: what it has written is written once."""
        self.activation.history.clear()
        self.activation.attempt = 1
        self.activation.context.pk = self.run.pk
        self.taken, self.notes = [], []
        self.slot.forget()
        self._committed = self._row()

    def rolled_back(self) -> None:
        """Bring the row in memory back to the last commit: what was written since is gone."""
        for name, value in self._committed.items():
            setattr(self.run, name, value)
        self.stored = self._committed["pk"] is not None
        self.activation.context.pk = self.run.pk
        self.slot.forget()

    def is_known_to_be_blocked(self, stop: Stop) -> bool:
        """Say whether a run that was looked at again is blocked for the same reason as before."""
        before = (self._committed["status"], self._committed["reason"])
        return stop.kind is StopKind.BLOCKED and before == (Status.BLOCKED, stop.reason)

    def _row(self) -> dict[str, Any]:
        return {name: getattr(self.run, name) for name in ("pk", *WRITTEN)}


def timeout_of(stop: Stop) -> float:
    """Give the time-out in seconds of the call that is about to be made."""
    return stop.timeout or get_settings().STEP_TIMEOUT


def apply(run: FlowRun, activation: Activation, stop: Stop, now: datetime) -> None:
    """Bring a run's row, in memory, to where its activation stopped."""
    run.cursor = cursor_to_json(activation.cursor)
    run.state = activation.state.to_json()
    run.sequence = activation.sequence
    run.attempt = 0
    run.request = Request.NONE
    run.blocked_on = None
    run.queued_at = None
    run.started_at = run.started_at or now
    clear_wait(run)
    _APPLY[stop.kind](run, stop, now)


def clear_wait(run: FlowRun) -> None:
    """Take note that the run waits for nothing."""
    run.wait_until = run.wait_timeout = run.wait_trigger = run.wait_child = None
    run.wait_match_object = False


def set_status(run: FlowRun, status: Status, now: datetime, reason: str = "") -> None:
    """Change the status of a row in memory, with the time and the reason."""
    run.status = status
    run.since = now
    run.reason = reason
    run.worker = run.worker if status == Status.RUNNING else ""


def end(run: FlowRun, outcome: Outcome, now: datetime, reason: str = "") -> None:
    """Bring a row in memory to its end, and free what it held."""
    set_status(run, Status.DONE, now, reason)
    run.outcome = outcome
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
    # What it waits for may have happened already: it is due until somebody has looked, after the
    # commit (see ``waking.recheck_wait``), so that a crash in between loses no wake-up.
    run.due_at = now if wait.trigger or wait.child else wait.due_at


def _apply_ended(run: FlowRun, stop: Stop, now: datetime) -> None:
    end(run, Outcome(stop.outcome), now, stop.reason)


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


def history_of(execution: Execution, stop: Stop, now: datetime) -> list[RunEvent]:
    """Give the history rows of a checkpoint."""
    steps = execution.activation.history.entries()
    events = list(execution.notes)
    if steps or not (stop.kind is StopKind.NEEDS or execution.is_known_to_be_blocked(stop)):
        events.append(
            RunEvent(
                at=now,
                kind=_EVENTS[stop.kind],
                steps=steps,
                message=stop.reason,
                error=dict(stop.error) if stop.error else None,
            )
        )
    for event in events:
        event.run_id = execution.run.pk
    return events


def write(execution: Execution, stop: Stop) -> bool:
    """Write a checkpoint inside of the present transaction; say whether the run may go on.

    Raises LostLease and CancelRequested, which roll the transaction back.
    """
    run = execution.run
    now = clock().now()
    apply(run, execution.activation, stop, now)
    goes_on = stop.kind is StopKind.NEEDS
    if not execution.stored:
        run.save(force_insert=True, using=alias())
        execution.stored = True
    elif write_guarded([run]) != 1:
        goes_on = False
        _write_requested(run, now)
    write_history([(execution, stop)], now)
    return goes_on


def write_many(finished: list[tuple[Execution, Stop]]) -> None:
    """Write the last checkpoints of runs whose steps had no effects, in the present transaction.

    Raises LostLease where any of them is not ours or is asked for something: then nothing counts,
    and they are to be written one by one.
    """
    now = clock().now()
    finished.sort(key=lambda item: item[0].run.pk)
    for execution, stop in finished:
        apply(execution.run, execution.activation, stop, now)
    if write_guarded([execution.run for execution, _ in finished]) != len(finished):
        raise LostLease
    write_history(finished, now)


def write_history(finished: list[tuple[Execution, Stop]], now: datetime) -> None:
    """Write the history rows, and take the messages that were dealt with out of the inboxes."""
    events = [event for item in finished for event in history_of(*item, now)]
    if events:
        RunEvent.objects.using(alias()).bulk_create(events)
    taken = [pk for execution, _ in finished for pk in execution.taken]
    if taken:
        Message.objects.using(alias()).filter(pk__in=taken).delete()


def _write_requested(run: FlowRun, now: datetime) -> None:
    """Write a checkpoint of a run that somebody asked for something in the meantime.

    It ends the activation; the next claim, which is due at once, looks into the inbox.
    """
    row: Any = (
        FlowRun.objects.using(alias())
        .filter(pk=run.pk, fence=run.fence, status=Status.RUNNING)
        .values_list("request", flat=True)
        .first()
    )
    if row is None:
        raise LostLease
    if row == Request.CANCEL:
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
    if write_guarded([run], request=row) != 1:
        raise LostLease


@retrying
def end_canceled(run: FlowRun) -> None:
    """End a claimed run as CANCELED, as of its last checkpoint, saying who asked for it.

    Its children are asked to cancel too. Raises LostLease where it belongs to somebody else.
    """
    now = clock().now()
    reason = "Canceled."
    with durable():
        messages = list(
            Message.objects.using(alias()).filter(run_id=run.pk, kind="cancel").order_by("pk")
        )
        actor = messages[0].actor if messages else ""
        reason = messages[0].data.get("reason") or reason if messages else reason
        end(run, Outcome.CANCELED, now, reason)
        run.attempt = 0
        if not write_end(run):
            raise LostLease
        RunEvent.objects.using(alias()).create(
            run_id=run.pk, at=now, kind=EventKind.OPERATOR, message=reason, actor=actor
        )
        empty_inbox(run.pk)
        children = cancel_children(run.pk, actor)
    outbox.deliver_messages(children)
    if run.parent_id:
        outbox.deliver_ends([run.pk])
    free_queue(run)


def make_execution(
    run: FlowRun, flow: Flow, source: ObjectSource, guard: WriteGuard, wakeup: Wakeup | None = None
) -> Execution:
    """Make what is needed to execute a run; raises FlowcontrolError where it is damaged."""
    compiled = get_compiled(run.version_id)
    slot = ObjectSlot(run, source)
    activation = Activation(
        uuid=run.uuid,
        flow=FlowReference(flow.key, flow.name, flow.pk),
        compiled=compiled,
        clock=clock(),
        guard=guard,
        cursor=cursor_from_json(run.cursor),
        state=State.from_json(run.state, max_bytes=get_settings().STATE_MAX_BYTES),
        sequence=run.sequence,
        attempt=max(run.attempt, 1),
        started=bool(run.cursor),
        has_object=run.content_type_id is not None,
        load_object=slot.load,
    )
    payload = decode(run.payload) if isinstance(run.payload, dict) else {}
    activation.prepare(
        pk=run.pk,
        depth=run.depth,
        trigger=run.trigger,
        payload=payload,
        wakeup=wakeup,
        lock=slot.lock,
    )
    return Execution(run=run, flow=flow, activation=activation, slot=slot)
