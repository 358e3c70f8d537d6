"""The places where a step may be put: the one function that all ways of moving ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from flowcontrol_core.document.rules import MAX_DEPTH, MAX_STEPS
from flowcontrol_core.document.tree import Document, Place, Step
from flowcontrol_core.errors import EditError

BranchNames: TypeAlias = Callable[[Step], tuple[str, ...]]
"""Tells which branches a step offers, in the order in which they are shown."""


def legal_places(
    document: Document, *, moving: str | None = None, branches: BranchNames
) -> list[Place]:
    """Every place for a new step, or for the step with the id ``moving``, in reading order.

    The place where that step stands is one of them (see ``place_of``). Only branches that are
    offered have places. Raises EditError when there is no step ``moving``.
    """
    if moving is None:
        is_full = sum(1 for _ in document.walk()) >= MAX_STEPS
        return [] if is_full else list(_Search(branches, None, MAX_DEPTH).inside(document))
    step = document.find(moving)
    if step is None:
        raise EditError(f"The flow has no step {moving!r}; it may have been deleted.")
    height = max(visit.depth for visit in Document(steps=(step,)).walk())
    return list(_Search(branches, moving, MAX_DEPTH - height).inside(document))


class _Search(NamedTuple):
    """What the search for places goes by; ``deepest`` is the last depth that has any."""

    branches: BranchNames
    moving: str | None
    deepest: int

    def inside(self, document: Document) -> Iterator[Place]:
        return self._places(document.steps, None, None, 0)

    def _places(
        self, steps: tuple[Step, ...], parent: str | None, branch: str | None, depth: int
    ) -> Iterator[Place]:
        if depth > self.deepest:
            return
        others = [step for step in steps if step.id != self.moving]
        for index, step in enumerate(others):
            yield Place(parent=parent, branch=branch, index=index)
            for name in self.branches(step):
                yield from self._places(step.branches.get(name, ()), step.id, name, depth + 1)
        yield Place(parent=parent, branch=branch, index=len(others))
