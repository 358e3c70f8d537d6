"""A dry run: what a flow would do, executed for show and written nowhere.

Because actions declare their effects, it is honest. Those without effects run. Those that write to
the database run in a transaction that is always rolled back. Those that reach the world outside
are not called. Waits are passed by a clock that is moved, and flows that would be started are not.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import Error, models
from django.utils.translation import gettext

from flowcontrol_core import bounds
from flowcontrol_core.actions.base import Effects
from flowcontrol_core.actions.bound_step import BoundStep
from flowcontrol_core.actions.context import FlowReference, RunContext, Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.document.format import parse, validated
from flowcontrol_core.document.tree import Document
from flowcontrol_core.engine.codec import normalize
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.history import Call, Recorder, entry_of
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import EffectsError, FlowcontrolError, NotStartedError
from flowcontrol_core.models import Flow, FlowRun, FlowVersion, Outcome, why_nameless
from flowcontrol_core.runs.execution.activation import Activation, RunScope, executing
from flowcontrol_core.runs.execution.driver import SWALLOWED
from flowcontrol_core.runs.execution.failures import CONTINUE, Continue, Stop, StopKind
from flowcontrol_core.runs.execution.start import check_object_type, get_flow
from flowcontrol_core.runs.execution.uncalled import uncalled
from flowcontrol_core.runs.store.clock import ManualClock, clock
from flowcontrol_core.runs.store.compiled import CompiledFlow, compile_flow
from flowcontrol_core.runs.store.connection import alias, connection, inserted_runs
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.objects import ObjectSource, RunObject, reference
from flowcontrol_core.runs.store.rollback import always_rolled_back, savepoints


class DryRunEnd(StrEnum):
    """How far a dry run came.

    ``DONE``: to the end. ``WAITING``: to an event that would never come and none was chosen.
    ``BLOCKED``: to a step that cannot be called here. ``CUT``: to the most calls, or seconds.
    """

    DONE = "done"
    WAITING = "waiting"
    BLOCKED = "blocked"
    CUT = "cut"


class Passed(StrEnum):
    """How a dry run passed a wait."""

    TIME = "time"
    TIMEOUT = "timeout"
    EVENT = "event"
    CHILD = "child"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedFlow:
    """A run that a step would have started: by its flow, and the text of its object."""

    key: str
    name: str
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunStep:
    """One call of a dry run.

    ``entry`` is what the history of a run would say of it: JSON, with ``step``, ``action``, ``at``
    (by the clock of the dry run), ``answer``, ``branch``, ``changes``, ``messages`` and ``error``.
    ``config`` is the evaluated configuration of a call that was not made (``is_called``), without
    secrets; ``started`` are the runs that it would have started. ``wait`` is what the run waited
    for after it, and ``passed`` how that was passed.
    """

    entry: Mapping[str, Any]
    effects: Effects
    is_called: bool
    config: Mapping[str, Any]
    started: tuple[StartedFlow, ...] = ()
    wait: Wait | None = None
    passed: Passed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a flow would do. ``state`` is the state at its end, in JSON, as runs store it.

    ``outcome`` is that of a run that is done, ``reason`` says why it stands where it stands,
    ``error`` has type, message and traceback. ``began_at`` and ``ended_at`` are by the clock of the
    dry run, which passes waits in no time.
    """

    end: DryRunEnd
    outcome: str
    reason: str
    error: Mapping[str, Any] | None
    steps: tuple[DryRunStep, ...]
    state: Mapping[str, Any]
    began_at: datetime
    ended_at: datetime


