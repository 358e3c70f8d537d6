"""How much room each step and each list of steps takes, found from the inside out.

Each step is visited once, and nothing calls itself: the depth of a document does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from flowcontrol_admin.diagram.plan import TOP, Face, ListKey, Plan
from flowcontrol_admin.diagram.text import LABEL, width_of

BOX_WIDTH, BOX_HEIGHT = 196, 38
#: Between two lanes, and between a step and the next one.
GAP_X, GAP_Y = 16, 18
#: Where the rail is, from the edge of a box.
RAIL = 19
LABEL_HEIGHT, LABEL_PADDING = 18, 8
#: How far the steps of a loop are moved in, and the room around them.
INDENT, FRAME = 30, 8
#: From a step to the label of its branch, and from there to the first step in it.
TO_LABEL, FROM_LABEL = GAP_Y + 2, 8
LOOP_TO_LABEL, LOOP_END = 8, 12


class Size(NamedTuple):
    """The room for a step with all that is inside it, or for a list of steps.

    ``ends`` says that the run never comes out of it at the bottom.
    """

    width: int
    height: int
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all steps and of all lists."""

    steps: Mapping[str, Size]
    lists: Mapping[ListKey, Size]


class LaneSpan(NamedTuple):
    """A lane beside the others: from where to where it reaches, counted from the first one."""

    name: str
    start: int
    width: int


def measure(plan: Plan) -> Sizes:
    """Return how large everything in a plan is."""
    steps: dict[str, Size] = {}
    lists: dict[ListKey, Size] = {}
    for step in reversed(plan.order):
        face = plan.faces[step]
        for lane in face.lanes:
            inside = [steps[each] for each in plan.inside(step, lane.name)]
            lists[ListKey(step, lane.name)] = _stack(inside)
        steps[step] = _around(step, face, lists) if face.lanes else _box(face)
    lists[TOP] = _stack([steps[each] for each in plan.lists.get(TOP, ())])
    return Sizes(steps, lists)


def label_width(text: str) -> int:
    """Return the width of the label of a branch."""
    return width_of(text, LABEL) + 2 * LABEL_PADDING


def lane_spans(step: str, face: Face, lists: Mapping[ListKey, Size]) -> Iterator[LaneSpan]:
    """Yield the lanes of a step from the trunk outwards."""
    start = 0
    for number, lane in enumerate(face.lanes):
        width = max(lists[ListKey(step, lane.name)].width, label_width(lane.label))
        # The first one is under the box of its step, or inside its loop.
        width = width if number else max(width, BOX_WIDTH)
        yield LaneSpan(lane.name, start, width)
        start += width + GAP_X


def lead(face: Face) -> int:
    """Return how far the lists of a step begin under its box."""
    to_label = LOOP_TO_LABEL if face.is_loop else TO_LABEL
    return to_label + LABEL_HEIGHT + FROM_LABEL


def _box(face: Face) -> Size:
    return Size(BOX_WIDTH, BOX_HEIGHT, face.ends and not face.is_disabled)


def _stack(sizes: list[Size]) -> Size:
    gaps = GAP_Y * max(len(sizes) - 1, 0)
    return Size(
        max((size.width for size in sizes), default=0),
        sum(size.height for size in sizes) + gaps,
        any(size.ends for size in sizes),
    )


def _around(step: str, face: Face, lists: Mapping[ListKey, Size]) -> Size:
    inside = [lists[ListKey(step, lane.name)] for lane in face.lanes]
    *_others, last = lane_spans(step, face, lists)
    width = last.start + last.width
    height = BOX_HEIGHT + lead(face) + max(size.height for size in inside)
    if face.is_loop:
        return Size(INDENT + width + FRAME, height + LOOP_END)
    ends = all(size.ends for size in inside) and not (face.is_parallel or face.is_disabled)
    return Size(width + (FRAME if face.is_parallel else 0), height + GAP_Y, ends)
