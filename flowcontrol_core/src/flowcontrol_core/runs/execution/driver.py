"""Drives one run to where it suspends or ends: memory first, the database where a step needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TypeVar

from django.db import DatabaseError, Error, transaction

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
    one_line,
)
from flowcontrol_core.runs.queue.claim import lease_until, renew
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    contain_callbacks,
    durable,
    is_lost_connection,
    is_of_own_database,
    is_row_locked,
    is_transient,
    pause,
    retrying,
    yield_lock,
)
from flowcontrol_core.runs.store.rows import CancelRequested

Result = TypeVar("Result")
_TRIES = 6
SWALLOWED = (
    "The action caught an error of the database, and all that it wrote had to be rolled back. Put "
    "what may fail into a savepoint of its own: `with transaction.atomic(): ...`."
)
_BROKEN = (
    "The connection to the database of the runs was closed or broken by each call of the step, so "
    "that nothing could be stored (%s). An action has to leave that connection as it is."
)


#: Bounds the time of a call in seconds: after it, no lease is extended.
Watch = Callable[[float | None], AbstractContextManager[None]]


def no_watch(_timeout: float | None) -> AbstractContextManager[None]:
    """Stand in where no lease is extended."""
    return nullcontext()


class BrokenConnectionError(Exception):
    """The connection to the runs' database was closed, or broke, while a step was called."""


class LostTransaction(BrokenConnectionError):
    """A step has ended the transaction that it was called in; nothing of it is written.

    ``stop`` is that of the step; ``is_alone`` is whether no other had written in the transaction.
    """

    def __init__(self, stop: Stop, *, is_alone: bool) -> None:
        self.stop = stop
        self.is_alone = is_alone
        super().__init__(str(stop.reason))


