"""What an action sees of the run it is executed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal, Protocol
from uuid import UUID, uuid5

from asgiref.sync import sync_to_async

from flowcontrol_core import bounds
from flowcontrol_core.engine.codec import private_copy, storable
from flowcontrol_core.engine.directives import FlowDirective, Kind, Wait
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import DirectiveError
from flowcontrol_core.texts import key_problem


@dataclass(frozen=True, slots=True)
class FlowReference:
    """The flow a run belongs to; ``pk`` is ``None`` where no database is involved."""

    key: str
    name: str
    pk: int | None = None


class RunReference(Protocol):
    """A run that another one can wait for: whatever has its uuid."""

    @property
    def uuid(self) -> UUID: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wakeup:
    """Why a suspended run continues.

    ``payload`` is what the trigger brought, ``outcome`` and ``result`` (the state) what a child
    ended with, ``child`` its uuid.
    """

    kind: Literal["time", "timeout", "trigger", "child", "operator"]
    trigger: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    child: str = ""


def _nothing() -> None:
    return None


@dataclass(slots=True, kw_only=True)
class RunContext:
    """A run as its actions see it; one instance lives as long as the activation.

    ``now`` is fixed for the length of a step; ``time_zone`` is the flow's.
    """

    uuid: UUID
    flow: FlowReference
    state: State
    now: datetime
    time_zone: tzinfo
    pk: int | None = None
    #: Whose run it is: to another tenant, ``pk`` is another run.
    tenant: Hashable = None
    depth: int = 0
    trigger: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    #: The number of the present call of the step, from 1.
    attempt: int = 1
    #: When the call times out, or ``None``.
    deadline: datetime | None = None
    wakeup: Wakeup | None = None
    memo: dict[str, Any] = field(default_factory=dict)
    #: How many steps the run has finished: what makes the idempotency key.
    sequence: int = 0
    step: str = ""
    #: The variables of the step, each with a list of the value that it hides.
    hidden: Mapping[str, list[Any]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    load_object: Callable[[], Any] = _nothing
    lock: Callable[[], Any] = _nothing
    beat: Callable[[], None] = _nothing
    #: When the present call began, or last said that it is alive, by ``time.perf_counter()``.
    alive_at: float = 0.0

    @property
    def object(self) -> Any:
        """Return the model object of the run, loaded when first asked for, or ``None``."""
        return self.load_object()

    @property
    def idempotency_key(self) -> str:
        """Return a key that is the same on every attempt of this step, and never used elsewhere."""
        return str(uuid5(self.uuid, str(self.sequence)))

    def log(self, message: str) -> None:
        """Add a line to the history of the run (at most 1,000 characters, 100 lines a step)."""
        if len(self.messages) < bounds.LOG_LINES:
            self.messages.append(str(message)[: bounds.LOG_CHARACTERS])

    def heartbeat(self) -> None:
        """Extend the lease of the run during a long step, and begin the time of its call anew."""
        self.beat()
        self.alive_at = time.perf_counter()

    async def aheartbeat(self) -> None:
        """Do the same in an asynchronous action."""
        await sync_to_async(self.heartbeat)()

    def lock_object(self) -> Any:
        """Return the object freshly read and locked until the checkpoint (DATABASE steps).

        In another database than that of the runs it is locked until the end of the step.
        """
        return self.lock()

    def set_variable(self, name: str, value: Any) -> None:
        """Set a value of the state until the present step is left, however that happens.

        Then the key has the value again that it had before, or vanishes.
        """
        values = self.state.peek()
        present = [private_copy(values[name])] if name in values else []
        hidden = self.hidden if name in self.hidden else {**self.hidden, name: present}
        # What the state refuses hides nothing.
        self.state[name] = value
        self.hidden = hidden

    def suspend(
        self,
        *,
        until: datetime | timedelta | None = None,
        trigger: str | None = None,
        child: RunReference | UUID | str | None = None,
        timeout: datetime | timedelta | float | None = None,
        match_object: bool = True,
        repeat: bool = False,
    ) -> FlowDirective:
        """Return the directive that suspends the run, to be returned by the action.

        The run continues at ``until``, when ``trigger`` (a key) fires, when ``child`` (a run or its
        uuid) ends, or after ``timeout`` (seconds, a duration or a time), whatever comes first:
        after the step, or with ``repeat`` by calling the same method again, with ``wakeup`` set.
        Raises DirectiveError where nothing would ever wake it.
        """
        if until is None and trigger is None and child is None and timeout is None:
            raise DirectiveError(
                "suspend() needs something that wakes the run: until, trigger, child or timeout."
            )
        if trigger is not None and not isinstance(trigger, str):
            raise DirectiveError(f"suspend() takes the key of a trigger, not {trigger!r}.")
        if trigger and (problem := key_problem(trigger, bounds.ACTION_KEY_CHARACTERS)):
            raise DirectiveError(f"suspend() takes the key of a trigger; {trigger!r} {problem}.")
        wait = Wait(
            until=self._time(until),
            timeout=self._time(timeout),
            trigger=trigger,
            match_object=bool(match_object),
            child=None if child is None else _uuid_of(child),
        )
        return FlowDirective(Kind.SUSPEND_AND_REPEAT if repeat else Kind.SUSPEND, wait=wait)

    def _time(self, value: datetime | timedelta | float | None) -> datetime | None:
        if value is None:
            return None
        try:
            if isinstance(value, datetime):
                return storable(value)
            after = value if isinstance(value, timedelta) else timedelta(seconds=value)
            return storable(self.now + after)
        except (OverflowError, ValueError) as error:
            raise DirectiveError(str(error)) from error


def _uuid_of(child: RunReference | UUID | str) -> str:
    try:
        return str(UUID(str(getattr(child, "uuid", child))))
    except ValueError:
        raise DirectiveError(f"suspend() takes a run or its uuid, not {child!r}.") from None
