"""Creating and starting runs from Python."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.db import models, transaction

from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import encode, normalize, storable
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import NotStartedError, UnknownFlowError
from flowcontrol_core.models import EventKind, Flow, FlowRun, RunEvent, Status
from flowcontrol_core.runs.execution.activation import executing
from flowcontrol_core.runs.execution.checkpoint import make_execution
from flowcontrol_core.runs.execution.driver import Driver
from flowcontrol_core.runs.execution.sweep import execute_due
from flowcontrol_core.runs.queue import limits
from flowcontrol_core.runs.queue.claim import Choice, Heartbeat, worker_name
from flowcontrol_core.runs.queue.dispatch import dispatch
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import WriteGuard, alias, connection
from flowcontrol_core.runs.store.objects import ObjectSource, reference
from flowcontrol_core.runs.store.rows import LostLease


def create_flowrun(
    flow: Flow | str,
    obj: models.Model | None = None,
    state: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
    parent: RunContext | None = None,
    trigger: str = "",
    payload: Mapping[str, Any] | None = None,
    by: Any = "",
    reason: str = "",
) -> FlowRun:
    """Create a run, to be executed by a later sweep (not before ``at``); give it.

    Inside of a transaction it is created in it. ``parent`` is the run that starts it: it is then
    canceled with it. ``by`` (who) and ``reason`` stand in its history. Raises NotStartedError,
    which says why in its ``reason``, UnknownFlowError, StateError for a state that cannot be kept,
    and ValueError for a time that is naive or out of range.
    """
    flow = get_flow(flow)
    parent = parent or executing.get()
    run = _build(flow, obj, state, parent=parent, trigger=trigger, payload=payload)
    if at is not None:
        run.due_at = run.wait_until = storable(at)
    check_startable(flow, obj, depth=run.depth)
    _check_fan_out(parent)
    if flow.has_limits:
        refuse_reached(flow, run)
    _insert(run, _notes(run.created_at, by, reason))
    if at is None:
        dispatch([run.pk])
    return run


def start_flowrun(
    flow: Flow | str,
    obj: models.Model | None = None,
    state: Mapping[str, Any] | None = None,
    *,
    trigger: str = "",
    payload: Mapping[str, Any] | None = None,
    by: Any = "",
    reason: str = "",
) -> FlowRun:
    """Create a run and execute it at once; give it as it then stands.

    Inside of a transaction, or of another run's step, it is only created, and executed after the
    commit. Raises as ``create_flowrun`` does; a step that fails raises nothing, it shows in the
    run's ``outcome``.
    """
    flow = get_flow(flow)
    options: dict[str, Any] = {"trigger": trigger, "payload": payload, "by": by, "reason": reason}
    if connection().in_atomic_block or executing.get() is not None:
        return create_flowrun(flow, obj, state, **options)
    if flow.has_limits or flow.paused:
        run = create_flowrun(flow, obj, state, **options)
        execute_due(1, Choice(only=[run.pk]))
        run.refresh_from_db(using=alias())
        return run
    check_startable(flow, obj, depth=0)
    run = _build(flow, obj, state, parent=None, trigger=trigger, payload=payload)
    _execute_new(run, flow, _notes(run.created_at, by, reason))
    return run


def _insert(run: FlowRun, notes: list[RunEvent]) -> None:
    if not notes:
        run.save(force_insert=True, using=alias())
        return
    with transaction.atomic(using=alias()):
        run.save(force_insert=True, using=alias())
        for note in notes:
            note.run_id = run.pk
            note.save(force_insert=True, using=alias())


def _notes(now: datetime, by: Any, reason: str) -> list[RunEvent]:
    """Give what the history says of a run that somebody has started by hand."""
    if not by and not reason:
        return []
    message = f"Started by hand. {reason}".strip()
    return [RunEvent(at=now, kind=EventKind.OPERATOR, message=message, actor=str(by or "")[:200])]


def get_flow(flow: Flow | str) -> Flow:
    """Give the flow of a key; raises UnknownFlowError."""
    if isinstance(flow, Flow):
        return flow
    try:
        flows = Flow.objects.using(alias()).select_related("published")
        return flows.defer("published__document").get(key=flow)
    except Flow.DoesNotExist:
        raise UnknownFlowError(
            f"No flow has the key {flow!r}. Create or import it, or correct the key."
        ) from None


def check_startable(flow: Flow, obj: models.Model | None, *, depth: int) -> None:
    """Raise NotStartedError where a flow starts no run for an object."""
    if flow.published_id is None:
        raise NotStartedError(
            f"The flow {flow.key!r} has no published version; publish its draft.",
            reason="unpublished",
        )
    if not flow.active:
        raise NotStartedError(f"The flow {flow.key!r} is not active.", reason="inactive")
    if depth > get_settings().MAX_DEPTH:
        raise NotStartedError(
            f"The flow {flow.key!r} was not started: runs have started each other {depth} times "
            "(setting MAX_DEPTH).",
            reason="depth",
        )
    check_object(flow, obj)


def check_object(flow: Flow, obj: models.Model | None) -> None:
    """Raise NotStartedError for an object that is not of the flow's type, or is not saved."""
    if obj is None:
        return
    if obj.pk is None:
        raise NotStartedError(f"{obj!r} has no primary key; save it first.", reason="object")
    wanted = flow.published.object_type if flow.published else ""
    # An action may pass on the lazy object it was given: only ``__class__`` tells its model.
    labels = {model._meta.label_lower for model in obj.__class__.__mro__ if hasattr(model, "_meta")}
    if wanted and wanted not in labels:
        raise NotStartedError(
            f"The flow {flow.key!r} is for objects of {wanted}, not {obj._meta.label_lower}.",
            reason="object",
        )


