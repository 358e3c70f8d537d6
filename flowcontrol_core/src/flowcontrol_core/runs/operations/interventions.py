"""What the operator actions do to a run: each takes its locked row, inside of a transaction.

A run that is being executed is asked, through its inbox; any other is changed at once. That the
action is legal was checked by its caller, ``operator_actions.perform``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext

from flowcontrol_core.bounds import ACTOR_CHARACTERS
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import (
    cursor_from_json,
    cursor_to_json,
    decode,
    encode,
    private_copy,
)
from flowcontrol_core.engine.cursor import Cursor
from flowcontrol_core.engine.interpreter import given_back, locate
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import DirectiveError, IllegalChangeError, StateError
from flowcontrol_core.flows import lifecycle
from flowcontrol_core.models import (
    DamagedJson,
    EventKind,
    Flow,
    FlowRun,
    FlowVersion,
    MessageKind,
    Outcome,
    Reason,
    Request,
    RunEvent,
    Status,
)
from flowcontrol_core.runs.execution.checkpoint import clear_wait, end, set_status
from flowcontrol_core.runs.execution.start import build_run
from flowcontrol_core.runs.queue import limits
from flowcontrol_core.runs.queue.inbox import empty_inbox, put_message, put_to_children
from flowcontrol_core.runs.queue.outbox import after_end, deliver_messages, waits
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import get_compiled, get_program
from flowcontrol_core.runs.store.connection import after_commit, alias, dispatch, retrying
from flowcontrol_core.runs.store.rows import WRITTEN_COLUMNS, make_event, rows
from flowcontrol_core.texts import storable_text

#: Runs that are resumed in one transaction, when their flow is.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Intervention:
    """Who does something to a run, and why."""

    by: str = ""
    note: str = ""

    @classmethod
    def of(cls, by: object, note: object) -> Intervention:
        """Return the intervention of a user or a name."""
        return cls(storable_text(by, ACTOR_CHARACTERS), storable_text(note))

    def reason(self, code: str, **values: Any) -> Reason:
        """Return what the history says of it."""
        return Reason.of(code, self.note, **values)


# --- ending, pausing, resuming --------------------------------------------------------------


def cancel(row: FlowRun, done: Intervention) -> FlowRun:
    """End a run as CANCELED, its children with it.

    Once this has committed, no database effect of the run commits any more.
    """
    if row.status == Status.RUNNING:
        _ask(row, MessageKind.CANCEL, done, Request.CANCEL)
        return row
    end(row, Outcome.CANCELED, clock().now(), done.reason("canceled"))
    _write(row, row.explanation, done)
    empty_inbox(row.pk)
    _pass_on(row, MessageKind.CANCEL, done)
    after_commit(partial(after_end, row))
    return row


def pause(row: FlowRun, done: Intervention, *, until: datetime | None = None) -> FlowRun:
    """Keep a run, and its children, from continuing until it is resumed, or until a time.

    Running ones pause at their next checkpoint.
    """
    if row.status == Status.RUNNING:
        _ask(row, MessageKind.PAUSE, done, Request.INBOX, until=encode(until))
        return row
    set_status(row, Status.PAUSED, clock().now(), done.reason("paused"))
    row.due_at = until
    _write(row, row.explanation, done)
    _pass_on(row, MessageKind.PAUSE, done)
    return row


def resume(row: FlowRun, done: Intervention) -> FlowRun:
    """Let a paused run continue: at once, or when what it waits for comes.

    The runs that were paused with it are resumed with it.
    """
    if row.status == Status.RUNNING:
        # It was asked to pause, and has not read it yet.
        _ask(row, MessageKind.RESUME, done, Request.INBOX)
        return row
    # The claim checks what it waits for, and its inbox.
    row.due_at = clock().now()
    set_status(row, Status.WAITING if row.cursor else Status.PENDING, row.due_at)
    _write_due(row, done.reason("resumed"), done)
    _pass_on(row, MessageKind.RESUME, done)
    return row


def _pass_on(row: FlowRun, kind: MessageKind, done: Intervention) -> None:
    """Ask the children of a run for the same, after the commit."""
    children = put_to_children(row.pk, kind, done.by)
    after_commit(partial(deliver_messages, children))


def run_now(row: FlowRun, done: Intervention) -> FlowRun:
    """Let a run that waits continue at once, whatever it waits for."""
    row.due_at = clock().now()
    if waits(row):
        put_message(row.pk, MessageKind.WAKE, {}, "", row.due_at)
    return _write_due(row, done.reason("run_now"), done)


# --- going elsewhere ------------------------------------------------------------------------


def retry(row: FlowRun, done: Intervention) -> FlowRun:
    """Call the failed step of a run again, as if it had never been tried."""
    cursor = _cursor_of(row)
    child = _child_of(cursor)
    fresh: dict[str, Any] = {"tries": 0, "calling": False, **({"wakeup": None} if child else {})}
    _reopen(row, (*cursor[:-1], *[top._replace(**fresh) for top in cursor[-1:]]))
    # Checked anew: it may have been taken up again, and ended otherwise.
    row.wait_child = child
    return _write_due(row, done.reason("retried"), done)


def skip(row: FlowRun, done: Intervention) -> FlowRun:
    """Continue after the step that a run has failed at, or waits at."""
    cursor = _cursor_of(row)
    if not cursor:
        raise IllegalChangeError(gettext("The run is at no step that could be skipped."))
    top = cursor[-1]._replace(phase="after", tries=0, calling=False, wakeup=None)
    _reopen(row, (*cursor[:-1], top))
    return _write_due(row, done.reason("skipped"), done)


def go_to_step(row: FlowRun, done: Intervention, *, step: str) -> FlowRun:
    """Send a run to a step of its version; a running one goes there at its next checkpoint.

    Raises IllegalChangeError where the version has no such step, or a loop is around it.
    """
    cursor = _placed(row.version, step)
    if row.status == Status.DONE:
        row.state = _given_back(row, cursor)
        _reopen(row, cursor)
        return _write_due(row, done.reason("went_to_step", step=step), done)
    data = {"step": step, "note": done.note}
    put_message(row.pk, MessageKind.GO_TO, data, done.by)
    if row.status == Status.RUNNING:
        _request(row, Request.INBOX)
    elif row.status != Status.PAUSED:
        FlowRun.objects.using(alias()).filter(pk=row.pk).update(
            due_at=clock().now(), request=Request.INBOX
        )
        dispatch([row.pk])
    return row


def restart(
    row: FlowRun, done: Intervention, *, step: str, current_version: bool = False
) -> FlowRun:
    """Create a new run that begins at a step, with the state and the object of an ended one.

    It is linked to the old one (``origin``), and uses its version or, with ``current_version``, the
    published one. Raises IllegalChangeError where the version has no such step, or a loop is
    around it, or a limit is reached.
    """
    if isinstance(row.state, DamagedJson) or isinstance(row.payload, DamagedJson):
        text = gettext("The state or the payload of the run cannot be read, so it is not copied.")
        raise IllegalChangeError(text)
    flow = Flow.objects.using(alias()).get(pk=row.flow_id)
    version = flow.published if current_version else row.version
    if version is None:
        text = gettext("The flow “%(flow)s” has no published version.")
        raise IllegalChangeError(text % {"flow": flow.key})
    new = build_run(
        flow,
        {**row.about, "object_text": row.object_text},
        clock().now(),
        state=private_copy(_given_back(row, ())),
        payload=private_copy(row.payload),
        trigger=row.trigger,
        depth=row.depth,
        origin_id=row.pk,
    )
    new.version = version
    new.cursor = cursor_to_json(_placed(version, step))
    _refuse_reached(flow, row)
    if row.slot_ever is not None:
        # The slot of the limit that counts all runs ever passes to the new one.
        new.slot_ever, row.slot_ever = row.slot_ever, None
        row.save(update_fields=["slot_ever"], using=alias())
    new.save(force_insert=True, using=alias())
    record(row.pk, done.reason("restarted_as", step=step, run=new.pk), done)
    record(new.pk, done.reason("restarted_from", step=step, run=row.pk), done)
    dispatch([new.pk])
    return new


def move(row: FlowRun, done: Intervention) -> FlowRun:
    """Move a run that waits to the published version of its flow; it continues where it is.

    Raises IllegalChangeError, with the reason, where it cannot continue there.
    """
    problem = check_move(row)
    before, current = row.version, row.flow.published
    if problem or current is None:
        text = gettext("The run cannot be moved: %(problem)s.")
        raise IllegalChangeError(text % {"problem": problem})
    row.version_id = current.pk
    if row.status == Status.BLOCKED:
        # What has blocked it may be different there.
        row.due_at = clock().now()
        dispatch([row.pk])
    row.save(update_fields=["version", "due_at"], using=alias())
    record(row.pk, done.reason("moved", old=before.number, new=current.number), done)
    return row


def check_move(run: FlowRun) -> str:
    """Return why a run cannot be moved to the published version of its flow; empty if it can.

    The steps it is in have to exist there, enabled, with the same actions in the same branches. The
    events of the trigger that it waits for have to be stored there too.
    """
    current = run.flow.published
    if current is None or current.pk == run.version_id:
        return gettext("it is on the published version already")
    old, new = get_program(run.version), get_program(current)
    cursor = cursor_from_json(run.cursor)
    for depth, frame in enumerate(cursor):
        values = {"step": frame.step}
        here, there = old.nodes.get(frame.step), new.nodes.get(frame.step)
        if here is None or there is None:
            return gettext("the published version has no enabled step %(step)s") % values
        if here.step.action != there.step.action:
            return gettext("the step %(step)s has another action there") % values
        above = cursor[depth - 1].step if depth else None
        if there.parent != above or here.branch != there.branch:
            return gettext("the step %(step)s is at another place there") % values
    if run.wait_trigger in _stored_events(run.version) - _stored_events(current):
        text = gettext("no step waits for the trigger %(trigger)s there")
        return text % {"trigger": run.wait_trigger}
    return ""


def _stored_events(version: FlowVersion) -> set[str]:
    return set(version.waits_for.split())


# --- the state ------------------------------------------------------------------------------


def edit_state(
    row: FlowRun,
    done: Intervention,
    *,
    state: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> FlowRun:
    """Replace the state of a run that no worker executes, or set some keys of it (``changes``).

    Raises StateError for what cannot be stored.
    """
    if changes is not None:
        present = State.from_json(row.state, max_bytes=get_settings().STATE_MAX_BYTES).peek()
        state = {**present, **changes}
    fresh = stored_state(state or {})
    # One that is not an object is damaged: this is how to repair it.
    before = row.state if isinstance(row.state, dict) else {}
    changed = sorted(
        key for key in {*before, *fresh} if before.get(key, ...) != fresh.get(key, ...)
    )
    row.state = fresh
    return _write(row, done.reason("state_edited", keys=", ".join(changed) or "-"), done)


def state_from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the typed values of a state from JSON; raises StateError for what cannot be stored."""
    typed = {key: decode(value) for key, value in values.items()}
    stored_state(typed)
    return typed


