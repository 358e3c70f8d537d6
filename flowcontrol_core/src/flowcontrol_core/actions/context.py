"""What an action sees of the run it is executed in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal

from flowcontrol_core.engine.codec import storable
from flowcontrol_core.engine.directives import FlowDirective, Kind, Wait
from flowcontrol_core.engine.state import State
from flowcontrol_core.errors import DirectiveError


@dataclass(frozen=True, slots=True)
class FlowReference:
    """The flow a run belongs to; ``pk`` is ``None`` where no database is involved."""

    key: str
    name: str
    pk: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wakeup:
    """Why a suspended run goes on.

    ``payload`` is what the trigger brought, ``outcome`` and ``result`` (the state) what a child
    ended with, ``child`` its uuid.
    """

    kind: Literal["time", "timeout", "trigger", "child", "operator"]
    trigger: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    child: str = ""


def _key_of(child: Any) -> str:
    try:
        return str(uuid.UUID(str(getattr(child, "uuid", child))))
    except ValueError:
        raise DirectiveError(f"suspend() takes a run or its uuid, not {child!r}.") from None


def _no_object() -> None:
    return None


def _nothing() -> None:
    return None


@dataclass(slots=True, kw_only=True)
class RunContext:
    """A run as its actions see it; one instance lives as long as the activation.

    ``now`` is fixed for the length of a step; ``time_zone`` is the flow's.
    """

    uuid: uuid.UUID
    flow: FlowReference
    state: State
    now: datetime
    time_zone: tzinfo
    pk: int | None = None
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
    variables: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)
    load_object: Callable[[], Any] = _no_object
    lock: Callable[[], Any] = _no_object
    beat: Callable[[], None] = _nothing

    @property
    def object(self) -> Any:
        """Give the model object of the run, loaded when first asked for, or ``None``."""
        return self.load_object()

    @property
    def idempotency_key(self) -> str:
        """Give a key that is the same on every attempt of this step, and never used elsewhere."""
        return str(uuid.uuid5(self.uuid, str(self.sequence)))

    def log(self, message: str) -> None:
        """Add a line to the history of the run (at most 1,000 characters, 100 lines a step)."""
        if len(self.messages) < 100:
            self.messages.append(str(message)[:1000])

    def heartbeat(self) -> None:
        """Say that a long step is still alive, so that its lease is extended."""
        self.beat()

    def lock_object(self) -> Any:
        """Give the object freshly read and locked until the checkpoint (DATABASE steps)."""
        return self.lock()

    def set_variable(self, name: str, value: Any) -> None:
        """Put a value into the state that vanishes when the present step is left."""
        self.state[name] = value
        if name not in self.variables:
            self.variables = (*self.variables, name)

    def suspend(
        self,
        *,
        until: datetime | timedelta | None = None,
        trigger: str | None = None,
        child: Any = None,
        timeout: datetime | timedelta | float | None = None,
        match_object: bool = True,
        repeat: bool = False,
    ) -> FlowDirective:
        """Give the directive that suspends the run, to be returned by the action.

        It goes on at ``until``, when ``trigger`` (a key) fires, when ``child`` (a run or its uuid)
        ends, or after ``timeout`` (seconds, a duration or a time), whatever comes first: behind the
        step, or with ``repeat`` by calling the same method again, with ``wakeup`` set. Raises
        DirectiveError where nothing would ever wake it.
        """
        if until is None and trigger is None and child is None and timeout is None:
            raise DirectiveError(
                "suspend() needs something that wakes the run: until, trigger, child or timeout."
            )
        if trigger is not None and not isinstance(trigger, str):
            raise DirectiveError(f"suspend() takes the key of a trigger, not {trigger!r}.")
        wait = Wait(
            until=self._moment(until),
            timeout=self._moment(timeout),
            trigger=trigger,
            match_object=bool(match_object),
            child=None if child is None else _key_of(child),
        )
        return FlowDirective(Kind.SUSPEND_AND_REPEAT if repeat else Kind.SUSPEND, wait=wait)

    def _moment(self, value: datetime | timedelta | float | None) -> datetime | None:
        if value is None:
            return None
        try:
            if isinstance(value, datetime):
                return storable(value)
            after = value if isinstance(value, timedelta) else timedelta(seconds=value)
            return storable(self.now + after)
        except (OverflowError, ValueError) as error:
            raise DirectiveError(str(error)) from error