def refuse_reached(flow: Flow, run: FlowRun) -> None:
    """Raise NotStartedError where a look without a lock shows that a limit skips the run."""
    present = limits.limits_of(flow, run.content_type_id, run.object_key)
    reached = limits.reached(limits.skipping(present))
    if reached:
        raise NotStartedError(
            f"The limit {reached} of the flow {flow.key!r} is reached ({getattr(flow, reached)}).",
            reason="limit",
        )


def _check_fan_out(parent: RunContext | None) -> None:
    if parent is None or parent.pk is None:
        return
    most = get_settings().MAX_FAN_OUT
    if FlowRun.objects.using(alias()).filter(parent_id=parent.pk).count() >= most:
        raise NotStartedError(
            f"One run has started {most} others (setting MAX_FAN_OUT).", reason="fan_out"
        )


def _build(
    flow: Flow,
    obj: models.Model | None,
    state: Mapping[str, Any] | None,
    *,
    parent: RunContext | None,
    trigger: str,
    payload: Mapping[str, Any] | None,
) -> FlowRun:
    now = clock().now()
    return build_run(
        flow,
        reference(obj),
        now,
        state=State(state, max_bytes=get_settings().STATE_MAX_BYTES).to_json(),
        payload=encode(normalize(payload or {}, "payload")),
        parent_id=parent.pk if parent else None,
        depth=parent.depth + 1 if parent else 0,
        trigger=trigger,
    )


def build_run(flow: Flow, about: Mapping[str, Any], now: datetime, **fields: Any) -> FlowRun:
    """Give the row, not saved, of a run that has not begun."""
    run = FlowRun(
        uuid=uuid.uuid4(),
        status=Status.PENDING,
        queue=flow.queue,
        due_at=now,
        created_at=now,
        since=now,
        **about,
        **fields,
    )
    run.flow = flow
    # Whoever builds a run has checked that there is one.
    run.version_id = flow.published_id or 0
    return run


def _execute_new(run: FlowRun, flow: Flow, notes: list[RunEvent]) -> None:
    """Execute a run before it is inserted: a crash then is as one before the call."""
    run.fence, run.attempt, run.worker = 1, 1, worker_name()
    guard = WriteGuard()
    execution = make_execution(run, flow, ObjectSource([run]), guard)
    execution.stored = False
    execution.notes += notes
    with guard.installed(), Heartbeat() as heartbeat:

        def watch(timeout: float | None) -> Any:
            # Before it is inserted, nobody else can take it.
            if execution.stored:
                heartbeat.hold([run])
            return heartbeat.watch(timeout)

        execution.activation.context.beat = partial(heartbeat.touch, run, guard)
        try:
            Driver(execution, watch).drive()
        except LostLease:
            # A step took longer than its time-out: another worker goes on with the run.
            run.refresh_from_db(using=alias())
