"""Executes claimed runs: each in a boundary of its own, ends without effects written together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from django.db import DatabaseError, Error, InterfaceError

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import FlowcontrolError, raise_interruption
from flowcontrol_core.models import FlowRun, FlowVersion, Message, Reason
from flowcontrol_core.runs.execution import checkpoint
from flowcontrol_core.runs.execution.admission import end_errored, prepare, read_inboxes
from flowcontrol_core.runs.execution.checkpoint import Execution
from flowcontrol_core.runs.execution.driver import Driver
from flowcontrol_core.runs.execution.failures import WRITTEN, Stop, StopKind
from flowcontrol_core.runs.queue import claim
from flowcontrol_core.runs.queue.claim import give_back, has_heartbeat, renew
from flowcontrol_core.runs.queue.heartbeat import Heartbeat
from flowcontrol_core.runs.queue.outbox import after_checkpoint
from flowcontrol_core.runs.queue.release import release, release_later, release_now
from flowcontrol_core.runs.queue.workers import should_stop
from flowcontrol_core.runs.store.compiled import CompiledFlow, UnusableVersion, read_versions
from flowcontrol_core.runs.store.connection import (
    connection,
    durable,
    is_lost_connection,
    is_transient,
    retrying,
)
from flowcontrol_core.runs.store.guard import CallGuard
from flowcontrol_core.runs.store.objects import ObjectSource
from flowcontrol_core.runs.store.rows import LostLease

logger = logging.getLogger("flowcontrol.runs")
POSTPONED = timedelta(seconds=5)


class Batch:
    """The runs of one claim.

    First all are executed in memory, and the ends of those that needed nothing else are written
    together; then the others, one after the other, as long as their steps may take. ``between`` is
    called before each run: what has to be done in time, however long a batch is. What has not
    begun when the turn of the batch is over goes back into the queue: others may be idle.
    """

    def __init__(
        self,
        runs: Sequence[FlowRun],
        guard: CallGuard,
        heartbeat: Heartbeat,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        self.runs = runs
        self.between = between
        self.guard = guard
        self.heartbeat = heartbeat
        self.source = ObjectSource(runs)
        self.finished: list[tuple[Execution, Stop]] = []
        self.unfinished: list[tuple[Driver, Stop]] = []
        self.not_begun: list[FlowRun] = []
        self._claimed_at = self._begun_at = time.monotonic()
        #: The run that is being executed, since ``_begun_at``.
        self._present: FlowRun | None = None

    def execute(self) -> int:
        """Execute all runs; no run, however broken, keeps another from being executed.

        Return their number, without those that are given back: because the process has to stop, or
        because those before them took long. Where an interruption, or a database that cannot be
        reached, ends it, those that are not written are given back.
        """
        executed = 0
        try:
            self.heartbeat.hold(self.runs)
            versions = read_versions({run.version_id for run in self.runs})
            inboxes = read_inboxes(self.runs)
            for run in self.runs:
                found, messages = versions.get(run.version_id), inboxes.get(run.pk, [])
                executed += self._execute(run, partial(self._begin, run, found, messages))
            self._write_finished()
            for driver, stop in self.unfinished:
                run = driver.execution.run
                executed -= not self._execute(run, partial(self._drive_on, driver, stop))
            if self.not_begun:
                self.heartbeat.drop(*self.not_begun)
                give_back(self.not_begun)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._give_back(error)
            raise
        return executed

    def _execute(self, run: FlowRun, work: Callable[[], None]) -> bool:
        """Do something with one run, or give it back; return whether it was done."""
        if should_stop():
            self._bounded(run, partial(release, run))
            return False
        is_over = time.monotonic() - self._claimed_at > claim.TURN
        if is_over and run is not self.runs[0]:
            self.not_begun.append(run)
            return False
        self._do_between()
        self._bounded(run, work)
        return True

    def _bounded(self, run: FlowRun, work: Callable[[], None]) -> None:
        """Do something with one run; what goes wrong concerns this run only.

        An interruption, and a database that cannot be reached, concern all: they are raised on.
        """
        self._present, self._begun_at = run, time.monotonic()
        try:
            work()
        except LostLease:
            logger.info("Run %s belongs to another worker by now.", run.pk)
        except BaseException as error:
            raise_interruption(error)
            is_lost = is_lost_connection(error)
            if is_lost or is_transient(error):
                # Tried again soon; it counts as an attempt, so it does not repeat for ever.
                self.heartbeat.drop(run)
                release_later([run], after=POSTPONED)
                if is_lost:
                    raise
                release_now()
                return
            logger.exception("Run %s cannot be executed and is ended as errored.", run.pk)
            self._end_errored(run, error)

    def _do_between(self) -> None:
        try:
            self.between()
        except (DatabaseError, InterfaceError):
            # The runs have boundaries of their own: here none is to blame.
            logger.warning("What a sweep does between two runs has to wait.", exc_info=True)
            connection().close_if_unusable_or_obsolete()

    def _begin(
        self,
        run: FlowRun,
        found: tuple[FlowVersion, CompiledFlow | UnusableVersion] | None,
        messages: list[Message],
    ) -> None:
        if found is None:
            text = f"The version with id {run.version_id} does not exist or is a draft."
            raise FlowcontrolError(text)
        version, compiled = found
        if version.flow_id != run.flow_id:
            end_errored(run, None, Reason("flow_gone"))
            return
        run.flow, run.version = version.flow, version
        execution = prepare(run, compiled, messages, self.source, self.guard, self.heartbeat)
        if execution is WRITTEN:
            return
        driver = Driver(execution, self.heartbeat.watch)
        stop = driver.begin()
        if stop.kind is StopKind.NEEDS:
            self.unfinished.append((driver, stop))
        else:
            self.finished.append((execution, stop))

    def _drive_on(self, driver: Driver, stop: Stop) -> None:
        run = driver.execution.run
        if not has_heartbeat() and time.monotonic() - self._claimed_at > get_settings().LEASE / 2:
            renew(run)
        # What those before it have taken is not its own time.
        driver.activation.renew_budget()
        driver.drive_on(stop)

    def _give_back(self, error: BaseException) -> None:
        """Return what is claimed and not written to the queue, as soon as the database answers.

        The attempt of the run that was being executed counts where it took most of the time, so
        that a step which never ends in time is not repeated for ever.
        """
        self.heartbeat.drop(*self.runs)
        now = time.monotonic()
        is_long = 2 * (now - self._begun_at) > now - self._claimed_at
        if self._present is not None and is_long and not isinstance(error, Error):
            release_later([self._present], after=timedelta())
        # Those that are written by now are no longer this worker's.
        release_later(self.runs)
        release_now()

    def _end_errored(self, run: FlowRun, error: BaseException) -> None:
        self.heartbeat.drop(run)
        try:
            end_errored(run, error)
        except LostLease:
            logger.info("Run %s belongs to another worker by now.", run.pk)
        except (DatabaseError, InterfaceError):
            logger.exception("Run %s could not be ended; its lease will expire.", run.pk)

    def _write_finished(self) -> None:
        """Write the ends of runs that had nothing to write before, all in one transaction."""
        finished, self.finished = self.finished, []
        if len(finished) > 1:
            try:
                _write_together(finished)
            except Exception:  # noqa: BLE001 - written alone, each has what is wrong to itself
                for execution, _ in finished:
                    execution.rolled_back()
            else:
                for execution, _ in finished:
                    execution.committed()
                for execution, _ in finished:
                    self._bounded(execution.run, partial(after_checkpoint, execution.run))
                return
        for execution, stop in finished:
            self._bounded(execution.run, partial(Driver(execution).finish, stop))


@retrying
def _write_together(finished: list[tuple[Execution, Stop]]) -> None:
    with durable():
        checkpoint.write_many(finished)