def stored_state(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form of a state; raises StateError for what cannot be stored."""
    return State(values, max_bytes=get_settings().STATE_MAX_BYTES).to_json()


# --- what they share ------------------------------------------------------------------------


def _cursor_of(row: FlowRun) -> Cursor:
    try:
        return cursor_from_json(row.cursor)
    except StateError as error:
        raise IllegalChangeError(str(error)) from error


def _placed(version: FlowVersion, step: str) -> Cursor:
    compiled = get_compiled(version)
    try:
        return locate(compiled.program, step, compiled.is_loop)
    except DirectiveError as error:
        raise IllegalChangeError(str(error)) from error


def _given_back(row: FlowRun, cursor: Cursor) -> Any:
    """Return the state, as JSON, of a run that continues elsewhere: what variables hid is back."""
    try:
        before = cursor_from_json(row.cursor)
    except StateError:
        return row.state
    if not isinstance(row.state, dict):
        return row.state
    hidden = given_back(before, cursor)
    kept = {key: value for key, value in row.state.items() if key not in hidden}
    return kept | {key: encode(value[0]) for key, value in hidden.items() if value}


def _child_of(cursor: Cursor) -> UUID | None:
    """Return the run whose end has woken the step on top, if one has."""
    wakeup = cursor[-1].wakeup if cursor else None
    return UUID(wakeup["child"]) if wakeup and wakeup.get("child") else None


def _reopen(row: FlowRun, cursor: Cursor) -> None:
    """Let a run continue from a cursor, with nothing that it waits for."""
    if row.status == Status.DONE:
        # What it was asked for just before it ended came too late.
        empty_inbox(row.pk)
    row.cursor = cursor_to_json(cursor)
    row.due_at = clock().now()
    set_status(row, Status.WAITING if cursor else Status.PENDING, row.due_at)
    row.outcome = ""
    row.finished_at = None
    row.undelivered_since = None
    row.blocked_on = None
    row.attempt = 0
    clear_wait(row)


def _refuse_reached(flow: Flow, run: FlowRun) -> None:
    if not flow.has_limits:
        return
    present = limits.limits_of(flow, run.about)
    # It hands over the slot that it has consumed; a slot that it never had, it cannot.
    reached = limits.reached(
        limit
        for limit in limits.skipping(present)
        if limit.column != "slot_ever" or run.slot_ever is None
    )
    if reached:
        text = gettext("The limit %(limit)s of the flow “%(flow)s” is reached.")
        raise IllegalChangeError(text % {"limit": reached, "flow": flow.key})


def _write(row: FlowRun, message: Reason, done: Intervention) -> FlowRun:
    """Write a run that no worker executes, and who did what to it and why.

    The new fence keeps a ``recheck_wait`` that is on its way from writing.
    """
    row.request = Request.NONE
    row.fence += 1
    columns = [name for name in WRITTEN_COLUMNS if not isinstance(getattr(row, name), DamagedJson)]
    row.save(update_fields=[*columns, "fence"], using=alias())
    record(row.pk, message, done)
    return row


def _write_due(row: FlowRun, message: Reason, done: Intervention) -> FlowRun:
    """Write a run that is due now."""
    dispatch([row.pk])
    return _write(row, message, done)


def record(pk: int, message: Reason, done: Intervention) -> None:
    """Add what was done to the history of a run."""
    _event(pk, message, done).save(force_insert=True, using=alias())


def _event(pk: int, message: Reason, done: Intervention) -> RunEvent:
    return make_event(EventKind.OPERATOR, clock().now(), message, run_id=pk, actor=done.by)


def _ask(
    row: FlowRun, kind: MessageKind, done: Intervention, request: Request, **data: Any
) -> None:
    """Put a message into the inbox of a running run, and have it read there."""
    data["values"] = {"note": done.note} if done.note else {}
    put_message(row.pk, kind, data, done.by)
    _request(row, request)


def _request(row: FlowRun, request: Request) -> None:
    if row.request != Request.CANCEL:
        # By its key only, as it was locked.
        FlowRun.objects.using(alias()).filter(pk=row.pk).update(request=request)


# --- of a flow ------------------------------------------------------------------------------


def resume_flow(flow: Flow, *, by: Any = None, reason: str = "") -> int:
    """Resume a paused flow and the runs that its pause has paused; return their number."""
    lifecycle.resume(flow, by=by, reason=reason)
    done = Intervention.of(by, reason)
    resumed = 0
    while count := _resume_some(flow, done):
        resumed += count
    return resumed


@retrying
def _resume_some(flow: Flow, done: Intervention) -> int:
    now = clock().now()
    paused = FlowRun.objects.using(alias()).filter(
        flow=flow, status=Status.PAUSED, reason_code="flow_paused"
    )
    some = list(paused.order_by().values_list("pk", flat=True)[:_CHUNK])
    with transaction.atomic(using=alias()):
        found = rows(some, Status.PAUSED).filter(reason_code="flow_paused").order_by("pk")
        ids = list(found.select_for_update(of=()).values_list("pk", flat=True))
        rows(ids).update(
            status=Status.WAITING, due_at=now, since=now, reason_code="", reason_values={}
        )
        message = done.reason("flow_resumed")
        RunEvent.objects.using(alias()).bulk_create([_event(pk, message, done) for pk in ids])
        dispatch(ids)
    return len(ids)
