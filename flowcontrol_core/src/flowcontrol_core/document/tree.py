"""A flow as a value: an ordered tree of steps that never changes once it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from flowcontrol_core.errors import EditError, gettext

Jitter: TypeAlias = Literal["full", "none"]
IfUnknown: TypeAlias = Literal["repeat", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a failing step is attempted, and how long to wait in between.

    ``attempts`` counts the first one too; ``backoff`` is the first wait in seconds, and each
    further wait is ``factor`` times as long. ``errors`` names the classes of the errors to attempt
    again, subclasses included, with or without their modules; empty: any error.
    """

    attempts: int
    backoff: float = 30.0
    factor: float = 2.0
    jitter: Jitter = "full"
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action placed in a flow. ``config`` and ``branches`` are not to be changed in place.

    ``action`` is the key ``<plugin>.<name>``; without a ``config_version`` the configuration is
    that of the action's present one; ``timeout`` is in seconds; ``if_unknown`` says
    what happens when it is unknown whether an earlier attempt took effect.
    """

    id: str
    action: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_version: int | None = None
    note: str = ""
    disabled: bool = False
    retry: RetryPolicy | None = None
    timeout: float | None = None
    if_unknown: IfUnknown = "repeat"
    branches: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)

    def walk(self) -> Iterator[Visit]:
        """Yield the step and everything inside it, as if it were the only one of a document."""
        return Document(steps=(self,)).walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a document; without a parent (and branch) it is on the top level.

    Where a step is being moved, ``index`` counts the list without that step.
    """

    parent: str | None = None
    branch: str | None = None
    index: int


class Visit(NamedTuple):
    """A step of a document, and where it stands: all that is known of its surroundings."""

    step: Step
    #: The visit of the step that it is inside of, with the name of the branch; on the top level
    #: neither.
    around: Visit | None
    branch: str | None
    position: int
    #: How many branches deep it stands: 0 on the top level.
    depth: int

    @property
    def place(self) -> Place:
        """Return the place of the step; moving it there changes nothing."""
        parent = self.around.step.id if self.around else None
        return Place(parent=parent, branch=self.branch, index=self.position)

    @property
    def lineage(self) -> tuple[Visit, ...]:
        """Return the visits of the steps around it, the outermost first, and of itself."""
        visits = [self]
        while (around := visits[-1].around) is not None:
            visits.append(around)
        return tuple(reversed(visits))

    @property
    def ancestors(self) -> tuple[Step, ...]:
        """Return the steps around it, the outermost first."""
        return tuple(visit.step for visit in self.lineage[:-1])

    @property
    def number(self) -> str:
        """Return the number by which people call the step, such as ``2`` or ``2.then.1``."""
        return ".".join(
            f"{visit.branch}.{visit.position + 1}" if visit.around else f"{visit.position + 1}"
            for visit in self.lineage
        )

    @property
    def path(self) -> str:
        """Return the address of the step in the document's data, as problems name it."""
        return ".".join(
            f"branches.{visit.branch}[{visit.position}]"
            if visit.around
            else f"steps[{visit.position}]"
            for visit in self.lineage
        )


@dataclass(frozen=True, kw_only=True)
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
        """Yield every step in reading order, parents before what is inside them.

        Needs no recursion, so the depth of the document does not matter. Branches come in the
        order of their mapping, which a database need not keep.
        """
        pending = [Visit(step, None, None, i, 0) for i, step in enumerate(self.steps)][::-1]
        while pending:
            visit = pending.pop()
            yield visit
            inside = [
                Visit(child, visit, branch, position, visit.depth + 1)
                for branch, steps in visit.step.branches.items()
                for position, child in enumerate(steps)
            ]
            pending.extend(reversed(inside))

    @cached_property
    def index(self) -> Mapping[str, Visit]:
        """Where each step stands, by its id, in reading order."""
        return {visit.step.id: visit for visit in self.walk()}

    def find(self, step_id: str) -> Step | None:
        """Return the step with that id, or None."""
        return self.index[step_id].step if step_id in self.index else None

    def visit(self, step_id: str) -> Visit:
        """Return where a step stands; raises EditError where the flow has no such step."""
        if step_id not in self.index:
            text = gettext(
                "The flow has no step %(step)r; it may have been deleted. Reload the flow."
            )
            raise EditError(text % {"step": step_id})
        return self.index[step_id]

    def siblings(self, visit: Visit) -> tuple[str, ...]:
        """Return the ids of the list that a step stands in, itself included."""
        steps = visit.around.step.branches[visit.branch or ""] if visit.around else self.steps
        return tuple(step.id for step in steps)

    def step_ids(self) -> tuple[str, ...]:
        """Return the ids of all steps in reading order."""
        return tuple(visit.step.id for visit in self.walk())


def count_steps(step: Step) -> int:
    """Return how many steps these are: the step and everything inside it."""
    return sum(1 for _ in step.walk())


def map_steps(steps: tuple[Step, ...], change: Callable[[Step], Step]) -> tuple[Step, ...]:
    """Return the steps, and those inside them, changed; ``change`` leaves their branches alone."""
    return tuple(_map_step(step, change) for step in steps)


def _map_step(step: Step, change: Callable[[Step], Step]) -> Step:
    changed = change(step)
    if not step.branches:
        return changed
    branches = {name: map_steps(inside, change) for name, inside in step.branches.items()}
    # What stays as it is stays the same object, which is compared at once.
    is_same = all(
        a is b
        for name, inside in branches.items()
        for a, b in zip(inside, step.branches[name], strict=True)
    )
    return changed if is_same else replace(changed, branches=branches)
