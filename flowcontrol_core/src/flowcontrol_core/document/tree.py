"""A flow as a value: an ordered tree of steps that never changes once it is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

Jitter: TypeAlias = Literal["full", "none"]
IfUnknown: TypeAlias = Literal["repeat", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a failing step is attempted, and how long to wait in between.

    ``attempts`` counts the first one too; ``backoff`` is the first wait in seconds, and each
    further wait is ``factor`` times as long. ``errors`` names the classes of the errors to attempt
    again, subclasses included, with or without their modules; empty: any error.
    """

    BACKOFF: ClassVar[float] = 30.0
    FACTOR: ClassVar[float] = 2.0

    attempts: int
    backoff: float = BACKOFF
    factor: float = FACTOR
    jitter: Jitter = "full"
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action placed in a flow. ``config`` and ``branches`` are not to be changed in place.

    ``action`` is the key ``<plugin>.<name>``; ``timeout`` is in seconds; ``if_unknown`` says
    what happens when nobody knows whether an earlier attempt took effect.
    """

    id: str
    action: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_version: int = 1
    note: str = ""
    disabled: bool = False
    retry: RetryPolicy | None = None
    timeout: float | None = None
    if_unknown: IfUnknown = "repeat"
    branches: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)


class Visit(NamedTuple):
    """A step met while walking a document, and where it stands (the top level has depth 0)."""

    step: Step
    parent: Step | None
    branch: str | None
    position: int
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a document; without a parent (and branch) it is on the top level.

    Where a step is being moved, ``index`` counts the list without that step.
    """

    parent: str | None = None
    branch: str | None = None
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The content of a flow version.

    ``object`` is the model that runs are about (``app_label.model``), ``guard`` an expression
    that ends a run when it is false, ``time_zone`` an IANA name.
    """

    FORMAT: ClassVar[int] = 1

    object: str | None = None
    guard: str = ""
    time_zone: str | None = None
    steps: tuple[Step, ...] = ()

    def walk(self) -> Iterator[Visit]:
        """Every step in reading order, parents before what is inside them.

        Needs no recursion, so the depth of the document does not matter. Branches come in the
        order of their mapping, which a database need not keep.
        """
        pending = [Visit(step, None, None, i, 0) for i, step in enumerate(self.steps)]
        pending.reverse()
        while pending:
            visit = pending.pop()
            yield visit
            pending.extend(reversed(_children(visit)))

    def find(self, step_id: str) -> Step | None:
        """The step with that id, or None."""
        return next((visit.step for visit in self.walk() if visit.step.id == step_id), None)

    def step_ids(self) -> tuple[str, ...]:
        """The ids of all steps in reading order."""
        return tuple(visit.step.id for visit in self.walk())


def count_steps(step: Step) -> int:
    """How many steps these are: the step and everything inside it."""
    return sum(1 for _ in Document(steps=(step,)).walk())


def _children(visit: Visit) -> list[Visit]:
    return [
        Visit(child, visit.step, branch, index, visit.depth + 1)
        for branch, steps in visit.step.branches.items()
        for index, child in enumerate(steps)
    ]
