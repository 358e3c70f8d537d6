"""Drives one run to where it suspends or ends: memory first, the database where a step needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.db import DatabaseError, transaction

from flowcontrol_core.actions.base import Effects
from flowcontrol_core.actions.bound_step import BoundStep
from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import EffectsError, FlowcontrolError
from flowcontrol_core.models import Outcome, Reason, Status
from flowcontrol_core.runs.execution import checkpoint
from flowcontrol_core.runs.execution.checkpoint import Execution, end_canceled
from flowcontrol_core.runs.execution.failures import (
    CONTINUE,
    NEEDS_DATABASE,
    WRITTEN,
    Continue,
    Stop,
    StopKind,
    Written,
)
from flowcontrol_core.runs.queue.claim import lease_until, renew
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    durable,
    is_lost_connection,
    is_row_locked,
    is_transient,
    pause,
    retrying,
    yield_lock,
)
from flowcontrol_core.runs.store.rows import CancelRequested

_TRIES = 6
_SWALLOWED = (
    "The action caught an error of the database, and all that it wrote had to be rolled back. Put "
    "what may fail into a savepoint of its own: `with transaction.atomic(): ...`."
)
#: Bounds the time of a call in seconds: after it, no lease is extended.
Watch = Callable[[float | None], AbstractContextManager[None]]


def no_watch(_timeout: float | None) -> AbstractContextManager[None]:
    """Stand in where no lease is extended."""
    return nullcontext()


class Driver:
    """Executes one run; ``watch`` bounds a step's time by what the heartbeat extends."""

    def __init__(self, execution: Execution, watch: Watch = no_watch) -> None:
        self.execution = execution
        self.activation = execution.activation
        self.watch = watch
        cursor = self.activation.cursor
        #: Whether its worker died during an external call, which is now made again.
        self._repeats_call = bool(cursor) and cursor[-1].calling

    def drive(self) -> None:
        """Execute the run to where it suspends or ends, and write it.

        Raises LostLease; the database's own errors are raised on.
        """
        self.drive_on(self.begin())

    def begin(self) -> Stop:
        """Execute the run in memory, up to the first thing that has to be written."""
        if self._repeats_call and (unknown := self._unknown_call()) is not None:
            return unknown
        return self._in_memory()

    def drive_on(self, stop: Stop) -> None:
        """Execute the run from where it stopped in memory, and write it."""
        following: Stop | Written = stop
        while following is not WRITTEN and following.kind is StopKind.NEEDS:
            if following.effects is Effects.DATABASE:
                following = self._database_stretch()
            elif following.effects is Effects.EXTERNAL:
                following = self._external_step()
            else:
                following = self._in_memory()
        if following is not WRITTEN:
            self.finish(following)

    def finish(self, stop: Stop) -> None:
        """Write the last checkpoint of the activation in a transaction of its own."""
        self._commit(stop)
        after_checkpoint(self.execution.run)

    def _database_stretch(self) -> Stop | Written:
        """Execute database steps in one transaction with their checkpoint.

        Consecutive ones share it as long as they are fast. After a deadlock the whole transaction
        is done again from memory, in the end one step at a time.
        """
        before = self.activation.snapshot()
        for attempt in range(1, _TRIES + 1):
            try:
                return self._try_stretch(coalesce=attempt == 1)
            except CancelRequested:
                self._forget(before)
                end_canceled(self.execution.run)
                return WRITTEN
            except DatabaseError as error:
                self._forget(before)
                if is_lost_connection(error) or connection().in_atomic_block:
                    raise
                if not is_transient(error) and attempt > 1:
                    # Such as a constraint that is checked at the commit.
                    return self.activation.give_up(error)
                if attempt == _TRIES or is_row_locked(error):
                    raise
                pause(attempt)
        raise AssertionError("unreachable")

    def _forget(self, before: object) -> None:
        self.activation.restore(before)
        self.execution.rolled_back()

    def _try_stretch(self, *, coalesce: bool) -> Stop | Written:
        self.execution.object.forget()
        with durable():
            self._ensure_row()
            stop = self._call_steps(coalesce=coalesce)
            if stop.effects is Effects.EXTERNAL:
                self.activation.mark_calling()
            may_continue = checkpoint.write(self.execution, stop)
        self.execution.committed()
        yield_lock()
        if may_continue:
            return stop
        after_checkpoint(self.execution.run)
        return WRITTEN

    def _ensure_row(self) -> None:
        """Insert the row of a run that was started in memory: its actions may refer to it."""
        execution = self.execution
        if not execution.stored:
            run = execution.run
            run.status = Status.RUNNING
            run.due_at = lease_until(clock().now())
            run.save(force_insert=True, using=alias())
            execution.stored = True
            execution.activation.context.pk = run.pk

    def _call_steps(self, *, coalesce: bool) -> Stop:
        begun, called = time.monotonic(), False
        while True:
            bound = self.activation.next_step()
            if isinstance(bound, Stop):
                return bound
            # After a failure each database step is alone: one without effects may be what broke
            # the transaction, by reading or by writing what it must not.
            alone = called and not coalesce
            if alone or bound.effects is Effects.EXTERNAL:
                return _needs(bound)
            if bound.effects is Effects.DATABASE:
                if called and time.monotonic() - begun > get_settings().COALESCE:
                    return NEEDS_DATABASE
                called = True
            stop = self._call_in_savepoint(bound)
            if stop is not CONTINUE:
                return stop

    def _call_in_savepoint(self, bound: BoundStep) -> Stop | Continue:
        """Call a step; a failed one's writes are undone, those of the steps before it stand."""
        if bound.effects is Effects.NONE:
            with self.watch(bound.timeout):
                return self.activation.call(bound)
        before = self.activation.snapshot()
        try:
            with self.watch(bound.timeout), transaction.atomic(using=alias()):
                stop = self.activation.call(bound)
                if stop is not CONTINUE and (stop.error or stop.outcome == Outcome.OBSOLETE):
                    transaction.set_rollback(True, using=alias())
                else:
                    _refuse_swallowed_error()
        except (DatabaseError, EffectsError) as error:
            # A database error here was raised on leaving the savepoint, for the same reason: the
            # action has caught one without a savepoint of its own.
            if is_transient(error) or is_lost_connection(error):
                raise
            self.activation.restore(before)
            return self.activation.fail(bound, error)
        return stop

    def _external_step(self) -> Stop | Written:
        """Make an external call between an "about to" and a "done" checkpoint."""
        bound = self.activation.next_step()
        if isinstance(bound, Stop):
            return bound
        if not self.activation.cursor[-1].calling:
            self.activation.mark_calling()
            if not self._checkpoint_between(_needs(bound)):
                return WRITTEN
        elif self._repeats_call:
            # Without a checkpoint, which would reset the count of its attempts.
            renew(self.execution.run, checkpoint.timeout_of(_needs(bound)))
        self._repeats_call = False
        with self.watch(bound.timeout):
            stop = self.activation.call(bound)
        return self._after_external() if stop is CONTINUE else stop

    def _after_external(self) -> Stop | Written:
        """Write at once that the call was made, together with the next call's "about to"."""
        following = self.activation.next_step()
        if isinstance(following, Stop):
            return following
        if following.effects is Effects.EXTERNAL:
            self.activation.mark_calling()
        if not self._checkpoint_between(_needs(following)):
            return WRITTEN
        return self._in_memory()

    def _in_memory(self) -> Stop:
        """Execute steps in memory: as long as an activation may take, and then the last of them."""
        settings = get_settings()
        with self.watch(settings.LEASE / 4 + settings.STEP_TIMEOUT):
            return self.activation.run_in_memory()

    def _unknown_call(self) -> Stop | None:
        """Return the stop of a run whose step says not to repeat a call of unknown result."""
        bound = self.activation.next_step()
        if isinstance(bound, Stop) or bound.step.if_unknown == "repeat":
            return None
        reason = Reason.of("unknown_call", step=bound.step.id, action=bound.key)
        return self.activation.give_up(FlowcontrolError(str(reason)), reason)

    def _checkpoint_between(self, stop: Stop) -> bool:
        may_continue = self._commit(stop)
        if not may_continue:
            after_checkpoint(self.execution.run)
        return may_continue

    @retrying
    def _commit(self, stop: Stop) -> bool:
        """Write a checkpoint in its own transaction; return whether the run may continue."""
        try:
            with durable():
                if stop.kind is StopKind.NEEDS:
                    self._ensure_row()
                may_continue = checkpoint.write(self.execution, stop)
        except CancelRequested:
            self.execution.rolled_back()
            end_canceled(self.execution.run)
            return False
        except Exception:
            self.execution.rolled_back()
            raise
        self.execution.committed()
        yield_lock()
        return may_continue


def _refuse_swallowed_error() -> None:
    """Raise EffectsError where an action continued after an error of the database."""
    if connection().needs_rollback:
        raise EffectsError(_SWALLOWED)


def _needs(bound: BoundStep) -> Stop:
    """Return the stop before a call that is not to be part of the present transaction."""
    return Stop(kind=StopKind.NEEDS, effects=bound.effects, timeout=bound.timeout)
