"""Runs in memory: a flow is executed without a database, with a clock that tests move."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flowcontrol_core.actions.context import FlowReference, RunContext, Wakeup
from flowcontrol_core.document.format import validated
from flowcontrol_core.document.tree import Document
from flowcontrol_core.engine.codec import normalize
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.engine.history import Call, Recorder
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.runs.execution.activation import Activation, RunScope
from flowcontrol_core.runs.execution.failures import Stop, StopKind
from flowcontrol_core.runs.store.clock import ManualClock
from flowcontrol_core.runs.store.compiled import compile_flow
from flowcontrol_core.runs.store.guard import CallGuard

_MOST_WAKEUPS = 100_000
_STATUS = {
    StopKind.SUSPENDED: "waiting",
    StopKind.ENDED: "done",
    StopKind.FAILED: "done",
    StopKind.BLOCKED: "blocked",
}


class _Trail(Recorder):
    """Records the ids of all calls; the history leaves out most of those of a loop."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def add(self, call: Call) -> None:
        self.steps.append(call.step)
        super().add(call)


@dataclass(slots=True)
class MemoryRun:
    """A run that lives in memory only.

    ``status`` and ``outcome`` are those of a flow run, ``steps`` the ids of all calls
    in order, ``trace`` the entries of the history.
    """

    activation: Activation
    clock: ManualClock
    trail: _Trail
    stop: Stop
    trace: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return _STATUS[self.stop.kind]

    @property
    def outcome(self) -> str:
        return self.stop.outcome

    @property
    def reason(self) -> str:
        return str(self.stop.reason)

    @property
    def error(self) -> Mapping[str, Any] | None:
        return self.stop.error

    @property
    def wait(self) -> Wait | None:
        """What the run waits for."""
        return self.stop.wait

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the state."""
        copy: dict[str, Any] = normalize(self.activation.context.state.peek())
        return copy

    @property
    def steps(self) -> list[str]:
        """The ids of the steps called so far, oldest first."""
        return list(self.trail.steps)

    @property
    def messages(self) -> list[str]:
        """What the actions have logged."""
        return [line for entry in self.trace for line in entry.get("messages", ())]

    def advance(self, delta: timedelta | None = None, **parts: float) -> MemoryRun:
        """Move the clock (``advance(days=3)``), waking the run whenever it is due by then."""
        target = self.clock.now() + (delta if delta is not None else timedelta(**parts))
        woken = 0
        while self.wait is not None and (due := self.wait.due_at) is not None and due <= target:
            self.clock.set(max(due, self.clock.now()))
            is_time = self.wait.until is not None and self.wait.until <= due
            self._continue(Wakeup(kind="time" if is_time else "timeout"))
            woken += 1
            if woken == _MOST_WAKEUPS:
                raise FlowcontrolError(f"The run was woken {woken} times and is due again.")
        self.clock.set(target)
        return self

    def fire(self, key: str, payload: Mapping[str, Any] | None = None) -> MemoryRun:
        """Fire a trigger; it wakes the run if the run waits for it."""
        if self.wait is not None and self.wait.trigger == key:
            self._continue(Wakeup(kind="trigger", trigger=key, payload=normalize(payload or {})))
        return self

    def end_child(
        self, outcome: str = "complete", result: Mapping[str, Any] | None = None
    ) -> MemoryRun:
        """End the run that this one waits for."""
        if self.wait is None or self.wait.child is None:
            raise FlowcontrolError("The run waits for no child.")
        self._continue(Wakeup(kind="child", outcome=outcome, result=normalize(result or {})))
        return self

    def _continue(self, wakeup: Wakeup | None) -> None:
        self.activation.wake(wakeup)
        self.stop = _drive(self.activation)
        self.trace += self.activation.history.take()


def run_flow(
    document: Document,
    obj: Any = None,
    state: Mapping[str, Any] | None = None,
    *,
    payload: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    clock: ManualClock | None = None,
    secrets: Mapping[str, str] | None = None,
) -> MemoryRun:
    """Execute a flow in memory up to its end or its first wait.

    ``obj`` may be any object, saved or not; ``secrets`` are the values of secrets by name, by
    default those of the site. Actions are called as they are; those that use the
    database need one. Raises FlowcontrolError for a document that is not valid.
    """
    clock = clock or ManualClock(now)
    trail = _Trail()
    compiled = compile_flow(validated(document))
    context = RunContext(
        uuid=uuid.uuid4(),
        flow=FlowReference("memory", "In memory"),
        state=State(state),
        now=clock.now(),
        time_zone=compiled.zone,
        payload=normalize(payload or {}),
        load_object=lambda: obj,
        lock=lambda: obj,
    )
    activation = Activation(
        context=context,
        scope=RunScope(context),
        compiled=compiled,
        history=trail,
        clock=clock,
        guard=CallGuard(),
        ask=plugin_manager.secret if secrets is None else secrets.get,
        has_object=obj is not None,
    )
    stop = _drive(activation)
    return MemoryRun(activation, clock, trail, stop, activation.history.take())


def _drive(activation: Activation) -> Stop:
    with activation.guard.installed():
        while True:
            step = activation.next_step()
            stop = step if isinstance(step, Stop) else activation.call(step)
            if isinstance(stop, Stop) and stop.kind is not StopKind.YIELDED:
                return stop
            if isinstance(stop, Stop):
                activation.renew_budget()
