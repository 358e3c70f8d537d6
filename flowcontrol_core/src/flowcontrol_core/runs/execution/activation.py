"""One run being executed, in memory: calls actions, moves the cursor, notes what happened.

It knows no table. What has to be written, and when, is the driver's business; the same class
executes runs without any database for ``flowcontrol.testing``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from django.db import DatabaseError
from django.utils.functional import SimpleLazyObject

from flowcontrol_core.actions.base import Effects
from flowcontrol_core.actions.bound_step import BoundStep
from flowcontrol_core.actions.context import FlowReference, RunContext, Wakeup
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import normalize, private_copy
from flowcontrol_core.engine.cursor import Cursor, Frame
from flowcontrol_core.engine.directives import FlowDirective, Kind, Wait
from flowcontrol_core.engine.history import Call, Recorder
from flowcontrol_core.engine.interpreter import (
    End,
    Position,
    advance,
    begin,
    released_variables,
    resume,
)
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import (
    DirectiveError,
    ExpressionError,
    FlowcontrolError,
    UnknownActionError,
)
from flowcontrol_core.expressions import Expression, Scope
from flowcontrol_core.redaction import MIN_LENGTH, redact, secrets_in
from flowcontrol_core.runs.execution.failures import causes, describe, one_line, retry_after
from flowcontrol_core.runs.store.clock import Clock
from flowcontrol_core.runs.store.compiled import CompiledFlow
from flowcontrol_core.runs.store.connection import WriteGuard, is_lost_connection, is_transient
from flowcontrol_core.runs.store.objects import ObjectGone


class StopKind(Enum):
    """Why an activation cannot go on in memory."""

    NEEDS = "needs"
    SUSPENDED = "suspended"
    ENDED = "ended"
    FAILED = "failed"
    BLOCKED = "blocked"
    YIELDED = "yielded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where an activation stopped, and why.

    ``outcome`` is one of DESIGN section 7 (``complete`` ...); ``blocked_on`` the key of a missing
    action; ``error`` has type, message, traceback, step and action.
    """

    kind: StopKind
    effects: Effects | None = None
    wait: Wait | None = None
    outcome: str = ""
    reason: str = ""
    blocked_on: str | None = None
    error: Mapping[str, Any] | None = None
    #: The time-out in seconds of the call that is about to be made, where it has one of its own.
    timeout: float | None = None


NEEDS_DATABASE = Stop(kind=StopKind.NEEDS, effects=Effects.DATABASE)
NEEDS_EXTERNAL = Stop(kind=StopKind.NEEDS, effects=Effects.EXTERNAL)


class RunScope(Scope):
    """What the expressions of a run see: always the present situation, nothing copied."""

    __slots__ = ("_context",)

    def __init__(self, context: RunContext) -> None:
        self._context = context

    obj = property(lambda self: self._context.object)
    state = property(lambda self: self._context.state.peek())
    now = property(lambda self: self._context.now.astimezone(self._context.time_zone))
    payload = property(lambda self: _payload(self._context))
    variables = property(lambda self: {})


def _payload(context: RunContext) -> Mapping[str, Any]:
    """Give the payload of the trigger that has just woken the run, or that started it."""
    wakeup = context.wakeup
    return wakeup.payload if wakeup is not None and wakeup.kind == "trigger" else context.payload


_SUSPENDING = (Kind.SUSPEND, Kind.SUSPEND_AND_REPEAT)
#: The run whose action is being called in this thread: what it starts is deeper by one.
executing: ContextVar[RunContext | None] = ContextVar("flowcontrol_executing", default=None)


