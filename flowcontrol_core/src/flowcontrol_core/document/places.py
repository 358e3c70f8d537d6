"""The places where a step may be put: one function for everything that moves or adds steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from flowcontrol_core.bounds import BRANCH_DEPTH, STEPS
from flowcontrol_core.document.tree import Document, Place, Step

BranchNames: TypeAlias = Callable[[Step], tuple[str, ...]]
"""Returns which branches a step offers, in the order in which they are shown."""


def legal_places(
    document: Document, *, moving: str | None = None, branches: BranchNames
) -> list[Place]:
    """Return every place for a new step, or for the step ``moving``, in reading order.

    The place where that step stands is one of them (see ``Visit.place``). Only branches that are
    offered have places. Raises EditError when the step ``moving`` does not exist.
    """
    if moving is None:
        height, is_full = 0, len(document.index) >= STEPS
    else:
        step = document.visit(moving).step
        height, is_full = max(visit.depth for visit in step.walk()), False
    search = _Search(branches, moving, BRANCH_DEPTH - height)
    return [] if is_full else list(search.places(document.steps, Place(index=0), 0))


class _Search(NamedTuple):
    """The input of the search for places; ``deepest`` is the last depth that has any."""

    branches: BranchNames
    moving: str | None
    deepest: int

    def places(self, steps: tuple[Step, ...], first: Place, depth: int) -> Iterator[Place]:
        """Yield the places of one list, whose first one is given, and of all lists inside it."""
        if depth > self.deepest:
            return
        others = [step for step in steps if step.id != self.moving]
        for index, step in enumerate(others):
            yield Place(parent=first.parent, branch=first.branch, index=index)
            for name in self.branches(step):
                inside = Place(parent=step.id, branch=name, index=0)
                yield from self.places(step.branches.get(name, ()), inside, depth + 1)
        yield Place(parent=first.parent, branch=first.branch, index=len(others))
