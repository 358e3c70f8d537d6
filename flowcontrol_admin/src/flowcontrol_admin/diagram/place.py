"""Where each step stands, and the rails between them; each step is visited once.

The trunk is one straight line. Branches stand side by side, the first one under its step, and lead
back to the trunk where the run comes out of them. A loop is moved in, and its rail points upwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from flowcontrol_admin.diagram.measure import (
    BOX_HEIGHT,
    BOX_WIDTH,
    FRAME,
    FROM_LABEL,
    GAP_Y,
    INDENT,
    LABEL_HEIGHT,
    LOOP_TO_LABEL,
    RAIL,
    TO_LABEL,
    Sizes,
    label_width,
    lane_spans,
    lead,
    measure,
)
from flowcontrol_admin.diagram.plan import TOP, Face, Lane, ListKey, Plan

MARGIN = 14
#: The radius of the first and the last pin, and the room for each.
PIN, PIN_ROOM = 11, 44


class Point(NamedTuple):
    x: int
    y: int


class Passage(NamedTuple):
    """Where a rail leads, to tell whether a run has passed it.

    ``to`` a step; into a ``lane`` of it; ``back`` from a lane; ``after`` the last step of the flow.
    """

    kind: str
    step: str = ""
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Rail:
    """A line with round corners; without a ``step`` it is part of the trunk."""

    points: tuple[Point, ...]
    passage: Passage
    step: str = ""
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """The box of a step; it is BOX_WIDTH wide and BOX_HEIGHT high."""

    step: str
    at: Point


@dataclass(frozen=True, slots=True)
class Label:
    """The label of a branch; ``at`` is its upper corner."""

    at: Point
    width: int
    step: str
    lane: Lane


@dataclass(frozen=True, slots=True)
class Frame:
    """The ground under a loop, or under branches that are executed at the same time."""

    at: Point
    width: int
    height: int
    step: str


@dataclass(frozen=True, slots=True)
class Bar:
    """The double line where parallel branches begin and end."""

    at: Point
    width: int
    step: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """The head of the arrow on the rail of a loop; ``at`` is its point."""

    at: Point
    step: str


@dataclass(frozen=True, slots=True)
class Pin:
    """Where the flow begins (``is_first``) or ends; ``at`` is its middle."""

    at: Point
    is_first: bool


Shape: TypeAlias = Frame | Rail | Bar | Arrow | Label | Box | Pin


@dataclass(frozen=True, slots=True)
class Layout:
    """All shapes with the size of the picture."""

    shapes: tuple[Shape, ...]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Spot:
    """A lane of a step in the picture: ``rail`` is the x of its rail, ``top`` where steps begin."""

    lane: Lane
    x: int
    width: int
    top: int
    #: Where its last step ends.
    end: int
    ends: bool

    @property
    def rail(self) -> int:
        return self.x + RAIL


def lay_out(plan: Plan) -> Layout:
    """Return where everything of a plan stands."""
    sizes = measure(plan)
    whole = sizes.lists[TOP]
    top = Point(MARGIN, PIN_ROOM)
    spots = dict(_column(plan.lists.get(TOP, ()), sizes, top))
    shapes: list[Shape] = [*_trunk(plan.lists.get(TOP, ()), spots, sizes)]
    for step in plan.order:
        at, face = spots[step], plan.faces[step]
        shapes.append(Box(step, at))
        if face.lanes:
            lanes = [*_lanes(step, face, at, sizes)]
            for lane in lanes:
                steps = plan.inside(step, lane.lane.name)
                spots |= _column(steps, sizes, Point(lane.x, lane.top))
                shapes += _trunk(steps, spots, sizes)
            shapes += _around(step, face, at, lanes, sizes)
    end = PIN_ROOM + whole.height
    shapes += _pins(plan.lists.get(TOP, ()), end, ends=whole.ends)
    width = max(whole.width, BOX_WIDTH) + 2 * MARGIN
    return Layout(tuple(shapes), width, end + (MARGIN if whole.ends else PIN_ROOM))


def _column(steps: tuple[str, ...], sizes: Sizes, at: Point) -> Iterator[tuple[str, Point]]:
    """Yield where the steps of a list stand, one under the other."""
    y = at.y
    for step in steps:
        yield step, Point(at.x, y)
        y += sizes.steps[step].height + GAP_Y


def _trunk(steps: tuple[str, ...], spots: Mapping[str, Point], sizes: Sizes) -> Iterator[Rail]:
    """Yield the rails from each step of a list to the next one."""
    for step, following in pairwise(steps):
        at, size = spots[step], sizes.steps[step]
        if not size.ends:
            # The trunk continues from where the branches of the step came back to it.
            points = (
                Point(at.x + RAIL, at.y + size.height),
                Point(at.x + RAIL, spots[following].y),
            )
            yield Rail(points, Passage("to", following))


def _lanes(step: str, face: Face, at: Point, sizes: Sizes) -> Iterator[_Spot]:
    left = at.x + (INDENT if face.is_loop else 0)
    top = at.y + BOX_HEIGHT + lead(face)
    spans = lane_spans(step, face, sizes.lists)
    for lane, span in zip(face.lanes, spans, strict=True):
        size = sizes.lists[ListKey(step, lane.name)]
        yield _Spot(lane, left + span.start, span.width, top, top + size.height, size.ends)


def _around(step: str, face: Face, at: Point, lanes: list[_Spot], sizes: Sizes) -> Iterator[Shape]:
    """Yield what is drawn around the branches of a step."""
    size = sizes.steps[step]
    if face.is_loop or face.is_parallel:
        width, height = size.width + 2 * FRAME, size.height + 2 * FRAME
        yield Frame(Point(at.x - FRAME, at.y - FRAME), width - FRAME, height, step)
    parts = _loop if face.is_loop else _parallel if face.is_parallel else _split
    yield from parts(step, at, lanes, at.y + size.height)


def _label(step: str, lane: _Spot, y: int) -> Label:
    return Label(Point(lane.x, y), label_width(lane.lane.label), step, lane.lane)


def _split(step: str, at: Point, lanes: list[_Spot], merge: int) -> Iterator[Shape]:
    """Yield the rails into each branch and back."""
    trunk, bottom = at.x + RAIL, at.y + BOX_HEIGHT
    label = bottom + TO_LABEL
    for lane in lanes:
        name, is_dashed = lane.lane.name, lane.lane.is_catch
        into, back = Passage("lane", step, name), Passage("back", step, name)
        down = (Point(trunk, bottom), Point(trunk, bottom + GAP_Y // 2))
        across = (Point(lane.rail, bottom + GAP_Y // 2), Point(lane.rail, label))
        yield Rail((*down, *across), into, step, is_dashed)
        yield _label(step, lane, label)
        yield from _first(step, lane, label + LABEL_HEIGHT)
        if not lane.ends:
            points = (Point(lane.rail, lane.end), Point(lane.rail, merge), Point(trunk, merge))
            yield Rail(points, back, step, is_dashed)


def _first(step: str, lane: _Spot, label_end: int) -> Iterator[Rail]:
    """Yield the rail from the label of a branch to its first step."""
    if lane.top - label_end > 0:
        points = (Point(lane.rail, label_end), Point(lane.rail, lane.top))
        yield Rail(points, Passage("lane", step, lane.lane.name), step, lane.lane.is_catch)


def _parallel(step: str, at: Point, lanes: list[_Spot], merge: int) -> Iterator[Shape]:
    """Yield two double lines, with all branches between them."""
    trunk, bottom = at.x + RAIL, at.y + BOX_HEIGHT
    begin, label = bottom + GAP_Y // 2, bottom + TO_LABEL
    width = lanes[-1].x + lanes[-1].width - at.x
    yield Rail((Point(trunk, bottom), Point(trunk, begin)), Passage("to", step), step)
    for lane in lanes:
        into = Passage("lane", step, lane.lane.name)
        yield Rail((Point(lane.rail, begin), Point(lane.rail, label)), into, step)
        yield _label(step, lane, label)
        yield from _first(step, lane, label + LABEL_HEIGHT)
        if not lane.ends:
            points = (Point(lane.rail, lane.end), Point(lane.rail, merge))
            yield Rail(points, Passage("back", step, lane.lane.name), step)
    yield Bar(Point(at.x, begin), width, step)
    yield Bar(Point(at.x, merge), width, step)


def _loop(step: str, at: Point, lanes: list[_Spot], merge: int) -> Iterator[Shape]:
    """Yield the rail of a loop with an arrow that points upwards, and what leaves it."""
    trunk, bottom = at.x + RAIL, at.y + BOX_HEIGHT
    label = bottom + LOOP_TO_LABEL
    middle = label + LABEL_HEIGHT // 2
    yield Rail((Point(trunk, bottom), Point(trunk, merge)), Passage("to", step), step)
    for lane in lanes:
        name, is_dashed = lane.lane.name, lane.lane.is_catch
        into, back = Passage("lane", step, name), Passage("back", step, name)
        yield Rail((Point(trunk, middle), Point(lane.x, middle)), into, step, is_dashed)
        yield _label(step, lane, label)
        yield from _first(step, lane, label + LABEL_HEIGHT)
        if not lane.ends:
            points = (Point(lane.rail, lane.end), Point(lane.rail, merge), Point(trunk, merge))
            yield Rail(points, back, step, is_dashed)
    yield Arrow(Point(trunk, label + LABEL_HEIGHT + FROM_LABEL // 2), step)


def _pins(steps: tuple[str, ...], end: int, *, ends: bool) -> Iterator[Shape]:
    x = MARGIN + RAIL
    yield Pin(Point(x, MARGIN), is_first=True)
    if steps:
        points = (Point(x, MARGIN + PIN), Point(x, PIN_ROOM))
        yield Rail(points, Passage("to", steps[0]))
    if not ends:
        last = end + PIN_ROOM - MARGIN - 2
        yield Rail(
            (Point(x, end if steps else MARGIN + PIN), Point(x, last - PIN)), Passage("after")
        )
        yield Pin(Point(x, last), is_first=False)