@dataclass(slots=True, kw_only=True)
class Activation:
    """The stretch of a run from being claimed to suspending or ending."""

    uuid: uuid.UUID
    flow: FlowReference
    compiled: CompiledFlow
    clock: Clock
    guard: WriteGuard
    cursor: Cursor
    state: State
    sequence: int = 0
    attempt: int = 1
    started: bool = False
    has_object: bool = False
    load_object: Callable[[], Any] = lambda: None
    context: RunContext = field(init=False)
    scope: Scope = field(init=False)
    history: Recorder = field(default_factory=Recorder)
    calls: int = 0
    #: After how many calls, and at which monotonic time, it lets others go first.
    _most_calls: int = field(init=False)
    _begun_with: int = field(init=False)
    _until: float = field(init=False)

    def prepare(
        self,
        *,
        pk: int | None = None,
        depth: int = 0,
        trigger: str = "",
        payload: Mapping[str, Any] | None = None,
        wakeup: Wakeup | None = None,
        lock: Callable[[], Any] | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        """Make what actions and expressions see of the run."""
        self.context = RunContext(
            uuid=self.uuid,
            flow=self.flow,
            state=self.state,
            now=self.clock.now(),
            time_zone=self.compiled.zone,
            pk=pk,
            depth=depth,
            trigger=trigger,
            payload=payload or {},
            load_object=self.load_object,
        )
        if lock is not None:
            self.context.lock = lock
        if beat is not None:
            self.context.beat = beat
        self.scope = RunScope(self.context)
        self.renew_budget()
        self.wake(wakeup)

    def renew_budget(self) -> None:
        """Allow as many calls, and as much time, as an activation may take."""
        settings = get_settings()
        self._begun_with = self.calls
        self._most_calls = self.calls + settings.STEPS_PER_ACTIVATION
        self._until = time.monotonic() + settings.LEASE / 4

    def wake(self, wakeup: Wakeup | None) -> None:
        """Say what woke the run; a call that is made again keeps what it was woken by at first."""
        kept = self.cursor[-1].wakeup if self.cursor else None
        self.context.wakeup = Wakeup(**kept) if kept else wakeup

    def run_in_memory(self) -> Stop:
        """Execute steps that need no database, up to the first thing that does."""
        while True:
            stop = self.look()
            if isinstance(stop, Stop):
                return stop
            if stop.effects is not Effects.NONE:
                return NEEDS_DATABASE if stop.effects is Effects.DATABASE else NEEDS_EXTERNAL
            ended = self.call(stop)
            if ended is not None:
                return ended

    def look(self) -> BoundStep | Stop:
        """Give the step to call next, bound, or why there is none."""
        if not self.started:
            self.started = True
            stop = self._move(begin(self.compiled.program))
        elif self.cursor and self.cursor[-1].phase == "after":
            position = resume(self.compiled.program, self.cursor)
            self._release(self.cursor, position)
            stop = self._move(position)
        else:
            stop = None
        if stop is None and self.compiled.guard is not None:
            stop = self._check_guard(self.compiled.guard)
        return stop or self._check_budget() or self._bind()

    def call(self, bound: BoundStep) -> Stop | None:
        """Call the action of the step on top of the cursor once; ``None``: there is more to do.

        Errors of the action become a Stop; errors of the database that concern the transaction
        around it are raised on.
        """
        frame = self.cursor[-1]
        context = self._enter_step(bound, frame)
        method = bound.action.run if frame.phase == "run" else bound.action.return_from_children
        # Most actions look at the state only: the object is read when one touches it.
        obj = SimpleLazyObject(self.load_object) if self.has_object else None
        begun = time.perf_counter()
        self.guard.armed = bound.effects is Effects.NONE
        token = executing.set(context)
        try:
            answer = method(run=context, obj=obj, config=bound.config.at(self.scope))
            directive = self._directive(answer, bound)
            memo = context.normalized_memo()
            top = Frame(
                frame.step, frame.phase, frame.branch, memo, context.variables, 0, frame.passes
            )
            before = (*self.cursor[:-1], top)
            position = advance(self.compiled.program, before, directive, self.compiled.is_loop)
            # Last, because from here on the changes of the state stand.
            changes = self.state.take_changes()
        except Exception as error:  # noqa: BLE001 - whatever an action raises fails its step
            self.state.undo_changes()
            return self._not_the_step(error) or self.fail(bound, error, begun)
        finally:
            executing.reset(token)
            self.guard.armed = False
        self._note(bound, frame, directive, begun, changes)
        return self._go_on(before, position, directive)

    def _not_the_step(self, error: Exception) -> Stop | None:
        """Look whether the step is not to blame: its object is gone, or the database failed.

        The latter is raised. An expression that reads the object hides both behind its own error.
        """
        for cause in causes(error):
            if isinstance(cause, ObjectGone):
                return Stop(kind=StopKind.ENDED, outcome="obsolete", reason=str(cause))
            if is_transient(cause) or is_lost_connection(cause):
                # Its own cause says what kind of trouble it is.
                raise cause from cause.__cause__
        return None

    def give_up(self, error: BaseException) -> Stop:
        """Give the stop for an error around the step on top, such as a commit that failed."""
        return Stop(
            kind=StopKind.FAILED,
            outcome="errored",
            reason=redact(one_line(error), secrets_in(self.state.peek())),
            error=describe(error, self.cursor[-1].step if self.cursor else "", ""),
        )

    def snapshot(self) -> Any:
        """Remember where the run is in memory, to be given to ``restore``."""
        return (
            self.cursor,
            self.state.snapshot(),
            self.history.snapshot(),
            self.sequence,
            self.started,
            self.context.wakeup,
        )

    def restore(self, snapshot: Any) -> None:
        """Go back to where the run was: what came after it was rolled back."""
        self.cursor, state, history, self.sequence, self.started, self.context.wakeup = snapshot
        self.state.restore(state)
        self.history.restore(history)

    def mark_calling(self) -> None:
        """Note that the external call of the step on top is about to be made."""
        self.cursor = (*self.cursor[:-1], self._noting(calling=True))

    def _noting(self, **notes: Any) -> Frame:
        """Give the frame on top with notes, and with what woke the run for the call to come."""
        wakeup = self.context.wakeup
        kept = asdict(wakeup) if wakeup is not None else None
        return self.cursor[-1]._replace(wakeup=kept, **notes)

    def _enter_step(self, bound: BoundStep, frame: Frame) -> RunContext:
        context = self.context
        context.now = self.clock.now()
        # A copy through and through: a failed call leaves the memo as it was.
        context.memo = private_copy(frame.memo)
        context.variables = frame.variables
        context.sequence = self.sequence
        context.attempt = frame.tries + self.attempt
        context.step = frame.step
        timeout = bound.timeout
        context.deadline = None if timeout is None else context.now + timedelta(seconds=timeout)
        if context.messages:
            context.messages = []
        self.calls += 1
        return context

    def _directive(self, answer: Any, bound: BoundStep) -> FlowDirective:
        if answer is None:
            return FlowDirective.CONTINUE
        if not isinstance(answer, FlowDirective):
            raise DirectiveError(
                f"The action {bound.key!r} answered {answer!r}; it has to be None or a "
                "FlowDirective."
            )
        if answer.kind is Kind.ENTER:
            branch = answer.branch or bound.branch
            if branch not in bound.action.branch_names():
                raise DirectiveError(
                    f"The action {bound.key!r} wants to enter the branch {branch!r}, but has "
                    f"{', '.join(bound.action.branch_names()) or 'none'}."
                )
            return answer if answer.branch else FlowDirective(Kind.ENTER, branch=branch)
        if answer.reason:
            normalize(answer.reason, "reason")
        if answer.kind in _SUSPENDING and not isinstance(answer.wait, Wait):
            raise DirectiveError(
                f"The action {bound.key!r} suspends without saying what wakes the run; answer "
                "with run.suspend(...)."
            )
        return answer

    def _go_on(self, before: Cursor, position: Position, directive: FlowDirective) -> Stop | None:
        self.context.wakeup = None
        self.sequence += 1
        if directive.wait is not None:
            self.cursor = position if isinstance(position, tuple) else ()
            return Stop(kind=StopKind.SUSPENDED, wait=directive.wait)
        if isinstance(position, End) or len(position) < len(before) or before[-1].variables:
            self._release(before, position)
        if directive.kind is Kind.ENTER:
            passes = before[-1].passes + 1
            most = get_settings().MAX_ITERATIONS
            if passes > most:
                error = FlowcontrolError(
                    f"The step {before[-1].step!r} entered its branch more than {most} times "
                    "(setting MAX_ITERATIONS). Correct its condition."
                )
                self.cursor = before
                return self.give_up(error)
        return self._move(position, directive.reason)

    def _release(self, before: Cursor, position: Position) -> None:
        names = released_variables(before, position)
        for name in names:
            self.state.pop(name, None)
        if names:
            self.state.take_changes()

    def _move(self, position: Position, reason: str = "") -> Stop | None:
        if isinstance(position, End):
            self.cursor = ()
            if position is not End.COMPLETE:
                reason = reason or "A step stopped the flow."
            return Stop(kind=StopKind.ENDED, outcome=position.value, reason=reason)
        self.cursor = position
        return None

    def _check_guard(self, expression: Expression) -> Stop | None:
        try:
            self.context.now = self.clock.now()
            if expression.test(self.scope):
                return None
        except (ExpressionError, ObjectGone) as error:
            return self._not_the_step(error) or self.give_up(error)
        return Stop(
            kind=StopKind.ENDED,
            outcome="obsolete",
            reason=f"The guard condition is false: {expression.source}",
        )

    def _check_budget(self) -> Stop | None:
        if self.calls >= self._most_calls or (
            self.calls > self._begun_with and time.monotonic() > self._until
        ):
            return Stop(kind=StopKind.YIELDED, reason="A long run: it goes on in the next sweep.")
        return None

    def _bind(self) -> BoundStep | Stop:
        step_id = self.cursor[-1].step
        try:
            return self.compiled.bound(step_id)
        except DirectiveError as error:
            return self.give_up(error)
        except UnknownActionError as error:
            return Stop(kind=StopKind.BLOCKED, blocked_on=error.key, reason=str(error))
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - a form may raise anything
            return Stop(
                kind=StopKind.BLOCKED,
                reason=f"Step {step_id!r}: {one_line(error)} Correct the plugin, or publish a "
                "corrected version and move the run to it.",
            )

    def fail(self, bound: BoundStep, error: Exception, begun: float | None = None) -> Stop:
        """Give the stop for a failed call of the step on top: tried again later, or the end."""
        begun = time.perf_counter() if begun is None else begun
        frame = self.cursor[-1]
        tries = frame.tries + 1
        secrets = self._secrets(bound)
        line = redact(one_line(error), secrets)
        self._note(bound, frame, None, begun, {}, error=line)
        wait = retry_after(bound.step.retry, error, tries)
        reason = f"Step {frame.step!r} ({bound.key}) failed: {line}"
        described = describe(error, frame.step, bound.key, secrets)
        self.cursor = (*self.cursor[:-1], self._noting(tries=tries, calling=False))
        if wait is None:
            return Stop(kind=StopKind.FAILED, outcome="errored", reason=reason, error=described)
        until = self.context.now + timedelta(seconds=wait)
        return Stop(
            kind=StopKind.SUSPENDED,
            wait=Wait(until=until),
            reason=f"{reason} It is tried again.",
            error=described,
        )

    def _secrets(self, bound: BoundStep) -> list[str]:
        """Give what must not be read in the history of a call."""
        configured = {name: bound.config.source(name) for name in bound.action.secret_fields}
        found = [str(value) for value in configured.values() if value is not None]
        return [text for text in found if len(text) >= MIN_LENGTH] + [
            *secrets_in(self.state.peek()),
            *secrets_in(self.context.payload),
        ]

    def _note(
        self,
        bound: BoundStep,
        frame: Frame,
        directive: FlowDirective | None,
        begun: float,
        changes: Mapping[str, Any],
        error: str = "",
    ) -> None:
        context = self.context
        self.history.add(
            Call(
                number=self.calls,
                step=frame.step,
                action=bound.key,
                method=frame.phase,
                at=context.now,
                seconds=time.perf_counter() - begun,
                answer="failed" if directive is None else directive.kind,
                branch=None if directive is None else directive.branch,
                wait=None if directive is None else directive.wait,
                changes=changes,
                attempt=frame.tries + 1,
                messages=self._messages(bound) if context.messages else (),
                error=error,
                keep=bool(error) or bound.effects is not Effects.NONE,
            )
        )

    def _messages(self, bound: BoundStep) -> tuple[str, ...]:
        secrets = self._secrets(bound)
        return tuple(redact(message, secrets) for message in self.context.messages)
