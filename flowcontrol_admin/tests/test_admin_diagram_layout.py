"""Where the steps of a diagram stand: pure values, without a document or a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flowcontrol_admin.diagram.measure import (
    BOX_HEIGHT,
    BOX_WIDTH,
    GAP_X,
    GAP_Y,
    INDENT,
    RAIL,
    measure,
)
from flowcontrol_admin.diagram.place import (
    Arrow,
    Bar,
    Box,
    Frame,
    Label,
    Layout,
    Pin,
    Rail,
    lay_out,
)
from flowcontrol_admin.diagram.plan import TOP, Face, Lane, ListKey, Plan, reading_order
from flowcontrol_admin.diagram.text import TEXT, TITLE, cut, width_of

THEN, ELSE = Lane(name="then", label="Then"), Lane(name="else", label="Otherwise")
BODY = Lane(name="body", label="Each time")


def build(top: tuple[str, ...], faces: dict[str, Face], **branches: tuple[str, ...]) -> Plan:
    lists = {TOP: top}
    for name, steps in branches.items():
        lists[ListKey(*name.rsplit("_", 1))] = steps
    names = {step for steps in lists.values() for step in steps}
    known = {name: faces.get(name, Face(title=name)) for name in names}
    return Plan(order=reading_order(lists, known), lists=lists, faces=known)


def choice(**more: Any) -> Face:
    return Face(title="If", lanes=(THEN, ELSE), **more)


def loop(**more: Any) -> Face:
    return Face(title="For", lanes=(BODY,), is_loop=True, **more)


def boxes(layout: Layout) -> dict[str, Box]:
    return {shape.step: shape for shape in layout.shapes if isinstance(shape, Box)}


def rails(layout: Layout, kind: str) -> list[Rail]:
    found = (shape for shape in layout.shapes if isinstance(shape, Rail))
    return [rail for rail in found if rail.passage.kind == kind]


def test_steps_of_a_list_stand_one_under_the_other_on_one_straight_rail() -> None:
    layout = lay_out(build(("a", "b", "c"), {}))
    at = boxes(layout)
    assert {at[name].at.x for name in "abc"} == {at["a"].at.x}
    assert at["b"].at.y - at["a"].at.y == BOX_HEIGHT + GAP_Y
    xs = {point.x for rail in rails(layout, "to") for point in rail.points}
    assert len(xs) == 1


def test_branches_stand_side_by_side_the_first_one_under_its_step_and_come_back() -> None:
    plan = build(("if", "z"), {"if": choice()}, if_then=("a", "b"), if_else=("c",))
    layout = lay_out(plan)
    at = boxes(layout)
    assert at["a"].at.x == at["if"].at.x
    assert at["c"].at.x == at["if"].at.x + BOX_WIDTH + GAP_X
    assert at["a"].at.y == at["c"].at.y > at["if"].at.y + BOX_HEIGHT
    assert at["z"].at.y > at["b"].at.y
    (short,) = [rail for rail in rails(layout, "back") if rail.passage.branch == "else"]
    trunk = at["if"].at.x + RAIL
    assert short.points[-1].x == trunk
    assert at["b"].at.y + BOX_HEIGHT < short.points[-1].y < at["z"].at.y
    assert sum(isinstance(shape, Label) for shape in layout.shapes) == 2


def test_a_branch_that_ends_does_not_come_back() -> None:
    faces = {"if": choice(), "stop": Face(title="Stop", ends=True)}
    plan = build(("if", "z"), faces, if_then=("stop",), if_else=("c",))
    assert {rail.passage.branch for rail in rails(lay_out(plan), "back")} == {"else"}
    assert not measure(plan).steps["if"].ends


def test_the_flow_ends_where_all_branches_do_and_its_trunk_with_it() -> None:
    faces = {"if": choice(), "s": Face(title="Stop", ends=True), "t": Face(title="S", ends=True)}
    layout = lay_out(build(("if", "z"), faces, if_then=("s",), if_else=("t",)))
    assert not [rail for rail in rails(layout, "to") if rail.passage.step == "z"]
    assert not rails(layout, "after")
    assert [shape.is_first for shape in layout.shapes if isinstance(shape, Pin)] == [True]


def test_a_step_that_is_switched_off_ends_nothing() -> None:
    plan = build(("stop", "z"), {"stop": Face(title="Stop", ends=True, is_disabled=True)})
    assert not measure(plan).steps["stop"].ends


def test_an_empty_branch_has_its_label_and_its_way_back() -> None:
    layout = lay_out(build(("if",), {"if": choice()}, if_then=("a",)))
    labels = {shape.lane.name for shape in layout.shapes if isinstance(shape, Label)}
    assert labels == {"then", "else"}
    assert {rail.passage.branch for rail in rails(layout, "back")} == {"then", "else"}


def test_a_loop_is_moved_in_on_a_ground_with_an_arrow_that_points_up() -> None:
    layout = lay_out(build(("for", "z"), {"for": loop()}, for_body=("a", "b")))
    at = boxes(layout)
    assert at["a"].at.x == at["for"].at.x + INDENT
    (arrow,) = [shape for shape in layout.shapes if isinstance(shape, Arrow)]
    assert at["for"].at.y + BOX_HEIGHT < arrow.at.y < at["a"].at.y + BOX_HEIGHT
    assert arrow.at.x == at["for"].at.x + RAIL
    (ground,) = [shape for shape in layout.shapes if isinstance(shape, Frame)]
    assert ground.at.y < at["for"].at.y
    assert ground.at.y + ground.height < at["z"].at.y


def test_parallel_branches_stand_between_two_double_lines() -> None:
    parallel = choice(is_parallel=True)
    layout = lay_out(build(("p", "z"), {"p": parallel}, p_then=("a",), p_else=("b", "c")))
    above, below = [shape.at.y for shape in layout.shapes if isinstance(shape, Bar)]
    at = boxes(layout)
    assert above < at["a"].at.y
    assert at["c"].at.y + BOX_HEIGHT < below < at["z"].at.y


def deep(levels: int) -> Plan:
    """Return choices and loops in turn, each inside the one before."""
    faces, branches = {}, {}
    for number in range(levels):
        name, inside = f"s{number}", (f"s{number + 1}",)
        faces[name] = loop() if number % 2 else choice()
        branches[f"{name}_{'body' if number % 2 else 'else'}"] = inside
    return build(("s0",), faces, **branches)


def overlapping(layout: Layout) -> Iterator[tuple[str, str]]:
    spots = [(box.at.x, box.at.y, box.step) for box in boxes(layout).values()]
    for number, (x, y, step) in enumerate(spots):
        for other_x, other_y, other in spots[number + 1 :]:
            if abs(x - other_x) < BOX_WIDTH and abs(y - other_y) < BOX_HEIGHT:
                yield step, other


@pytest.mark.parametrize("levels", [1, 2, 50, 2_000])
def test_nothing_overlaps_and_all_is_inside_the_picture_however_deep_it_is(levels: int) -> None:
    layout = lay_out(deep(levels))
    found = boxes(layout)
    assert len(found) == levels + 1
    if levels <= 50:
        assert not [*overlapping(layout)]
    assert all(0 <= box.at.x <= layout.width - BOX_WIDTH for box in found.values())
    assert all(0 <= box.at.y <= layout.height - BOX_HEIGHT for box in found.values())
    points = [point for shape in layout.shapes if isinstance(shape, Rail) for point in shape.points]
    assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in points)


class Counted(Mapping[Any, Any]):
    """Counts how often anything is asked of a mapping."""

    def __init__(self, inside: Mapping[Any, Any], asked: Counter[str]) -> None:
        self.inside, self.asked = inside, asked

    def __getitem__(self, key: Any) -> Any:
        self.asked["times"] += 1
        return self.inside[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.inside)

    def __len__(self) -> int:
        return len(self.inside)


def asked(plan: Plan) -> int:
    counter: Counter[str] = Counter()
    lists, faces = Counted(plan.lists, counter), Counted(plan.faces, counter)
    lay_out(Plan(order=plan.order, lists=lists, faces=faces))
    return counter["times"]


def test_each_step_is_visited_a_fixed_number_of_times() -> None:
    for make in (deep, lambda count: build(tuple(f"s{number}" for number in range(count)), {})):
        small, large = asked(make(50)), asked(make(400))
        assert large <= 8 * small
        assert large <= 12 * 401


def test_texts_are_cut_by_their_width_and_not_by_their_length() -> None:
    assert cut("short", TITLE, 150) == "short"
    wide, narrow = cut("W" * 40, TEXT, 150), cut("i" * 40, TEXT, 150)
    assert wide.endswith("…")
    assert len(wide) < len(narrow)
    for text in ("W" * 40, "i" * 90, "Überweisung an Ärztinnen " * 4, "請求書を送る" * 9):
        assert width_of(cut(text, TEXT, 150), TEXT) <= 150