class Driver:
    """Executes one run; ``watch`` bounds a step's time by what the heartbeat extends."""

    def __init__(self, execution: Execution, watch: Watch = no_watch) -> None:
        self.execution = execution
        self.activation = execution.activation
        self.watch = watch
        cursor = self.activation.cursor
        #: Whether its worker died during an external call, which is now made again.
        self._repeats_call = bool(cursor) and cursor[-1].calling

    def begin(self) -> Stop:
        """Execute the run in memory, up to the first thing that has to be written."""
        if self._repeats_call and (unknown := self._unknown_call()) is not None:
            return unknown
        return self.activation.explained(self._in_memory())

    def drive_on(self, stop: Stop) -> None:
        """Execute the run from where it stopped in memory to where it suspends or ends; write it.

        Raises LostLease; the database's own errors are raised on.
        """
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
        self._commit(self.activation.explained(stop))
        after_checkpoint(self.execution.run)

    def _database_stretch(self) -> Stop | Written:
        """Execute database steps in one transaction with their checkpoint.

        Consecutive ones share it as long as they are fast. After a deadlock the whole transaction
        is done again from memory, in the end one step at a time. A step that breaks the connection
        twice, in spite of a new one, is to blame for it.
        """
        before, was_broken = self.activation.snapshot(), False
        for attempt in range(1, _TRIES + 1):
            try:
                return self._try_stretch(coalesce=attempt == 1)
            except CancelRequested:
                self._forget(before)
                end_canceled(self.execution.run)
                return WRITTEN
            except BrokenConnectionError as error:
                self._forget(before)
                if was_broken:
                    return self._blame(error)
                was_broken = True
            except DatabaseError as error:
                self._forget(before)
                if _is_beyond_repetition(error, attempt) or is_row_locked(error):
                    raise
                if not is_transient(error) and attempt > 1:
                    # Such as a constraint that is checked at the commit.
                    return self.activation.give_up(error)
                pause(attempt)
        raise AssertionError("unreachable")

    def _blame(self, error: Exception) -> Stop:
        """Return the stop of the step on top, which cannot be called within the transaction."""
        bound = self.activation.next_step()
        broken = EffectsError(_BROKEN % error)
        return bound if isinstance(bound, Stop) else self.activation.fail(bound, broken)

    def _forget(self, before: object) -> None:
        self.activation.restore(before)
        self.execution.rolled_back()

    def _try_stretch(self, *, coalesce: bool) -> Stop | Written:
        self.execution.object.forget()
        try:
            with durable():
                self._ensure_row()
                stop = self.activation.explained(self._call_steps(coalesce=coalesce))
                if stop.effects is Effects.EXTERNAL:
                    self.activation.mark_calling()
                may_continue = checkpoint.write(self.execution, stop)
                contain_callbacks(self.activation.guard.call_after_commit)
        except LostTransaction as lost:
            if not lost.is_alone:
                raise
            self.execution.rolled_back()
            return lost.stop
        except Error as error:
            if connection().closed_in_transaction:
                raise BrokenConnectionError(one_line(error)) from error
            raise
        finally:
            self.activation.guard.renew()
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
        guard = self.activation.guard
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
                is_late = time.monotonic() - begun > get_settings().COALESCE
                if called and (is_late or guard.is_set):
                    return NEEDS_DATABASE
            stop = self._call_in_savepoint(bound)
            if guard.has_lost_transaction and stop is not CONTINUE:
                raise LostTransaction(stop, is_alone=not called)
            if stop is not CONTINUE:
                return stop
            called = called or bound.effects is Effects.DATABASE

    def _call_in_savepoint(self, bound: BoundStep) -> Stop | Continue:
        """Call a step; a failed one's writes are undone, those of the steps before it stand."""
        if bound.effects is Effects.NONE:
            try:
                with self.watch(bound.timeout):
                    return self.activation.call(bound)
            except Error as error:
                _raise_if_broken(error)
                raise
        before = self.activation.snapshot()
        try:
            with (
                self.watch(bound.timeout),
                transaction.atomic(using=alias()),
                self.execution.object,
            ):
                stop = self.activation.call(bound)
                if stop is not CONTINUE and (stop.error or stop.outcome == Outcome.OBSOLETE):
                    transaction.set_rollback(True, using=alias())
                else:
                    self._refuse_swallowed_error()
        except (Error, EffectsError) as error:
            _raise_if_broken(error)
            # A database error here was raised on leaving the savepoint, for the same reason: the
            # action has caught one without a savepoint of its own.
            if is_of_own_database(error):
                raise
            self.activation.restore(before)
            return self.activation.fail(bound, error)
        return stop

    def _refuse_swallowed_error(self) -> None:
        """Raise EffectsError where an action has closed the connection, or has hidden an error."""
        if connection().closed_in_transaction:
            raise EffectsError("The action has closed it.")
        if connection().needs_rollback or self.execution.object.is_spoiled:
            raise EffectsError(SWALLOWED)

    def _external_step(self) -> Stop | Written:
        """Make an external call between an "about to" and a "done" checkpoint."""
        bound = self.activation.next_step()
        if isinstance(bound, Stop):
            return bound
        timeout = checkpoint.timeout_of(_needs(bound))
        if not self.activation.cursor[-1].calling:
            self.activation.mark_calling()
            if not self._checkpoint_between(_needs(bound)):
                return WRITTEN
        elif self._repeats_call:
            # Without a checkpoint, which would reset the count of its attempts.
            renew(self.execution.run, timeout)
        self._repeats_call = False
        stop = self._outside(partial(self.activation.call, bound), timeout)
        return self._after_external() if stop is CONTINUE else stop

    def _outside(self, call: Callable[[], Result], timeout: float) -> Result | Stop:
        """Call steps outside of a transaction, within ``timeout`` seconds.

        One that breaks the connection twice, in spite of a new one, is to blame for it. Where the
        database does not answer anew, its error is raised: then it is not the step.
        """
        for was_broken in (False, True):
            try:
                with self.watch(timeout):
                    return call()
            except Error as error:
                if not is_lost_connection(error):
                    raise
                broken = BrokenConnectionError(one_line(error))
            self._connect_anew(timeout)
            top = self.activation.cursor[-1:]
            if top and top[0].calling and (unknown := self._unknown_call()) is not None:
                return unknown
            if was_broken:
                return self._blame(broken)
        raise AssertionError("unreachable")

    def _connect_anew(self, timeout: float) -> None:
        """Replace a broken connection; raises LostLease, and where the database does not answer."""
        with suppress(Error):
            connection().close()
        if self.execution.stored:
            renew(self.execution.run, timeout)
        else:
            connection().ensure_connection()

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
        timeout = settings.LEASE / 4 + settings.STEP_TIMEOUT
        stop = self._outside(self.activation.run_in_memory, timeout)
        self.activation.guard.end()
        return stop

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


def _raise_if_broken(error: Exception) -> None:
    """Raise BrokenConnectionError for an error in a transaction whose connection is gone."""
    is_lost = is_of_own_database(error) and is_lost_connection(error)
    if connection().closed_in_transaction or is_lost:
        # For Django to know that there is nothing to be rolled back.
        with suppress(Error):
            connection().close()
        raise BrokenConnectionError(one_line(error)) from error


def _is_beyond_repetition(error: DatabaseError, attempt: int) -> bool:
    """Return whether to repeat a transaction would be of no use now."""
    is_last = is_transient(error) and attempt == _TRIES
    return is_last or is_lost_connection(error) or connection().in_atomic_block


def _needs(bound: BoundStep) -> Stop:
    """Return the stop before a call that is not to be part of the present transaction."""
    return Stop(kind=StopKind.NEEDS, effects=bound.effects, timeout=bound.timeout)
