"""Creating and starting runs from Python."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, models, transaction
from django.utils.translation import gettext

from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.bounds import ACTOR_CHARACTERS
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import cursor_to_json, encode, normalize, storable
from flowcontrol_core.engine.cursor import Cursor
from flowcontrol_core.engine.interpreter import locate
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import DirectiveError, NotStartedError, UnknownFlowError
from flowcontrol_core.models import (
    EventKind,
    Flow,
    FlowRun,
    Reason,
    RunEvent,
    Status,
    why_nameless,
)
from flowcontrol_core.runs.execution.activation import executing
from flowcontrol_core.runs.execution.checkpoint import Execution, make_execution
from flowcontrol_core.runs.execution.driver import Driver
from flowcontrol_core.runs.execution.failures import StopKind
from flowcontrol_core.runs.execution.sweep import execute_due, following_inline
from flowcontrol_core.runs.queue import limits
from flowcontrol_core.runs.queue.claim import Choice, lease_until, worker_name
from flowcontrol_core.runs.queue.heartbeat import Heartbeat, HeartbeatRefused
from flowcontrol_core.runs.queue.outbox import wake_again
from flowcontrol_core.runs.queue.release import release
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.compiled import CompiledFlow, UnusableVersion, get_compiled
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    dispatch,
    note_inserted,
    tenant,
    transaction_elsewhere,
)
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.objects import ObjectSource, reference
from flowcontrol_core.runs.store.rows import LostLease, make_event
from flowcontrol_core.texts import storable_text

logger = logging.getLogger("flowcontrol.runs")


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
    """Create a run, to be executed by a later sweep (not before ``at``), and return it.

    Inside of a transaction it is created in it; inside of one of another database than that of the
    runs it is created at once, and executed after the commit. ``parent`` is the run that starts it:
    it is then canceled with it. ``by`` (who) and ``reason`` are recorded in its history. Raises
    NotStartedError, whose ``reason`` is a code, UnknownFlowError, StateError for a state that
    cannot be stored, and ValueError for a time that is naive or out of range.
    """
    flow = get_flow(flow)
    parent = parent or executing.get()
    run = _build(flow, obj, state, parent=parent, trigger=trigger, payload=payload)
    if at is not None:
        run.due_at = run.wait_until = storable(at)
    check_startable(flow, obj, depth=run.depth)
    _check_fan_out(parent)
    _create(flow, run, _events(run.created_at, by, reason), is_due=at is None)
    return run


def take_over(
    flow: Flow | str,
    obj: models.Model | None,
    state: Mapping[str, Any] | None,
    place: StartPlace,
    *,
    payload: Mapping[str, Any] | None = None,
    by: Any = "",
    reason: str = "",
) -> FlowRun:
    """Create a run that begins somewhere else than at the beginning.

    Raises as ``create_flowrun`` does; NotStartedError, too, where it cannot begin there.
    """
    flow = get_flow(flow)
    run = _build(flow, obj, state, parent=None, trigger="", payload=payload)
    check_startable(flow, obj, depth=0)
    _put_at(run, place)
    actor, note = (
        storable_text(by, ACTOR_CHARACTERS),
        Reason.of("taken_over", reason, step=place.step),
    )
    event = make_event(EventKind.OPERATOR, run.created_at, note, actor=actor)
    _create(flow, run, [event], is_due=place.until is None or place.after)
    return run


def _create(flow: Flow, run: FlowRun, events: list[RunEvent], *, is_due: bool) -> None:
    if flow.has_limits:
        _refuse_reached(flow, run)
    elsewhere = transaction_elsewhere() if is_due else ""
    if elsewhere:
        # Until it commits, no one else sees the object. Should this process die, the run begins.
        run.due_at = lease_until(run.created_at)
    _insert(run, events)
    if elsewhere:
        transaction.on_commit(partial(wake_again, run), using=elsewhere, robust=True)
    elif is_due:
        dispatch([run.pk])


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
    """Create a run, execute it at once, and return it as it then stands.

    Inside of a transaction, or of another run's step, it is only created, and executed after the
    commit. Raises as ``create_flowrun`` does; a step that fails raises nothing, it shows in the
    run's ``outcome``.
    """
    flow = get_flow(flow)
    options: dict[str, Any] = {"trigger": trigger, "payload": payload, "by": by, "reason": reason}
    in_transaction = connection().in_atomic_block or transaction_elsewhere()
    if in_transaction or executing.get() is not None:
        return create_flowrun(flow, obj, state, **options)
    compiled = _compiled(flow)
    if flow.has_limits or flow.paused or compiled is None:
        with following_inline():
            run = create_flowrun(flow, obj, state, **options)
            execute_due(1, Choice(only=[run.pk]))
        run.refresh_from_db(using=alias())
        return run
    check_startable(flow, obj, depth=0)
    run = _build(flow, obj, state, parent=None, trigger=trigger, payload=payload)
    if flow.published is not None:
        run.version = flow.published
    with following_inline() as following:
        _execute_new(run, flow, compiled, _events(run.created_at, by, reason))
        may_have_moved_on = bool(following)
    if may_have_moved_on:
        run.refresh_from_db(using=alias())
    return run


def _compiled(flow: Flow) -> CompiledFlow | None:
    """Return a flow's published version, compiled; None where it cannot be executed here."""
    try:
        return None if flow.published is None else get_compiled(flow.published)
    except UnusableVersion:
        return None


