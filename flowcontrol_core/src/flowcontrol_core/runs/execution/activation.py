"""One run being executed, in memory: calls actions, moves the cursor, records the calls.

It knows no table. What has to be written, and when, is the driver's part; the same class executes
runs without any database for ``flowcontrol.testing``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from types import CoroutineType
from typing import Any

from django.db import InterfaceError, OperationalError
from django.utils.functional import SimpleLazyObject

from flowcontrol_core import bounds
from flowcontrol_core.actions.base import Effects
from flowcontrol_core.actions.bound_step import BoundStep
from flowcontrol_core.actions.context import RunContext, Wakeup
from flowcontrol_core.actions.secrets import Ask, resolve
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
    given_back,
    resume,
)
from flowcontrol_core.errors import (
    DirectiveError,
    EffectsError,
    ExpressionError,
    MissingSecretError,
    UnknownActionError,
    UnknownFilterError,
    UnmigratedError,
    causes,
    raise_interruption,
)
from flowcontrol_core.expressions import Scope
from flowcontrol_core.models import NO_REASON, Outcome, Reason
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.redaction import IN_USE, MIN_LENGTH, hiding, redact, secrets_in
from flowcontrol_core.runs.execution.coroutines import finish, overrun
from flowcontrol_core.runs.execution.failures import (
    CONTINUE,
    NEEDS_DATABASE,
    NEEDS_EXTERNAL,
    Continue,
    Stop,
    StopKind,
    describe,
    errored,
    one_line,
    retry_after,
)
from flowcontrol_core.runs.store import needs
from flowcontrol_core.runs.store.clock import Clock
from flowcontrol_core.runs.store.compiled import CompiledFlow
from flowcontrol_core.runs.store.connection import is_of_own_database
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.objects import ObjectGone
from flowcontrol_core.tables import explain
from flowcontrol_core.zones import in_zone

logger = logging.getLogger("flowcontrol.runs")
#: The run whose action is being called in this thread: what it starts is deeper by one.
executing: ContextVar[RunContext | None] = ContextVar("flowcontrol_executing", default=None)


class RunScope(Scope):
    """What the expressions of a run see: always the present situation, nothing copied."""

    __slots__ = ("_context",)

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self.secrets = {}

    obj = property(lambda self: self._context.object)
    state = property(lambda self: self._context.state.peek())
    now = property(lambda self: self._context.now.astimezone(self._context.time_zone))
    payload = property(lambda self: _payload(self._context))
    variables = property(lambda self: {})


def _payload(context: RunContext) -> Mapping[str, Any]:
    """Return the payload of the trigger that has just woken the run, or that started it."""
    wakeup = context.wakeup
    return wakeup.payload if wakeup is not None and wakeup.kind == "trigger" else context.payload


class Budget:
    """How many calls, and how much time, an activation may take before others have their turn."""

    __slots__ = ("_calls", "_most", "_until", "timeout")

    def __init__(self, calls: int = 0) -> None:
        settings = get_settings()
        self._calls = calls
        self._most = calls + settings.STEPS_PER_ACTIVATION
        self._until = time.monotonic() + settings.LEASE / 4
        #: The longest time in seconds that a call may take whose step names none.
        self.timeout = settings.STEP_TIMEOUT

    def is_used_up(self, calls: int) -> bool:
        """Return whether no further call may follow this many; one may be made in any case."""
        return calls >= self._most or (calls > self._calls and time.monotonic() > self._until)


@dataclass(slots=True, kw_only=True)
class Activation:
    """The stretch of a run from being claimed to suspending or ending.

    ``context`` is what its actions see of the run, ``scope`` what its expressions see;
    ``sequence`` counts the steps that it has finished, ``attempt`` its executions since the last
    checkpoint, ``calls`` those of actions; ``changed_at`` is the last of them that has changed
    more than what its step keeps to itself, and loses when it is left.
    """

    context: RunContext
    scope: RunScope
    compiled: CompiledFlow
    clock: Clock
    guard: CallGuard
    cursor: Cursor = ()
    sequence: int = 0
    attempt: int = 1
    started: bool = False
    has_object: bool = False
    #: Whether failures are logged: not where nothing has failed in earnest.
    logs: bool = True
    ask: Ask = plugin_manager.secret
    history: Recorder = field(default_factory=Recorder)
    calls: int = 0
    changed_at: int = 0
    #: By the depth of the cursor: the calls that have last entered a branch there, and before which
    #: nothing has changed since.
    _entered: dict[int, tuple[int, int]] = field(default_factory=dict, init=False)
    budget: Budget = field(default_factory=Budget)

    def renew_budget(self) -> None:
        """Begin the budget anew: what other runs have taken is not this one's."""
        self.budget = Budget(self.calls)

    def wake(self, wakeup: Wakeup | None) -> None:
        """Set what woke the run, for a call that repeats its own suspension.

        Its retries keep it. Neither the step after a suspension nor a retry's own timer has one.
        """
        top = self.cursor[-1] if self.cursor else None
        if top is None or top.phase == "after":
            self.context.wakeup = None
        elif top.wakeup or top.tries:
            self.context.wakeup = Wakeup(**top.wakeup) if top.wakeup else None
        else:
            self.context.wakeup = wakeup

    def go_to(self, cursor: Cursor) -> None:
        """Continue at another step than the present one."""
        self.context.state.give_back(given_back(self.cursor, cursor))
        self.cursor, self.started = cursor, True
        self.context.wakeup = None

    def run_in_memory(self) -> Stop:
        """Execute steps that need no database, up to the first thing that does."""
        while True:
            step = self.next_step()
            if isinstance(step, Stop):
                return step
            if step.effects is not Effects.NONE:
                return NEEDS_DATABASE if step.effects is Effects.DATABASE else NEEDS_EXTERNAL
            stop = self.call(step)
            if stop is not CONTINUE:
                return stop

    def next_step(self) -> BoundStep | Stop:
        """Return the step to call next, bound to its action, or why there is none."""
        program = self.compiled.program
        stop: Stop | Continue = CONTINUE
        if not self.started:
            self.started = True
            stop = self._move(begin(program))
        elif self.cursor and self.cursor[-1].phase == "after":
            position = resume(program, self.cursor)
            self._release(self.cursor, position)
            stop = self._move(position)
        if stop is CONTINUE and self.compiled.guard is not None:
            stop = self.check_guard()
        if stop is CONTINUE and self.budget.is_used_up(self.calls):
            stop = Stop(kind=StopKind.YIELDED, reason=Reason("yielded"))
        return self._bind() if stop is CONTINUE else stop

    def call(self, bound: BoundStep) -> Stop | Continue:
        """Call the action of the step on top of the cursor once.

        Errors of the action become a Stop; errors of the database that concern the transaction
        around it are raised on.
        """
        if bound.secrets and not self.scope.secrets:
            return self._call_with_secrets(bound)
        frame = self.cursor[-1]
        context = self._enter_step(bound, frame)
        method = bound.action.run if frame.phase == "run" else bound.action.return_from_children
        # Most actions use the state only: the object is read when one touches it.
        obj = SimpleLazyObject(context.load_object) if self.has_object else None
        config = bound.config.at(self.scope)
        writes = bound.effects is not Effects.NONE
        timeout = bound.timeout or self.budget.timeout
        surroundings = self.guard.begin(context.time_zone, executing, context, writes=writes)
        if bound.secrets:
            # What the action logs is redacted in there.
            surroundings.run(IN_USE.set, IN_USE.get())
        begun = context.alive_at
        try:
            answer = surroundings.run(method, run=context, obj=obj, config=config)
            if isinstance(answer, CoroutineType):
                _check_awaitable(answer, bound)
                answer = surroundings.run(finish, answer, context, config, timeout)
            ended = time.perf_counter()
            if ended - context.alive_at > timeout:
                raise overrun(ended - context.alive_at, timeout)  # noqa: TRY301
            directive = FlowDirective.CONTINUE if answer is None else _checked(answer, bound)
            memo = normalize(context.memo, "memo") if context.memo else {}
            top = Frame(
                frame.step, frame.phase, frame.branch, memo, context.hidden, 0, frame.passes
            )
            before = (*self.cursor[:-1], top)
            position = advance(self.compiled.program, before, directive, self.compiled.is_loop)
            if not self.guard.end(whole=writes):
                raise EffectsError(self.guard.complaint)  # noqa: TRY301 - as if the action had raised it
            # Last, because from here on the changes of the state stand.
            changes = context.state.take_changes()
        except BaseException as error:  # noqa: BLE001 - whatever an action raises fails its step
            context.state.undo_changes()
            if self.guard.has_closed:
                # Any error of the database follows from it.
                self.guard.end(whole=writes)
                return self.fail(bound, EffectsError(self.guard.complaint), begun)
            try:
                stop = self._not_the_step(error)
            finally:
                # Not before: it may close the connection whose state says whose fault it is.
                self.guard.end(whole=writes)
            return stop or self.fail(bound, error, begun)
        self._record(bound, frame, directive, ended - begun, changes)
        has_acted = writes or (bool(changes) and not changes.keys() <= context.hidden.keys())
        is_idle = not changes and memo == frame.memo
        return self._continue(before, position, directive, has_acted=has_acted, is_idle=is_idle)

    def _call_with_secrets(self, bound: BoundStep) -> Stop | Continue:
        """Call an action with the secrets that its configuration refers to, and forget them."""
        try:
            secrets = resolve(bound.secrets, self.ask)
        except MissingSecretError as error:
            # The call is not made.
            self.cursor = (*self.cursor[:-1], self._top_with(calling=False))
            values = {"step": bound.step.id, "action": bound.key, "secret": error.name}
            reason = Reason("missing_secret", values)
            missing = needs.secret_key(error.name)
            return Stop(kind=StopKind.BLOCKED, blocked_on=missing, reason=reason)
        self.scope.secrets = secrets
        try:
            with hiding(secrets):
                return self.call(bound)
        finally:
            self.scope.secrets = {}

    def fail(self, bound: BoundStep, error: BaseException, begun: float | None = None) -> Stop:
        """Return the stop for a failed call of the step on top: retried later, or the end.

        It is logged in one line; the history has the traceback.
        """
        seconds = 0.0 if begun is None else time.perf_counter() - begun
        frame = self.cursor[-1]
        tries = frame.tries + 1
        secrets = self._secrets(bound)
        line = one_line(error, secrets)
        self._record(bound, frame, None, seconds, {}, error=line)
        described = describe(error, frame.step, bound.key, secrets)
        self.cursor = (*self.cursor[:-1], self._top_with(tries=tries, calling=False))
        values = {"step": frame.step, "action": bound.key, "error": line}
        wait = retry_after(bound.step.retry, error, tries)
        self._log_failure("failed" if wait is None else "failed and will be retried", line)
        if wait is None:
            reason = Reason("step_failed", values)
            return Stop(
                kind=StopKind.FAILED,
                outcome=Outcome.ERRORED,
                reason=reason,
                error=described,
                cause=error,
            )
        return Stop(
            kind=StopKind.SUSPENDED,
            wait=Wait(until=self.context.now + timedelta(seconds=wait)),
            reason=Reason("step_retried", values),
            error=described,
            cause=error,
        )

    def give_up(self, error: BaseException, reason: Reason | None = None) -> Stop:
        """Return the stop for an error around the step on top, such as a commit that failed."""
        step = self.cursor[-1].step if self.cursor else ""
        self._log_failure("cannot continue", redact(one_line(error), self._known_secrets()))
        return errored(error, step, self._known_secrets(), reason)

    def _log_failure(self, what: str, line: str) -> None:
        """Write in one line of the log what went wrong with the step on top."""
        if not self.logs:
            return
        context, step = self.context, self.cursor[-1].step if self.cursor else ""
        found = self.compiled.program.nodes.get(step)
        logger.warning(
            "Run %s of the flow %s: step %s (%s) %s at attempt %s: %s",
            context.pk or context.uuid,
            context.flow.key,
            step or "-",
            found.step.action if found else "-",
            what,
            context.attempt,
            line,
        )

    def snapshot(self) -> Any:
        """Return where the run is in memory, to be given to ``restore``."""
        return (
            self.cursor,
            self.context.state.snapshot(),
            self.history.snapshot(),
            self.sequence,
            self.started,
            self.context.wakeup,
        )

    def restore(self, snapshot: Any) -> None:
        """Put the run back to where it was: what came after it was rolled back."""
        self.cursor, state, history, self.sequence, self.started, self.context.wakeup = snapshot
        self.context.state.restore(state)
        self.history.restore(history)

    def mark_calling(self) -> None:
        """Note that the external call of the step on top is about to be made."""
        self.cursor = (*self.cursor[:-1], self._top_with(calling=True))

    def _top_with(self, **changes: Any) -> Frame:
        """Return the frame on top, changed, with what woke the run for the call to come."""
        wakeup = self.context.wakeup
        kept = asdict(wakeup) if wakeup is not None else None
        return self.cursor[-1]._replace(wakeup=kept, **changes)

    def _not_the_step(self, error: BaseException) -> Stop | None:
        """Return a stop where the step is not to blame, because its object is gone.

        An interruption and a failure of the runs' own database are raised. An expression that
        reads the object raises its own error from either of them.
        """
        raise_interruption(error)
        for cause in causes(error):
            if isinstance(cause, ObjectGone):
                return Stop(kind=StopKind.ENDED, outcome=Outcome.OBSOLETE, reason=cause.reason)
            if is_of_own_database(cause):
                # Its own cause says what kind of failure it is.
                raise cause from cause.__cause__
        return None

    def _enter_step(self, bound: BoundStep, frame: Frame) -> RunContext:
        context = self.context
        context.now = self.clock.now()
        context.alive_at = time.perf_counter()
        # A copy through and through: a failed call leaves the memo as it was.
        context.memo = private_copy(frame.memo) if frame.memo else {}
        context.hidden = frame.hidden
        context.sequence = self.sequence
        context.attempt = frame.tries + self.attempt
        context.step = frame.step
        timeout = bound.timeout
        context.deadline = None if timeout is None else context.now + timedelta(seconds=timeout)
        if context.messages:
            context.messages = []
        self.calls += 1
        return context

    def _continue(
        self,
        before: Cursor,
        position: Position,
        directive: FlowDirective,
        *,
        has_acted: bool,
        is_idle: bool,
    ) -> Stop | Continue:
        self.context.wakeup = None
        self.sequence += 1
        if has_acted or directive.wait is not None:
            self.changed_at = self.calls
        if directive.wait is not None:
            self.cursor = position if isinstance(position, tuple) else ()
            return Stop(kind=StopKind.SUSPENDED, wait=directive.wait)
        if len(before) > 1 or before[-1].hidden:
            self._release(before, position)
        if directive.kind is Kind.ENTER and (reason := self._why_endless(before, is_idle=is_idle)):
            self.cursor = before
            return self.give_up(DirectiveError(str(reason)), reason)
        is_stopped = directive.kind is Kind.ABORT
        return self._move(position, self._aborted(directive) if is_stopped else NO_REASON)

    def _why_endless(self, cursor: Cursor, *, is_idle: bool) -> Reason:
        """Return why a step may not enter a branch once more; without a code: it may.

        What steps inside of it have counted for themselves meanwhile does not exist any more, and
        counts for nothing here; what it has counted itself, or what has changed for others, is.
        """
        frame = cursor[-1]
        if frame.passes >= (most := get_settings().MAX_ITERATIONS):
            return Reason.of("max_iterations", step=frame.step, most=most)
        depth = len(cursor)
        last, idle_since = self._entered.get(depth, (0, 0))
        if not is_idle or not frame.passes or self.changed_at > last:
            idle_since = self.calls - 1
        self._entered[depth] = self.calls, idle_since
        if self.calls - idle_since >= bounds.IDLE_CALLS:
            return Reason.of("idle_loop", step=frame.step, most=bounds.IDLE_CALLS)
        return NO_REASON

    def _aborted(self, directive: FlowDirective) -> Reason:
        """Return why the run ends: the step on top stops it."""
        step = self.compiled.program.nodes[self.cursor[-1].step].step
        return Reason.of("aborted", directive.reason, step=step.id, action=step.action)

    def _release(self, before: Cursor, position: Position) -> None:
        """Put back what the variables of the frames that were left have hidden."""
        is_left = isinstance(position, End) or len(position) < len(before)
        if (is_left or before[-1].hidden) and (hidden := given_back(before, position)):
            self.context.state.give_back(hidden)

    def _move(self, position: Position, reason: Reason = NO_REASON) -> Stop | Continue:
        if not isinstance(position, End):
            self.cursor = position
            return CONTINUE
        self.cursor = ()
        return Stop(kind=StopKind.ENDED, outcome=position.value, reason=reason)

    def check_guard(self) -> Stop | Continue:
        """Return the stop of a run whose guard is false, or cannot be evaluated."""
        guard = self.compiled.guard
        try:
            self.context.now = self.clock.now()
            # Steps are called in the zone of their flow, each in a context of its own.
            with in_zone(self.compiled.zone):
                if guard is None or guard.test(self.scope):
                    return CONTINUE
        except (ExpressionError, ObjectGone) as error:
            if isinstance(error, UnknownFilterError):
                return _missing_filter(error)
            if (stop := self._not_the_step(error)) is not None:
                return stop
            if any(isinstance(cause, OperationalError | InterfaceError) for cause in causes(error)):
                return self._fail_at_guard(error)
            line = one_line(error, self._known_secrets())
            return self.give_up(error, Reason.of("guard_failed", error=line))
        return Stop(
            kind=StopKind.ENDED,
            outcome=Outcome.OBSOLETE,
            reason=Reason.of("guard_false", guard=guard.source),
        )

    def _fail_at_guard(self, error: Exception) -> Stop:
        """Return the stop for a guard whose object cannot be read now: its step may be retried."""
        bound = self._bind()
        return bound if isinstance(bound, Stop) else self.fail(bound, error)

    def _bind(self) -> BoundStep | Stop:
        step_id = self.cursor[-1].step
        try:
            return self.compiled.bound(step_id)
        except DirectiveError as error:
            return self.give_up(error)
        except UnknownActionError as error:
            plugin = error.key.partition(".")[0]
            reason = Reason.of("missing_action", action=error.key, plugin=plugin)
            return self._blocked(reason, error.key)
        except UnmigratedError as error:
            return self._blocked(*_missing_migration(error))
        except BaseException as error:
            # A form may raise anything.
            raise_interruption(error)
            if is_of_own_database(error):
                raise
            for cause in causes(error):
                if isinstance(cause, UnknownFilterError):
                    return _missing_filter(cause)
            text = one_line(error, self._known_secrets())
            reason = Reason.of("invalid_config", step=step_id, error=text)
            return replace(self._blocked(reason), cause=error)

    def _blocked(self, reason: Reason, missing: str | None = None) -> Stop:
        """Return the stop of a run that cannot call its step; the call to come keeps what woke it.

        ``missing`` is the key of what it lacks (see ``needs``), if that is known.
        """
        self.cursor = (*self.cursor[:-1], self._top_with())
        return Stop(kind=StopKind.BLOCKED, blocked_on=missing, reason=reason)

    def explained(self, stop: Stop) -> Stop:
        """Return the stop to be written for one with an error, outside of what has failed.

        Where migrations that are not applied are the cause, the run waits for them: the call does
        not count as a try, and neither does the policy of its step.
        """
        found = None if stop.cause is None else self._unmigrated(stop.cause)
        if found is None:
            return stop
        if stop.reason.code in ("step_failed", "step_retried"):
            tries = self.cursor[-1].tries - 1
            self.cursor = (*self.cursor[:-1], self._top_with(tries=tries))
        reason, missing = _missing_migration(found)
        return Stop(kind=StopKind.BLOCKED, reason=reason, blocked_on=missing, error=stop.error)

    def _unmigrated(self, cause: BaseException) -> UnmigratedError | None:
        """Return the migrations that are not applied and have made a call fail, if that is so."""
        source = self.compiled.source
        node = self.compiled.program.nodes.get(self.cursor[-1].step) if self.cursor else None
        if node is None or not source.knows_action(node.step.action):
            return explain(cause)
        return explain(cause, type(source.get_action(node.step.action).action).__module__)

    def _secrets(self, bound: BoundStep) -> list[str]:
        """Return what must not be read in the history of a call."""
        configured = {name: bound.config.source(name) for name in bound.action.secret_fields}
        found = [str(value) for value in configured.values() if value is not None]
        return [text for text in found if len(text) >= MIN_LENGTH] + self._known_secrets()

    def _known_secrets(self) -> list[str]:
        """Return what must not be read in the history of the run."""
        return [*secrets_in(self.context.state.peek()), *secrets_in(self.context.payload)]

    def _record(
        self,
        bound: BoundStep,
        frame: Frame,
        directive: FlowDirective | None,
        seconds: float,
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
                seconds=seconds,
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


def _missing_migration(error: UnmigratedError) -> tuple[Reason, str]:
    """Return why a run waits for the migrations of an app, and the key of what it waits for."""
    values = {"app": error.app, "migrations": error.migrations, "command": error.command}
    return Reason("missing_migration", values), needs.migration_key(error.app)


def _missing_filter(error: UnknownFilterError) -> Stop:
    """Return the stop of a run that waits for the plugin of a filter, as for that of an action."""
    reason = Reason.of("missing_filter", filter=error.key)
    return Stop(kind=StopKind.BLOCKED, blocked_on=error.key, reason=reason)


def _check_awaitable(answer: CoroutineType[Any, Any, Any], bound: BoundStep) -> None:
    """Raise DirectiveError for a coroutine of an action that must not have one."""
    if bound.effects is not Effects.EXTERNAL:
        answer.close()
        raise DirectiveError(
            f"The action {bound.key!r} returned a coroutine. Declare Effects.EXTERNAL, or do "
            "without `async`."
        )


def _checked(answer: Any, bound: BoundStep) -> FlowDirective:
    """Return what an action has answered; raise DirectiveError for what is not possible."""
    if not isinstance(answer, FlowDirective):
        raise DirectiveError(
            f"The action {bound.key!r} returned {answer!r}; it has to return None or a "
            "FlowDirective."
        )
    if answer.kind is Kind.ENTER:
        branch, names = answer.branch or bound.branch, bound.action.branch_names()
        if branch not in names:
            raise DirectiveError(
                f"The action {bound.key!r} enters the branch {branch!r}, but its branches are "
                f"{', '.join(names) or 'none'}."
            )
        return answer if answer.branch else FlowDirective(Kind.ENTER, branch=branch)
    if answer.reason:
        normalize(answer.reason, "reason")
    suspends = answer.kind in (Kind.SUSPEND, Kind.SUSPEND_AND_REPEAT)
    if suspends and not isinstance(answer.wait, Wait):
        raise DirectiveError(
            f"The action {bound.key!r} suspends without naming what wakes the run; return "
            "run.suspend(...)."
        )
    return answer
