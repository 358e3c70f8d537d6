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
from flowcontrol_core.models import (
    Status,
)
from flowcontrol_core.runs.execution import checkpoint
from flowcontrol_core.runs.execution.activation import NEEDS_DATABASE, Stop, StopKind
from flowcontrol_core.runs.execution.checkpoint import Execution, end_canceled
from flowcontrol_core.runs.queue.claim import lease_until, renew
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    durable,
    is_lost_connection,
    is_transient,
    pause,
    retry_transient,
    yield_lock,
)
from flowcontrol_core.runs.store.rows import CancelRequested

_TRIES = 6
_SWALLOWED = (
    "The action caught an error of the database, and all that it wrote had to be rolled back. Put "
    "what may fail into a savepoint of its own: `with transaction.atomic(): ...`."
)
Watch = Callable[[float | None], AbstractContextManager[None]]


def no_watch(_timeout: float | None) -> AbstractContextManager[None]:
    """Stand in where nobody extends leases."""
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
        self.go_on(self.begin())

    def begin(self) -> Stop:
        """Execute the run in memory, up to the first thing that has to be written."""
        return self._unknown_call() or self._in_memory()

    def go_on(self, stop: Stop) -> None:
        """Execute the run from where it stopped in memory, and write it."""
        following: Stop | None = stop
        while following is not None and following.kind is StopKind.NEEDS:
            if following.effects is Effects.DATABASE:
                following = self._database_stretch()
            elif following.effects is Effects.EXTERNAL:
                following = self._external_step()
            else:
                following = self._in_memory()
        if following is not None:
            self.finish(following)

    def finish(self, stop: Stop) -> None:
        """Write the last checkpoint of the activation in a transaction of its own."""
        retry_transient(lambda: self._commit(stop))
        after_checkpoint(self.execution.run)

    def _database_stretch(self) -> Stop | None:
        """Execute database steps in one transaction with their checkpoint; ``None``: all written.

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
                return None
            except DatabaseError as error:
                self._forget(before)
                if is_lost_connection(error) or connection().in_atomic_block:
                    raise
                if not is_transient(error) and attempt > 1:
                    # Such as a constraint that is checked at the commit.
                    return self.activation.give_up(error)
                if attempt == _TRIES:
                    raise
                pause(attempt)
        raise AssertionError("unreachable")

    def _forget(self, before: object) -> None:
        self.activation.restore(before)
        self.execution.rolled_back()

    def _try_stretch(self, *, coalesce: bool) -> Stop | None:
        self.execution.slot.forget()
        with durable():
            self._ensure_row()
            stop = self._call_steps(coalesce=coalesce)
            if stop.effects is Effects.EXTERNAL:
                self.activation.mark_calling()
            goes_on = checkpoint.write(self.execution, stop)
        self.execution.committed()
        yield_lock()
        if stop.kind is not StopKind.NEEDS or not goes_on:
            after_checkpoint(self.execution.run)
            return None
        return stop

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
            bound = self.activation.look()
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
            if stop is not None:
                return stop

    def _call_in_savepoint(self, bound: BoundStep) -> Stop | None:
        """Call a step; a failed one's writes are undone, those of the steps before it stand."""
        if bound.effects is Effects.NONE:
            with self.watch(bound.timeout):
                return self.activation.call(bound)
        before = self.activation.snapshot()
        try:
            with self.watch(bound.timeout), transaction.atomic(using=alias()):
                stop = self.activation.call(bound)
                if stop is not None and (stop.error is not None or stop.outcome == "obsolete"):
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

    def _external_step(self) -> Stop | None:
        """Make an external call between an "about to" and a "done" checkpoint."""
        bound = self.activation.look()
        if isinstance(bound, Stop):
            return bound
        if not self.activation.cursor[-1].calling:
            self.activation.mark_calling()
            if not self._checkpoint_between(_needs(bound)):
                return None
        elif self._repeats_call:
            # Without a checkpoint, which would be the end of counting its attempts.
            renew(self.execution.run, checkpoint.timeout_of(_needs(bound)))
        self._repeats_call = False
        with self.watch(bound.timeout):
            stop = self.activation.call(bound)
        return stop or self._after_external()

    def _after_external(self) -> Stop | None:
        """Write at once that the call was made; the next call's "about to" goes with it."""
        following = self.activation.look()
        if isinstance(following, Stop):
            return following
        if following.effects is Effects.EXTERNAL:
            self.activation.mark_calling()
        if not self._checkpoint_between(_needs(following)):
            return None
        return self._in_memory()

    def _in_memory(self) -> Stop:
        """Execute steps in memory: as long as an activation may take, and then the last of them."""
        settings = get_settings()
        with self.watch(settings.LEASE / 4 + settings.STEP_TIMEOUT):
            return self.activation.run_in_memory()

    def _unknown_call(self) -> Stop | None:
        """Say what becomes of a run whose worker died during an external call."""
        if not self._repeats_call:
            return None
        bound = self.activation.look()
        if isinstance(bound, Stop) or bound.step.if_unknown == "repeat":
            return None
        return self.activation.give_up(
            FlowcontrolError(
                f"Nobody knows whether the call of step {bound.step.id!r} ({bound.key}) was made: "
                "its worker died during it. The step says not to repeat it; look, then skip or "
                "retry the step."
            )
        )

    def _checkpoint_between(self, stop: Stop) -> bool:
        goes_on = retry_transient(lambda: self._commit(stop))
        if not goes_on:
            after_checkpoint(self.execution.run)
        return goes_on

    def _commit(self, stop: Stop) -> bool:
        """Write a checkpoint in its own transaction; say whether the run may go on."""
        try:
            with durable():
                if stop.kind is StopKind.NEEDS:
                    self._ensure_row()
                goes_on = checkpoint.write(self.execution, stop)
        except CancelRequested:
            self.execution.rolled_back()
            end_canceled(self.execution.run)
            return False
        except Exception:
            self.execution.rolled_back()
            raise
        self.execution.committed()
        yield_lock()
        return goes_on


def _refuse_swallowed_error() -> None:
    """Raise EffectsError where an action went on after an error of the database."""
    if connection().needs_rollback:
        raise EffectsError(_SWALLOWED)


def _needs(bound: BoundStep) -> Stop:
    """Give the stop before a call that is not to be part of the present transaction."""
    return Stop(kind=StopKind.NEEDS, effects=bound.effects, timeout=bound.timeout)
