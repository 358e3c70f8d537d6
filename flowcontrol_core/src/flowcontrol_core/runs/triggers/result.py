"""What became of an event, for the code that fired it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flowcontrol_core.models import FlowRun, Refusal


class FiringOutcome(StrEnum):
    """What became of an event, as one word: the first of these that is true.

    STARTED runs; NOTIFIED runs, which it woke or sent to a step; DUPLICATE: an event with its
    unique key was taken before; STORED for runs that wait, or will wait, for it; REFUSED by all
    flows that listen to it; DEFERRED until the present transaction, which is one of another
    database, has committed; UNHEARD: nothing listens to it.
    """

    STARTED = "started"
    NOTIFIED = "notified"
    DUPLICATE = "duplicate"
    STORED = "stored"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNHEARD = "unheard"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFlow:
    """A flow that did nothing, by its key, and why; ``detail`` is what the reason is about."""

    flow: str
    reason: Refusal
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringResult(Sequence[FlowRun]):
    """What became of an event. As a sequence, it is the runs that it started.

    ``notified`` counts the runs that it woke or sent to a step; ``refused`` are the flows that
    listen to it and did nothing; ``is_stored`` tells whether it is stored for runs that wait.
    """

    runs: tuple[FlowRun, ...] = ()
    notified: int = 0
    refused: tuple[RefusedFlow, ...] = ()
    is_stored: bool = False
    is_duplicate: bool = False
    is_deferred: bool = False
    is_heard: bool = True

    @property
    def outcome(self) -> FiringOutcome:
        """Return what became of the event as one word."""
        answers = (
            (self.runs, FiringOutcome.STARTED),
            (self.notified, FiringOutcome.NOTIFIED),
            (self.is_duplicate, FiringOutcome.DUPLICATE),
            (self.is_stored, FiringOutcome.STORED),
            (self.is_deferred, FiringOutcome.DEFERRED),
            (self.is_heard, FiringOutcome.REFUSED),
        )
        return next((outcome for is_so, outcome in answers if is_so), FiringOutcome.UNHEARD)

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[FlowRun]:
        return iter(self.runs)

    def __getitem__(self, index: Any) -> Any:
        return self.runs[index]


DEFERRED = FiringResult(is_deferred=True)
UNHEARD = FiringResult(is_heard=False)
