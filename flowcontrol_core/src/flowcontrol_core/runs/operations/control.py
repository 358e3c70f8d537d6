"""What an operator may do to a run: safe at any time, against a running worker too.

A run that is being executed is asked, through its inbox; any other is changed at once. One table
says which verb is legal in which status.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from flowcontrol_core.engine.codec import cursor_from_json, cursor_to_json
from flowcontrol_core.engine.cursor import Cursor
from flowcontrol_core.engine.interpreter import locate
from flowcontrol_core.errors import DirectiveError, IllegalChangeError, StateError
from flowcontrol_core.models import (
    LIVE,
    EventKind,
    Flow,
    FlowRun,
    Message,
    MessageKind,
    Outcome,
    Request,
    RunEvent,
    Status,
)
from flowcontrol_core.runs.execution.checkpoint import clear_wait, end, set_status
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.dispatch import after_commit, dispatch
from flowcontrol_core.runs.queue.inbox import HELD, cancel_children, empty_inbox
from flowcontrol_core.runs.queue.outbox import free_queue
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import get_compiled
from flowcontrol_core.runs.store.connection import alias, retrying
from flowcontrol_core.runs.store.rows import WRITTEN, rows

_LIVE = frozenset(LIVE)
#: Runs that are released in one transaction.
_RESUMED = 500
#: The legal changes: in which status a verb is possible. ERRORED runs are DONE, and may go on.
LEGAL: dict[str, frozenset[Status]] = {
    "cancel": _LIVE,
    "pause": _LIVE - {Status.PAUSED},
    "resume": frozenset({Status.PAUSED}),
    "run now": frozenset({Status.PENDING, Status.WAITING, Status.BLOCKED}),
    "retry": frozenset({Status.DONE, Status.BLOCKED, Status.WAITING}),
    "skip": frozenset({Status.DONE, Status.BLOCKED, Status.WAITING, Status.PAUSED}),
    "send": frozenset(Status),
    "restart": frozenset({Status.DONE}),
    "edit state": frozenset(Status) - {Status.RUNNING},
    "move": _LIVE - {Status.RUNNING},
}
_WHY = {
    "cancel": "it has ended",
    "pause": "it has ended or is paused already",
    "resume": "it is not paused",
    "run now": "it is not waiting",
    "retry": "no step of it has failed",
    "skip": "it is not at a step that failed or waits",
    "send": "it has ended, and not by an error",
    "restart": "it has not ended",
    "edit state": "it is being executed",
    "move": "it is being executed, or has ended",
}
#: The verbs that ask nothing of the outcome of a run that has ended.
_ANY_OUTCOME = frozenset({"restart", "edit state"})


def is_legal(verb: str, run: FlowRun) -> bool:
    """Say whether a verb of the table is possible for a run as it stands."""
    if Status(run.status) not in LEGAL[verb]:
        return False
    if run.status == Status.DONE:
        return verb in _ANY_OUTCOME or run.outcome == Outcome.ERRORED
    if verb == "retry" and run.status == Status.WAITING:
        return _has_failed(run.cursor)
    return True


def _has_failed(cursor: Any) -> bool:
    """Say whether the step on top of a stored cursor, however damaged that is, is tried again."""
    top = cursor[-1] if isinstance(cursor, list) and cursor else None
    return isinstance(top, dict) and bool(top.get("tries"))


@retrying
def cancel_flowrun(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """End a run as CANCELED, its children with it.

    Once this has committed, no database effect of the run commits any more. Raises
    IllegalChangeError where it has ended.
    """
    with transaction.atomic(using=alias()):
        row = locked("cancel", run)
        reason = reason or "Canceled."
        if row.status == Status.RUNNING:
            _ask(row, MessageKind.CANCEL, {"reason": reason}, by, Request.CANCEL)
            return row
        end(row, Outcome.CANCELED, clock().now(), reason)
        write_changed(row, reason, by)
        empty_inbox(row.pk)
        children = cancel_children(row.pk, str(by))
    after_commit(partial(outbox.deliver_messages, children))
    after_commit(partial(free_queue, row))
    after_commit(outbox.deliver_ends)
    return row


@retrying
def pause_flowrun(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """Keep a run from going on until it is resumed; a running one stops at its next checkpoint."""
    with transaction.atomic(using=alias()):
        row = locked("pause", run)
        reason = reason or "Paused."
        if row.status == Status.RUNNING:
            _ask(row, MessageKind.PAUSE, {"reason": reason}, by, Request.INBOX)
            return row
        set_status(row, Status.PAUSED, clock().now(), reason)
        row.due_at = None
        write_changed(row, reason, by)
    return row


def resume_flowrun(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """Let a paused run go on: at once, or when what it waits for comes."""
    return _change("resume", run, by, reason or "Resumed.", _resume)


def run_now(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """Let a run that waits go on at once, whatever it waits for."""
    return _change("run now", run, by, reason or "Run now.", _hurry)


def retry_flowrun(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """Call the failed step of a run again, as if it had never been tried."""
    return _change("retry", run, by, reason or "The step is tried again.", _retry)


def skip_step(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """Go on behind the step that a run has failed at, or waits at."""
    return _change("skip", run, by, reason or "The step is skipped.", _skip)


@retrying
def go_to_step(run: FlowRun | int, step: str, *, by: Any = "", reason: str = "") -> FlowRun:
    """Send a run to a step of its version; a running one goes there at its next checkpoint.

    Raises IllegalChangeError where the version has no such step, or a loop is around it.
    """
    with transaction.atomic(using=alias()):
        row = locked("send", run)
        compiled = get_compiled(row.version_id)
        try:
            locate(compiled.program, step, compiled.is_loop)
        except DirectiveError as error:
            raise IllegalChangeError(str(error)) from error
        if row.status == Status.DONE:
            _reopen(row, locate(compiled.program, step, compiled.is_loop))
            write_changed(row, reason or f"Sent to the step {step!r}.", by)
            dispatch([row.pk])
            return row
        data = {"step": step, "reason": reason}
        _ask(row, MessageKind.GO_TO, data, by, Request.INBOX)
        if row.status not in (Status.RUNNING, Status.PAUSED):
            FlowRun.objects.using(alias()).filter(pk=row.pk).update(
                due_at=clock().now(), request=Request.INBOX
            )
    return row


def resume_paused_runs(flow: Flow, *, by: Any = "", reason: str = "") -> int:
    """Let the runs go on that were paused because their flow was on hold; give their number."""
    released = 0
    while count := _resume_some(flow, reason or "The hold has ended.", by):
        released += count
    return released


@retrying
def _resume_some(flow: Flow, message: str, by: Any) -> int:
    now = clock().now()
    paused = FlowRun.objects.using(alias()).filter(flow=flow, status=Status.PAUSED, reason=HELD)
    some = list(paused.order_by().values_list("pk", flat=True)[:_RESUMED])
    with transaction.atomic(using=alias()):
        found = rows(some, Status.PAUSED).filter(reason=HELD).order_by("pk")
        ids = list(found.select_for_update(of=()).values_list("pk", flat=True))
        rows(ids).update(status=Status.WAITING, due_at=now, since=now, reason="")
        RunEvent.objects.using(alias()).bulk_create(
            [_operator_event(pk, message, by) for pk in ids]
        )
    return len(ids)


@retrying
def _change(
    verb: str, run: FlowRun | int, by: Any, reason: str, change: Callable[[FlowRun], None]
) -> FlowRun:
    with transaction.atomic(using=alias()):
        row = locked(verb, run)
        change(row)
        write_changed(row, reason, by)
    dispatch([row.pk])
    return row


def _resume(row: FlowRun) -> None:
    """Let it be claimed: the claim looks what it waits for, and into the inbox."""
    row.due_at = clock().now()
    set_status(row, Status.WAITING if row.cursor else Status.PENDING, row.due_at)


def _hurry(row: FlowRun) -> None:
    row.due_at = clock().now()
    if outbox.waits(row):
        Message.objects.using(alias()).create(
            run_id=row.pk, kind=MessageKind.WAKE, data={}, created_at=row.due_at
        )


def _cursor_of(row: FlowRun) -> Cursor:
    try:
        return cursor_from_json(row.cursor)
    except StateError as error:
        raise IllegalChangeError(str(error)) from error


def _reopen(row: FlowRun, cursor: Cursor) -> None:
    """Let a run go on from a cursor, with nothing that it waits for."""
    if row.status == Status.DONE:
        # What it was asked for just before it ended came too late.
        empty_inbox(row.pk)
    row.cursor = cursor_to_json(cursor)
    set_status(row, Status.WAITING if cursor else Status.PENDING, clock().now())
    row.outcome = ""
    row.finished_at = None
    row.undelivered_since = None
    row.blocked_on = None
    row.attempt = 0
    clear_wait(row)
    row.due_at = clock().now()


def _retry(row: FlowRun) -> None:
    cursor = _cursor_of(row)
    child = _child_of(cursor)
    fresh: dict[str, Any] = {"tries": 0, "calling": False, **({"wakeup": None} if child else {})}
    _reopen(row, (*cursor[:-1], *[top._replace(**fresh) for top in cursor[-1:]]))
    # Looked at anew: it may have been taken up again, and ended otherwise.
    row.wait_child = child


def _child_of(cursor: Cursor) -> UUID | None:
    """Give the run whose end has woken the step on top, if one has."""
    wakeup = cursor[-1].wakeup if cursor else None
    return UUID(wakeup["child"]) if wakeup and wakeup.get("child") else None


def _skip(row: FlowRun) -> None:
    cursor = _cursor_of(row)
    if not cursor:
        raise IllegalChangeError("The run is at no step that could be skipped.")
    top = cursor[-1]._replace(phase="after", tries=0, calling=False, wakeup=None)
    _reopen(row, (*cursor[:-1], top))


def locked(verb: str, run: FlowRun | int) -> FlowRun:
    """Read and lock a run, if the verb is legal for it."""
    pk = run if isinstance(run, int) else run.pk
    runs = FlowRun.objects.using(alias()).select_for_update(of=()).filter(pk=pk)
    row = runs.first()
    if row is None:
        raise IllegalChangeError(f"There is no run {pk}.")
    if not is_legal(verb, row):
        raise IllegalChangeError(
            f"Run {pk} cannot be changed ({verb}): {_WHY[verb]} "
            f"(status {row.get_status_display()}{f', {row.outcome}' if row.outcome else ''})."
        )
    return row


def write_changed(row: FlowRun, message: str, by: Any) -> None:
    """Write a run that nobody executes, and who did what to it and why.

    The new fence keeps a ``recheck_wait`` that is on its way from writing.
    """
    row.request = Request.NONE
    row.fence += 1
    row.save(update_fields=[*WRITTEN, "fence"], using=alias())
    _operator_event(row.pk, message, by).save(force_insert=True, using=alias())


def _operator_event(pk: int, message: str, by: Any) -> RunEvent:
    return RunEvent(
        run_id=pk,
        at=clock().now(),
        kind=EventKind.OPERATOR,
        message=message,
        actor=str(by or "")[:200],
    )


def _ask(row: FlowRun, kind: MessageKind, data: dict[str, Any], by: Any, request: Request) -> None:
    """Put a message into a run's inbox, and have a running one look there."""
    Message.objects.using(alias()).create(
        run_id=row.pk, kind=kind, data=data, actor=str(by)[:200], created_at=clock().now()
    )
    if row.status == Status.RUNNING and row.request != Request.CANCEL:
        # By its key only, as it was locked.
        FlowRun.objects.using(alias()).filter(pk=row.pk).update(request=request)
