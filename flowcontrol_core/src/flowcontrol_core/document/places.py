"""The places where a step may be put: one function for everything that moves or adds steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

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
    found = _places(document.steps, Place(index=0), BRANCH_DEPTH - height, moving, branches)
    return [] if is_full else list(found)


def _places(
    steps: tuple[Step, ...], first: Place, room: int, moving: str | None, branches: BranchNames
) -> Iterator[Place]:
    """Yield the places of one list, whose first one is given, and of all lists inside it.

    ``room`` is how many branches deeper a place may be.
    """
    if room < 0:
        return
    others = [step for step in steps if step.id != moving]
    for index, step in enumerate(others):
        yield replace(first, index=index)
        for name in branches(step):
            inside = Place(parent=step.id, branch=name, index=0)
            yield from _places(step.branches.get(name, ()), inside, room - 1, moving, branches)
    yield replace(first, index=len(others))