def _insert(run: FlowRun, events: list[RunEvent]) -> None:
    with transaction.atomic(using=alias()) if events else nullcontext():
        run.save(force_insert=True, using=alias())
        note_inserted([run])
        for event in events:
            event.run_id = run.pk
            event.save(force_insert=True, using=alias())


def _events(now: datetime, by: Any, note: str) -> list[RunEvent]:
    """Return what the history says of a run that a person has started."""
    if not by and not note:
        return []
    actor = storable_text(by, ACTOR_CHARACTERS)
    return [make_event(EventKind.OPERATOR, now, Reason.of("started", note), actor=actor)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlace:
    """Where a run begins that another system has executed so far.

    At ``step``, or ``after`` it, and not before ``until``. ``memo`` has what steps keep of their
    own, by their ids: the loops around the step have to be in it, with where they are.
    """

    step: str
    after: bool = False
    until: datetime | None = None
    memo: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _put_at(run: FlowRun, place: StartPlace) -> None:
    """Put a new run where it begins; raises NotStartedError where it cannot begin there."""
    run.cursor = cursor_to_json(_cursor_at(get_compiled(run.version), place, run.state))
    if place.until is not None and place.after:
        # As if the step had suspended: the run is claimed at once, and takes its slots.
        run.wait_until = storable(place.until)
    elif place.until is not None:
        run.due_at = storable(place.until)


def _cursor_at(compiled: CompiledFlow, place: StartPlace, state: Mapping[str, Any]) -> Cursor:
    memo: dict[str, Any] = normalize(place.memo, "memo")

    def is_unknown_loop(step: str) -> bool:
        return step not in memo and compiled.is_loop(step)

    try:
        path = locate(compiled.program, place.step, is_unknown_loop)
    except DirectiveError as error:
        raise NotStartedError(str(error), reason="step") from error
    if others := sorted(memo.keys() - {frame.step for frame in path}):
        text = gettext("The step %(step)r is not inside of %(others)s, which the memo names.")
        values = {"step": place.step, "others": ", ".join(others)}
        raise NotStartedError(text % values, reason="step")
    *around, top = (frame._replace(memo=memo.get(frame.step, {})) for frame in path)
    for step, kept in memo.items():
        _check_memo(compiled, step, kept)
    outer = [frame._replace(hidden=_variables_of(compiled, frame.step, state)) for frame in around]
    return (*outer, top._replace(phase="after" if place.after else "run"))


def _check_memo(compiled: CompiledFlow, step: str, memo: Any) -> None:
    """Raise NotStartedError where a step cannot continue with what it is said to have kept."""
    if isinstance(memo, Mapping):
        wrong = " ".join(map(str, compiled.bound(step).action.check_memo(memo)))
    else:
        wrong = gettext("It has to be a mapping.")
    if wrong:
        text = gettext("The memo of the step %(step)r cannot be used. %(wrong)s")
        raise NotStartedError(text % {"step": step, "wrong": wrong}, reason="step")


def _variables_of(
    compiled: CompiledFlow, step: str, state: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return the variables of a step that are in the state: they vanish when it is left."""
    bound = compiled.bound(step)
    return {name: [] for name in bound.action.sets_variables(bound.config) if name in state}


def get_flow(flow: Flow | str) -> Flow:
    """Return the flow of a key; raises UnknownFlowError."""
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
    key = {"flow": flow.key}
    if flow.published_id is None:
        text = gettext("The flow “%(flow)s” has no published version; publish its draft.")
        raise NotStartedError(text % key, reason="unpublished")
    if not flow.active:
        text = gettext("The flow “%(flow)s” is not active.")
        raise NotStartedError(text % key, reason="inactive")
    if depth > get_settings().MAX_DEPTH:
        text = gettext(
            "The flow “%(flow)s” was not started: runs have started each other %(depth)d times "
            "(setting MAX_DEPTH)."
        )
        raise NotStartedError(text % {**key, "depth": depth}, reason="depth")
    if obj is not None:
        check_object(flow, obj)


def check_object(flow: Flow, obj: models.Model) -> None:
    """Raise NotStartedError for an object that is not of the flow's type, or has no usable key."""
    if problem := why_nameless(obj):
        raise NotStartedError(problem, reason="object")
    check_object_type(flow.key, flow.published.object_type if flow.published else "", obj)


def check_object_type(key: str, wanted: str, obj: models.Model) -> None:
    """Raise NotStartedError for an object of another model than the flow with this key wants."""
    # An action may pass on the lazy object it was given: only ``__class__`` tells its model.
    labels = {model._meta.label_lower for model in obj.__class__.__mro__ if hasattr(model, "_meta")}
    if wanted and wanted not in labels:
        text = gettext("The flow “%(flow)s” is for objects of %(wanted)s, not %(given)s.")
        values = {"flow": key, "wanted": wanted, "given": obj._meta.label_lower}
        raise NotStartedError(text % values, reason="object")


def _refuse_reached(flow: Flow, run: FlowRun) -> None:
    """Raise NotStartedError where a check without a lock shows that a limit skips the run."""
    present = limits.limits_of(flow, run.about)
    if reached := limits.reached(limits.skipping(present)):
        text = gettext("The limit %(limit)s of the flow “%(flow)s” is reached (%(most)d).")
        values = {"limit": reached, "flow": flow.key, "most": getattr(flow, reached)}
        raise NotStartedError(text % values, reason="limit")


def _check_fan_out(parent: RunContext | None) -> None:
    key = key_of_parent(parent)
    if key is None:
        return
    most = get_settings().MAX_FAN_OUT
    if FlowRun.objects.using(alias()).filter(parent_id=key).count() >= most:
        text = gettext("One run has started %(most)d others (setting MAX_FAN_OUT).")
        raise NotStartedError(text % {"most": most}, reason="fan_out")


def key_of_parent(parent: RunContext | None) -> int | None:
    """Return the key of the run that starts another; ``None``: it has no row of this tenant."""
    return parent.pk if parent is not None and parent.tenant == tenant() else None


def _build(
    flow: Flow,
    obj: models.Model | None,
    state: Mapping[str, Any] | None,
    *,
    parent: RunContext | None,
    trigger: str,
    payload: Mapping[str, Any] | None,
) -> FlowRun:
    return build_run(
        flow,
        reference(obj),
        clock().now(),
        state=State(state, max_bytes=get_settings().STATE_MAX_BYTES).to_json(),
        payload=encode(normalize(payload or {}, "payload")),
        parent_id=key_of_parent(parent),
        depth=parent.depth + 1 if parent else 0,
        trigger=trigger,
    )


def build_run(flow: Flow, about: Mapping[str, Any], now: datetime, **fields: Any) -> FlowRun:
    """Return the row, not saved, of a run that has not begun; the flow has to be published."""
    run = FlowRun(
        uuid=uuid.uuid4(),
        status=Status.PENDING,
        queue=flow.queue,
        due_at=now,
        created_at=clock().time_of_start(now),
        since=now,
        **about,
        **fields,
    )
    run.flow = flow
    run.version_id = flow.published_id or 0
    return run


def _execute_new(run: FlowRun, flow: Flow, compiled: CompiledFlow, events: list[RunEvent]) -> None:
    """Execute a run before it is inserted: a crash then is as one before the call."""
    run.fence, run.attempt, run.worker = 1, 1, worker_name()
    guard = CallGuard()
    with guard.installed(), Heartbeat() as heartbeat:
        execution = make_execution(run, flow, compiled, ObjectSource([run]), guard, heartbeat)
        execution.stored = False
        execution.notes = events

        def watch(timeout: float | None) -> Any:
            # Before it is inserted, no other worker can take it.
            if execution.stored:
                heartbeat.hold([run])
            return heartbeat.watch(timeout)

        driver = Driver(execution, watch)
        stop = driver.begin()
        try:
            if stop.kind is StopKind.NEEDS:
                heartbeat.reserve()
            driver.drive_on(stop)
        except HeartbeatRefused:
            logger.warning("The run %s waits for the next sweep.", run.uuid, exc_info=True)
            _leave(run, events)
        except LostLease:
            # A step took longer than its time-out: another worker continues the run.
            run.refresh_from_db(using=alias())
        except GeneratorExit:
            raise
        except BaseException:
            _give_back(execution)
            raise


def _give_back(execution: Execution) -> None:
    """Return a run whose execution was interrupted to the queue, if the database answers."""
    if execution.stored:
        with suppress(DatabaseError, InterfaceError):
            release(execution.run)


def _leave(run: FlowRun, events: list[RunEvent]) -> None:
    """Insert a run that could not be executed here, as it was before: a worker executes it."""
    run.fence, run.attempt, run.worker = 0, 0, ""
    _insert(run, events)
