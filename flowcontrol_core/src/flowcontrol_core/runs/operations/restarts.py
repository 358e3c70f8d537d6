"""Verbs that change what a run is: restart it at a step, edit its state, move it to a version."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django.db import transaction

from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import cursor_from_json, cursor_to_json
from flowcontrol_core.engine.cursor import Cursor
from flowcontrol_core.engine.interpreter import locate
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import DirectiveError, IllegalChangeError
from flowcontrol_core.models import EventKind, Flow, FlowRun, FlowVersion, RunEvent, Status
from flowcontrol_core.runs.execution.start import build_run
from flowcontrol_core.runs.operations.control import locked, write_changed
from flowcontrol_core.runs.queue import limits
from flowcontrol_core.runs.queue.dispatch import dispatch
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import CompiledFlow, get_compiled
from flowcontrol_core.runs.store.connection import alias, retrying


@retrying
def restart_at_step(
    run: FlowRun | int,
    step: str,
    *,
    current_version: bool = False,
    by: Any = "",
    reason: str = "",
) -> FlowRun:
    """Create a new run that begins at a step, with the state and the object of an ended one.

    It is linked to the old one (``origin``), and uses its version or, with ``current_version``, the
    published one. Raises IllegalChangeError where the run has not ended, or the version has no
    such step, or a loop is around it.
    """
    with transaction.atomic(using=alias()):
        old = locked("restart", run)
        flow = Flow.objects.using(alias()).get(pk=old.flow_id)
        version_id = flow.published_id if current_version else old.version_id
        if version_id is None:
            raise IllegalChangeError(f"The flow {flow.key!r} has no published version.")
        new = build_run(
            flow,
            {
                "content_type_id": old.content_type_id,
                "object_key": old.object_key,
                "object_text": old.object_text,
            },
            clock().now(),
            state=deepcopy(old.state),
            payload=deepcopy(old.payload),
            trigger=old.trigger,
            depth=old.depth,
            origin_id=old.pk,
        )
        new.version_id = version_id
        new.cursor = cursor_to_json(_placed(get_compiled(version_id), step))
        _refuse_reached(flow, old)
        if old.slot_ever is not None:
            # The slot of the limit that counts all runs ever goes over to the new one.
            new.slot_ever, old.slot_ever = old.slot_ever, None
            old.save(update_fields=["slot_ever"], using=alias())
        new.save(force_insert=True, using=alias())
        link = f"Restarted at the step {step!r} as run {new.pk}. {reason}".strip()
        _note(old, link, by)
        _note(new, f"Restarted from run {old.pk} at the step {step!r}. {reason}".strip(), by)
    dispatch([new.pk])
    return new


@retrying
def edit_state(
    run: FlowRun | int, state: Mapping[str, Any], *, by: Any = "", reason: str = ""
) -> FlowRun:
    """Replace the state of a run that nobody executes.

    Raises IllegalChangeError where it is being executed, and StateError for what cannot be kept.
    """
    fresh = kept_state(state)
    with transaction.atomic(using=alias()):
        row = locked("edit state", run)
        _write_state(row, fresh, by, reason)
    return row


@retrying
def merge_state(
    run: FlowRun | int, changes: Mapping[str, Any], *, by: Any = "", reason: str = ""
) -> FlowRun:
    """Set some keys of the state of a run that nobody executes; the others stay as they are.

    Raises as ``edit_state`` does.
    """
    with transaction.atomic(using=alias()):
        row = locked("edit state", run)
        present = State.from_json(row.state, max_bytes=get_settings().STATE_MAX_BYTES).peek()
        _write_state(row, kept_state({**present, **changes}), by, reason)
    return row


def kept_state(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the JSON form of a state; raises StateError for what cannot be kept."""
    return State(values, max_bytes=get_settings().STATE_MAX_BYTES).to_json()


def _write_state(row: FlowRun, fresh: dict[str, Any], by: Any, reason: str) -> None:
    # One that is no object is damaged: this is how to repair it.
    before = row.state if isinstance(row.state, dict) else {}
    changed = sorted(key for key in {*before, *fresh} if _value(before, key) != _value(fresh, key))
    row.state = fresh
    names = ", ".join(changed) or "nothing"
    write_changed(row, f"The state was edited ({names}). {reason}".strip(), by)


def check_move(run: FlowRun) -> str:
    """Say why a run cannot be moved to the published version of its flow; empty if it can.

    The steps it is in have to exist there, enabled, with the same actions in the same branches. The
    events of the trigger that it waits for have to be kept there too.
    """
    current = run.flow.published
    if current is None or current.pk == run.version_id:
        return "it is on the published version already"
    old, new = get_compiled(run.version_id), get_compiled(current.pk)
    cursor = cursor_from_json(run.cursor)
    for depth, frame in enumerate(cursor):
        here, there = old.program.nodes.get(frame.step), new.program.nodes.get(frame.step)
        if here is None or there is None:
            return f"the published version has no enabled step {frame.step!r}"
        if here.step.action != there.step.action:
            return f"the step {frame.step!r} has another action there"
        above = cursor[depth - 1].step if depth else None
        if there.parent != above or here.branch != there.branch:
            return f"the step {frame.step!r} is at another place there"
    if run.wait_trigger in _kept_events(run.version) - _kept_events(current):
        return f"nothing waits for the trigger {run.wait_trigger!r} there"
    return ""


def _kept_events(version: FlowVersion) -> set[str]:
    return set(version.waits_for.split())


@retrying
def move_to_current_version(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """Move a run that waits to the published version of its flow; it goes on where it is.

    Raises IllegalChangeError, saying why, where ``check_move`` finds that it cannot go on there.
    """
    with transaction.atomic(using=alias()):
        row = locked("move", run)
        problem = check_move(row)
        before, current = row.version, row.flow.published
        if problem or current is None:
            raise IllegalChangeError(f"Run {row.pk} cannot be moved: {problem}.")
        row.version_id = current.pk
        if row.status == Status.BLOCKED:
            # What has blocked it may be different there.
            row.due_at = clock().now()
        row.save(update_fields=["version", "due_at"], using=alias())
        text = f"Moved from version {before.number} to {current.number}. {reason}"
        _note(row, text.strip(), by)
    return row


def _placed(compiled: CompiledFlow, step: str) -> Cursor:
    try:
        return locate(compiled.program, step, compiled.is_loop)
    except DirectiveError as error:
        raise IllegalChangeError(str(error)) from error


def _refuse_reached(flow: Flow, run: FlowRun) -> None:
    if not flow.has_limits:
        return
    about = (run.content_type_id, run.object_key)
    # It hands over the slot that it has spent; a slot that it never had, it cannot.
    present = [
        limit
        for limit in limits.skipping(limits.limits_of(flow, *about))
        if limit.column != "slot_ever" or run.slot_ever is None
    ]
    reached = limits.reached(present)
    if reached:
        raise IllegalChangeError(f"The limit {reached} of the flow {flow.key!r} is reached.")


def _value(state: Mapping[str, Any], key: str) -> Any:
    return state.get(key, Ellipsis)


def _note(run: FlowRun, message: str, by: Any) -> None:
    RunEvent.objects.using(alias()).create(
        run_id=run.pk,
        at=clock().now(),
        kind=EventKind.OPERATOR,
        message=message,
        actor=str(by)[:200],
    )
