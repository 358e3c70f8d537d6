"""What a diagram shows: the steps of a document as ids, with their lists and their faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class ListKey(NamedTuple):
    """Names a list of steps: a branch of a step, or the top level where both are empty."""

    step: str = ""
    branch: str = ""


TOP = ListKey()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A branch: ``is_catch`` where it is entered only after a failure."""

    name: str
    label: str
    is_catch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """How a step is drawn, and where it leads.

    ``ends`` says that the run never continues with the next step; ``is_parallel`` that all branches
    are entered at the same time.
    """

    title: str
    text: str = ""
    icon: str = ""
    kind: str = ""
    lanes: tuple[Lane, ...] = ()
    is_loop: bool = False
    is_parallel: bool = False
    is_disabled: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a diagram: ``order`` has a step before all that is inside it."""

    order: tuple[str, ...] = ()
    lists: Mapping[ListKey, tuple[str, ...]] = field(default_factory=dict)
    faces: Mapping[str, Face] = field(default_factory=dict)

    def inside(self, step: str, branch: str) -> tuple[str, ...]:
        """Return the steps of a branch."""
        return self.lists.get(ListKey(step, branch), ())


def reading_order(
    lists: Mapping[ListKey, tuple[str, ...]], faces: Mapping[str, Face]
) -> tuple[str, ...]:
    """Return all steps, each before what is inside it; needs no recursion."""
    order: list[str] = []
    pending = [*reversed(lists.get(TOP, ()))]
    while pending:
        order.append(step := pending.pop())
        for lane in reversed(faces[step].lanes):
            pending.extend(reversed(lists.get(ListKey(step, lane.name), ())))
    return tuple(order)