def dry_run(
    flow: Flow | str | Document,
    obj: models.Model | None = None,
    state: Mapping[str, Any] | None = None,
    *,
    draft: bool = False,
    payload: Mapping[str, Any] | None = None,
    events: Mapping[str, Mapping[str, Any]] | None = None,
    now: datetime | None = None,
    most_calls: int = bounds.DRY_RUN_CALLS,
    seconds: float = bounds.DRY_RUN_SECONDS,
) -> DryRun:
    """Execute a flow for show, and return what it did; nothing of it is stored.

    Of a flow, the published version is taken, or with ``draft`` what the editor shows; a document
    is taken as it is. ``events`` are those that arrive while the run waits for them: the payloads
    by the keys of their triggers. A wait for any other times out, if it can. ``now`` is when the
    run begins (by default: now).

    What a step does beside its declared effects happens: a receiver of a signal that sends mail,
    sends it. The rows that the steps write are locked until the end, ``seconds`` at most, as long
    as each call ends in time.

    Raises DocumentError for a document that is not valid, UnknownFlowError, NotStartedError for a
    flow without that version or an object that it is not for, StateError, and FlowcontrolError
    inside of a step of a run.
    """
    if executing.get() is not None:
        raise FlowcontrolError(gettext("A step of a run cannot execute a dry run."))
    about, document = _read(flow, draft=draft)
    compiled = compile_flow(validated(document))
    if obj is not None:
        _check_object(about, document, obj)
    inserted: list[FlowRun] = []
    token = inserted_runs.set(inserted)
    try:
        return _execute(
            about,
            compiled,
            inserted,
            _Given(
                obj=obj,
                state=State(state, max_bytes=get_settings().STATE_MAX_BYTES),
                payload=normalize(payload or {}, "payload"),
                events={key: normalize(value, "payload") for key, value in (events or {}).items()},
                now=now or clock().now(),
                most_calls=most_calls,
                seconds=seconds,
            ),
        )
    finally:
        inserted_runs.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What a dry run begins with, and its bounds."""

    obj: models.Model | None
    state: State
    payload: Mapping[str, Any]
    events: Mapping[str, Mapping[str, Any]]
    now: datetime
    most_calls: int
    seconds: float


def _execute(
    about: FlowReference, compiled: CompiledFlow, inserted: list[FlowRun], given: _Given
) -> DryRun:
    """Execute inside of transactions that are rolled back, and put the sessions back after them."""
    guard = CallGuard()
    try:
        with always_rolled_back(max(given.seconds, 0.001)), guard.installed():
            return _show(about, compiled, inserted, given, guard).execute()
    finally:
        guard.renew()


def _show(
    about: FlowReference,
    compiled: CompiledFlow,
    inserted: list[FlowRun],
    given: _Given,
    guard: CallGuard,
) -> _Show:
    run = FlowRun(uuid=uuid.uuid4(), **reference(given.obj))
    obj, moved, history = (
        RunObject(run, ObjectSource([run]), guard),
        ManualClock(given.now),
        _Last(),
    )
    context = RunContext(
        uuid=run.uuid,
        flow=about,
        state=given.state,
        now=given.now,
        time_zone=compiled.zone,
        tenant=guard.tenant,
        payload=given.payload,
        load_object=obj.load,
        lock=obj.lock,
    )
    activation = Activation(
        context=context,
        scope=RunScope(context),
        compiled=compiled,
        clock=moved,
        guard=guard,
        has_object=given.obj is not None,
        logs=False,
        history=history,
    )
    return _Show(
        activation=activation,
        history=history,
        object=obj,
        clock=moved,
        events=given.events,
        inserted=inserted,
        most_calls=given.most_calls,
        until=time.monotonic() + given.seconds,
    )


def _read(flow: Flow | str | Document, *, draft: bool) -> tuple[FlowReference, Document]:
    """Return what a run knows of its flow, and the document to execute."""
    if isinstance(flow, Document):
        return FlowReference("", gettext("Dry run")), flow
    found = get_flow(flow)
    versions = FlowVersion.objects.using(alias())
    version = versions.filter(draft_of_id=found.pk).first() if draft else None
    version = version or versions.filter(pk=found.published_id or 0).first()
    if version is None:
        text = gettext("The flow “%(flow)s” has no version that could be executed.")
        raise NotStartedError(text % {"flow": found.key}, reason="unpublished")
    return FlowReference(found.key, found.name, found.pk), parse(version.document)


def _check_object(about: FlowReference, document: Document, obj: models.Model) -> None:
    if problem := why_nameless(obj):
        raise NotStartedError(problem, reason="object")
    check_object_type(about.key, document.object or "", obj)


class _Last(Recorder):
    """Keeps the last call only: each becomes a step of the dry run at once."""

    __slots__ = ("call",)

    def __init__(self) -> None:
        super().__init__()
        self.call: Call | None = None

    def add(self, call: Call) -> None:
        self.call = call

    def take_last(self) -> Call | None:
        call, self.call = self.call, None
        return call


@dataclass(slots=True, kw_only=True)
class _Show:
    """Executes one dry run inside of the transactions that are rolled back after it."""

    activation: Activation
    history: _Last
    object: RunObject
    clock: ManualClock
    events: Mapping[str, Mapping[str, Any]]
    inserted: list[FlowRun]
    most_calls: int
    until: float
    steps: list[DryRunStep] = field(default_factory=list)
    #: The number of the call that an event has woken.
    _woken_call: int = -1

    def execute(self) -> DryRun:
        began_at = self.clock.now()
        try:
            stop = self._advance()
        except Error as error:
            stop = self.activation.give_up(error)
        return self._result(stop, began_at)

    def _advance(self) -> Stop | None:
        """Call steps up to the end, or what cannot be passed; None where it takes too long."""
        while not self._is_over():
            bound = self.activation.next_step()
            stop = bound if isinstance(bound, Stop) else self._call(bound)
            if stop is CONTINUE:
                continue
            if stop.kind is StopKind.YIELDED:
                self.activation.renew_budget()
            elif stop.kind is not StopKind.SUSPENDED or not self._pass(stop):
                return stop
        return None

    def _is_over(self) -> bool:
        return self.activation.calls >= self.most_calls or time.monotonic() > self.until

    def _call(self, bound: BoundStep) -> Stop | Continue:
        self.inserted.clear()
        config: Mapping[str, Any] = {}
        if bound.effects is Effects.EXTERNAL:
            shown, instead = uncalled(bound)
            stop = self.activation.call(shown)
            config = instead.shown
            self.object.forget()
        elif bound.effects is Effects.DATABASE:
            stop = self._call_in_savepoint(bound)
        else:
            stop = self.activation.call(bound)
        if (call := self.history.take_last()) is not None:
            self.steps.append(self._step(bound, call, config))
        return stop

    def _step(self, bound: BoundStep, call: Call, config: Mapping[str, Any]) -> DryRunStep:
        return DryRunStep(
            entry=entry_of(call),
            effects=bound.effects,
            is_called=bound.effects is not Effects.EXTERNAL,
            config=config,
            started=tuple(
                StartedFlow(key=run.flow.key, name=run.flow.name, object=run.object_text)
                for run in self.inserted
            ),
        )

    def _call_in_savepoint(self, bound: BoundStep) -> Stop | Continue:
        """Call a step that writes; what a failed one has written is undone at once."""
        before, guard = self.activation.snapshot(), self.activation.guard
        try:
            with savepoints() as undo, self.object:
                stop = self.activation.call(bound)
                if guard.has_lost_transaction:
                    return self.activation.give_up(EffectsError(guard.complaint))
                if stop is not CONTINUE and (stop.error or stop.outcome == Outcome.OBSOLETE):
                    undo()
                elif connection().needs_rollback or self.object.is_spoiled:
                    raise EffectsError(SWALLOWED)  # noqa: TRY301 - as the driver does
        except (Error, EffectsError) as error:
            self.activation.restore(before)
            return self.activation.fail(bound, error)
        return stop

    def _pass(self, stop: Stop) -> bool:
        """Pass a wait, and note how at the last step; return whether that is possible."""
        wait = stop.wait or Wait()
        found = self._wakeup(stop, wait)
        if self.steps:
            passed = found[0] if found else None
            self.steps[-1] = replace(self.steps[-1], wait=wait, passed=passed)
        if found is None:
            return False
        self.object.forget()
        self.activation.wake(found[1])
        return True

    def _wakeup(self, stop: Stop, wait: Wait) -> tuple[Passed, Wakeup] | None:
        """Return what ends a wait, with the clock moved to then; None where nothing does."""
        if stop.error is None and (wakeup := self._event(wait.trigger or "")):
            return Passed.EVENT, wakeup
        if wait.child is not None:
            wakeup = Wakeup(kind="child", outcome=Outcome.COMPLETE.value, child=wait.child)
            return Passed.CHILD, wakeup
        if (due := wait.due_at) is None:
            return None
        self.clock.set(max(due, self.clock.now()))
        if stop.error is not None:
            return Passed.RETRY, Wakeup(kind="time")
        if wait.until is not None and wait.until <= due:
            return Passed.TIME, Wakeup(kind="time")
        return Passed.TIMEOUT, Wakeup(kind="timeout")

    def _event(self, trigger: str) -> Wakeup | None:
        """Return the chosen event; None where the step has just refused it and waits again."""
        payload, calls = self.events.get(trigger), self.activation.calls
        if payload is None or self._woken_call == calls:
            return None
        self._woken_call = calls + 1
        return Wakeup(kind="trigger", trigger=trigger, payload=payload)

    def _result(self, stop: Stop | None, began_at: datetime) -> DryRun:
        return DryRun(
            end=DryRunEnd.CUT if stop is None else _ENDS[stop.kind],
            outcome="" if stop is None else stop.outcome,
            reason=self._reason(stop),
            error=None if stop is None else stop.error,
            steps=tuple(self.steps),
            state=self.activation.context.state.to_json(),
            began_at=began_at,
            ended_at=self.clock.now(),
        )

    def _reason(self, stop: Stop | None) -> str:
        if stop is None:
            text = gettext(
                "The dry run was cut after %(calls)d calls: it is bounded in calls and in time."
            )
            return text % {"calls": self.activation.calls}
        if stop.kind is StopKind.SUSPENDED and stop.wait is not None:
            text = gettext(
                "The run would wait for “%(trigger)s” without a limit. Choose that the event "
                "arrives, to see what follows."
            )
            return text % {"trigger": stop.wait.trigger}
        return str(stop.reason)


_ENDS = {
    StopKind.SUSPENDED: DryRunEnd.WAITING,
    StopKind.BLOCKED: DryRunEnd.BLOCKED,
    StopKind.ENDED: DryRunEnd.DONE,
    StopKind.FAILED: DryRunEnd.DONE,
}
