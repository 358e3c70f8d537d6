"""Where a run goes next: named cases, and what holds for all trees and all answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.engine.codec import cursor_from_json, cursor_to_json
from flowcontrol_core.engine.cursor import Cursor, Frame
from flowcontrol_core.engine.directives import FlowDirective, Kind, Target, Wait
from flowcontrol_core.engine.interpreter import (
    End,
    Position,
    advance,
    begin,
    given_back,
    locate,
    resume,
)
from flowcontrol_core.engine.program import Program
from flowcontrol_core.errors import DirectiveError

CONTINUE, ABORT = FlowDirective.CONTINUE, FlowDirective.ABORT
ENTER = FlowDirective(Kind.ENTER, branch="body")


def leave(to: Target = "parent") -> FlowDirective:
    return FlowDirective(Kind.LEAVE, to=to)


def break_(to: Target = "parent") -> FlowDirective:
    return FlowDirective(Kind.BREAK, to=to)


def no_loops(step_id: str) -> bool:
    return False


def loops(*names: str) -> Callable[[str], bool]:
    return lambda step_id: step_id in names


def at(*frames: tuple[str, str]) -> Cursor:
    """Return a cursor: the steps around, being inside of their body, and the one on top."""
    return tuple(
        Frame(step, phase, "body" if phase in ("inside", "return") else None)  # type: ignore[arg-type]
        for step, phase in frames
    )


def where(position: Position) -> list[tuple[str, str]]:
    assert not isinstance(position, End), position
    return [(frame.step, frame.phase) for frame in position]


@pytest.fixture
def nested(step: Any, compile_: Callable[..., Program]) -> Program:
    """Return a loop around a condition around a container of x and y, with a step after each."""
    inner = step("inner", body=[step("x"), step("y")])
    condition = step("if", body=[inner, step("after_inner")])
    return compile_(step("loop", body=[condition, step("after_if")]), step("end"))


DEEP = at(("loop", "inside"), ("if", "inside"), ("inner", "inside"), ("x", "run"))


def test_a_flow_without_steps_is_complete_at_once(compile_: Any) -> None:
    assert begin(compile_()) is End.COMPLETE


def test_a_run_begins_at_the_first_step(nested: Program) -> None:
    assert begin(nested) == (Frame("loop"),)


def test_continue_goes_to_the_next_sibling(nested: Program) -> None:
    assert where(advance(nested, DEEP, CONTINUE, no_loops))[-1] == ("y", "run")


def test_continue_at_the_end_of_a_branch_returns_to_its_step(nested: Program) -> None:
    last = (*DEEP[:-1], Frame("y"))
    assert where(advance(nested, last, CONTINUE, no_loops)) == [
        ("loop", "inside"),
        ("if", "inside"),
        ("inner", "return"),
    ]


def test_continue_after_the_last_step_completes(nested: Program) -> None:
    assert advance(nested, at(("end", "run")), CONTINUE, no_loops) is End.COMPLETE


def test_entering_goes_to_the_first_step_of_the_branch_and_counts_the_pass(
    nested: Program,
) -> None:
    position = advance(nested, at(("loop", "run")), ENTER, no_loops)
    assert position == (Frame("loop", "inside", "body", passes=1), Frame("if"))
    again = advance(nested, (Frame("loop", "return", "body", passes=1),), ENTER, no_loops)
    assert again == (Frame("loop", "inside", "body", passes=2), Frame("if"))


@pytest.mark.parametrize("branch", ["empty", "missing", "off"])
def test_an_empty_branch_counts_as_returned_from(step: Any, compile_: Any, branch: str) -> None:
    program = compile_(step("s", empty=[], off=[step("in", disabled=True)]))
    directive = FlowDirective(Kind.ENTER, branch=branch)
    position = advance(program, at(("s", "run")), directive, no_loops)
    assert position == (Frame("s", "return", branch, passes=1),)


def test_entering_without_a_branch_is_refused(nested: Program) -> None:
    with pytest.raises(DirectiveError, match="'end' has no branch to enter"):
        advance(nested, at(("end", "run")), FlowDirective.ENTER, no_loops)


def test_leave_returns_to_the_parent_and_break_continues_after_it(nested: Program) -> None:
    around = [("loop", "inside"), ("if", "inside")]
    assert where(advance(nested, DEEP, leave(), no_loops)) == [*around, ("inner", "return")]
    assert where(advance(nested, DEEP, break_(), no_loops)) == [*around, ("after_inner", "run")]


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_leave_and_break_reach_the_nearest_loop_from_any_depth(nested: Program, depth: int) -> None:
    cursor = DEEP[:depth]
    is_loop = loops("loop")
    assert where(advance(nested, cursor, leave("loop"), is_loop)) == [("loop", "return")]
    assert where(advance(nested, cursor, break_("loop"), is_loop)) == [("end", "run")]


def test_the_nearest_of_several_loops_is_meant(nested: Program) -> None:
    position = advance(nested, DEEP, break_("loop"), loops("loop", "if"))
    assert where(position) == [("loop", "inside"), ("after_if", "run")]


def test_a_loop_that_leaves_means_the_loop_around_itself(nested: Program) -> None:
    cursor = DEEP[:2]
    position = advance(nested, cursor, break_("loop"), loops("loop", "if"))
    assert where(position) == [("end", "run")]


@pytest.mark.parametrize("directive", [leave("loop"), break_("loop")])
def test_without_a_loop_around_going_to_one_is_refused(
    nested: Program, directive: FlowDirective
) -> None:
    with pytest.raises(DirectiveError, match="'x' asks for the nearest loop, but no loop"):
        advance(nested, DEEP, directive, no_loops)
    with pytest.raises(DirectiveError, match="no loop is around it"):
        advance(nested, at(("end", "run")), directive, loops("end"))


@pytest.mark.parametrize("directive", [leave(), break_()])
def test_leave_and_break_at_the_root_complete(nested: Program, directive: FlowDirective) -> None:
    assert advance(nested, at(("loop", "run")), directive, no_loops) is End.COMPLETE


def test_abort_ends_the_run_from_any_depth(nested: Program) -> None:
    assert advance(nested, DEEP, ABORT, no_loops) is End.ABORTED


def test_leaving_drops_what_the_frames_inside_had_kept(nested: Program) -> None:
    inner = Frame("inner", "inside", "body", {"value": 5}, {"j": ["kept"]}, passes=5)
    outer = Frame("loop", "inside", "body", {"value": 1}, {"i": []}, passes=1)
    cursor = (outer, Frame("if", "inside", "body"), inner, Frame("x"))
    position = advance(nested, cursor, break_(), loops("inner", "loop"))
    assert given_back(cursor, position) == {"j": ["kept"]}
    assert not isinstance(position, End)
    assert position[0] is outer
    # Coming to the inner loop again begins with nothing.
    returned = advance(nested, cursor, leave("loop"), loops("loop"))
    assert returned == (Frame("loop", "return", "body", {"value": 1}, {"i": []}, passes=1),)
    assert given_back(cursor, returned) == {"j": ["kept"]}
    assert given_back(cursor, End.ABORTED) == {"i": [], "j": ["kept"]}


def test_a_variable_that_an_outer_frame_has_too_is_the_outer_ones_again() -> None:
    outer, inner = Frame("a", hidden={"i": ["kept"]}), Frame("b", hidden={"i": [1], "j": []})
    assert given_back((outer, inner), (outer,)) == {"i": [1], "j": []}
    assert given_back((outer, inner), End.COMPLETE) == {"i": ["kept"], "j": []}


def test_a_run_that_is_sent_elsewhere_leaves_all_frames_with_variables() -> None:
    outer, inner = Frame("a", "inside", "body", hidden={"i": [1]}), Frame("b")
    assert given_back((outer, inner), (Frame("a", "inside", "body"), Frame("c"))) == {"i": [1]}
    assert given_back((outer,), (Frame("a"),)) == {"i": [1]}
    assert given_back((outer, inner), (outer, Frame("c"))) == {}


def test_suspending_resumes_after_the_step_without_entering_an_ancestor(
    nested: Program,
) -> None:
    directive = FlowDirective(Kind.SUSPEND, wait=Wait())
    position = advance(nested, DEEP, directive, no_loops)
    assert where(position) == [*where(DEEP[:-1]), ("x", "after")]
    assert isinstance(position, tuple)
    assert where(resume(nested, position)) == [*where(DEEP[:-1]), ("y", "run")]


def test_suspending_in_the_last_step_resumes_by_returning_to_the_parent(nested: Program) -> None:
    cursor = (*DEEP[:-1], Frame("y", "after"))
    assert where(resume(nested, cursor))[-1] == ("inner", "return")
    assert resume(nested, at(("end", "after"))) is End.COMPLETE


@pytest.mark.parametrize("phase", ["run", "return"])
def test_suspending_to_repeat_resumes_in_the_same_method(nested: Program, phase: Any) -> None:
    cursor = (Frame("loop", phase, "body", {"a": 1}, {"i": []}, tries=2, passes=3, calling=True),)
    directive = FlowDirective(Kind.SUSPEND_AND_REPEAT, wait=Wait())
    position = advance(nested, cursor, directive, no_loops)
    assert position == (Frame("loop", phase, "body", {"a": 1}, {"i": []}, passes=3),)
    assert resume(nested, position) == position


def test_a_run_is_placed_with_the_steps_around_the_target(nested: Program) -> None:
    assert locate(nested, "y", no_loops) == (
        Frame("loop", "inside", "body"),
        Frame("if", "inside", "body"),
        Frame("inner", "inside", "body"),
        Frame("y"),
    )
    assert locate(nested, "end", no_loops) == (Frame("end"),)


def test_a_run_cannot_be_placed_inside_of_a_loop_or_at_a_step_that_is_not_there(
    nested: Program,
) -> None:
    with pytest.raises(DirectiveError, match="'y' is inside of the loop 'if'"):
        locate(nested, "y", loops("if"))
    # The loop itself is not around itself.
    assert locate(nested, "inner", loops("inner"))
    with pytest.raises(DirectiveError, match="no enabled step 'gone'"):
        locate(nested, "gone", no_loops)


def test_a_disabled_step_and_all_in_it_cannot_be_reached(step: Any, compile_: Any) -> None:
    program = compile_(step("a"), step("off", disabled=True, body=[step("in")]), step("b", body=[]))
    assert set(program.nodes) == {"a", "b"}
    assert where(advance(program, at(("a", "run")), CONTINUE, no_loops)) == [("b", "run")]
    for name in ("off", "in"):
        with pytest.raises(DirectiveError, match="no enabled step"):
            locate(program, name, no_loops)


# What holds for all trees and all answers.


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Return a random tree whose steps are numbered in reading order, some of them disabled."""
    trees: st.SearchStrategy[Any] = st.recursive(
        st.just({}),
        lambda inner: st.dictionaries(
            st.sampled_from(["then", "else"]), st.lists(inner, max_size=3), max_size=2
        ),
        max_leaves=12,
    )
    count = iter(range(1_000))

    def build(tree: Any) -> Step:
        name, disabled = f"n{next(count)}", draw(st.integers(0, 9)) == 0
        branches = {key: tuple(build(item) for item in items) for key, items in tree.items()}
        return Step(id=name, action="test.any", disabled=disabled, branches=branches)

    return Document(steps=tuple(build(tree) for tree in draw(st.lists(trees, max_size=4))))


DIRECTIVES = st.one_of(
    st.just(CONTINUE),
    st.sampled_from(["then", "else"]).map(lambda branch: FlowDirective(Kind.ENTER, branch=branch)),
    st.builds(
        FlowDirective,
        st.sampled_from([Kind.LEAVE, Kind.BREAK]),
        to=st.sampled_from(["parent", "loop"]),
    ),
    st.sampled_from([Kind.SUSPEND, Kind.SUSPEND_AND_REPEAT]).map(
        lambda kind: FlowDirective(kind, wait=Wait())
    ),
)


def check_legal(program: Program, cursor: Cursor) -> None:
    """Hold that a cursor is a path through the tree, with the one step to be called on top."""
    assert cursor
    parent: Frame | None = None
    for frame in cursor:
        node = program.nodes[frame.step]
        assert node.parent == (parent.step if parent else None)
        assert node.branch == (parent.branch if parent else None)
        assert frame is cursor[-1] or frame.phase == "inside"
        parent = frame
    top = cursor[-1]
    assert top.phase in ("run", "return", "after")
    assert (top.tries, top.calling) == (0, False)
    assert cursor_from_json(cursor_to_json(cursor)) == cursor


@given(documents(), st.lists(DIRECTIVES, max_size=40), st.sets(st.integers(0, 20)))
def test_the_cursor_is_legal_whatever_the_actions_answer(
    document: Document, answers: list[FlowDirective], loop_numbers: set[int]
) -> None:
    program = Program.compile(document)
    is_loop = loops(*(f"n{number}" for number in loop_numbers))
    position = begin(program)
    for answer in answers:
        if isinstance(position, End):
            break
        check_legal(program, position)
        if position[-1].phase == "after":
            position = resume(program, position)
            continue
        try:
            after = advance(program, position, answer, is_loop)
        except DirectiveError:
            assert answer.to == "loop"
            assert not any(is_loop(frame.step) for frame in position[:-1])
            continue
        check_move(position, after, answer)
        position = after
    assert position is not End.ABORTED
    if not isinstance(position, End):
        check_legal(program, position)


def check_move(before: Cursor, after: Position, answer: FlowDirective) -> None:
    """Hold that the frames around are untouched, except for the one that is returned to."""
    if isinstance(after, End):
        return
    depth = min(len(before), len(after)) - 1
    assert after[:depth] == before[:depth]
    assert len(after) <= len(before) + (answer.kind is Kind.ENTER)
    if answer.kind is Kind.CONTINUE:
        assert len(before) - len(after) in (0, 1)


def enabled(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        if not step.disabled:
            yield step


@given(documents())
def test_with_continue_only_each_enabled_step_of_the_top_level_is_visited_once_in_order(
    document: Document,
) -> None:
    program, visited = Program.compile(document), []
    position = begin(program)
    while not isinstance(position, End):
        visited.append((position[-1].step, position[-1].phase))
        position = advance(program, position, CONTINUE, no_loops)
    assert position is End.COMPLETE
    assert visited == [(step.id, "run") for step in enabled(document.steps)]


@given(documents())
def test_entering_all_branches_visits_each_enabled_step_once_in_reading_order(
    document: Document,
) -> None:
    program, visited = Program.compile(document), []
    position = begin(program)
    while not isinstance(position, End):
        top = position[-1]
        names = [*program.nodes[top.step].first]
        if top.phase == "run":
            visited.append(top.step)
            following = names[:1]
        else:
            following = names[names.index(str(top.branch)) + 1 :][:1]
        answer = FlowDirective(Kind.ENTER, branch=following[0]) if following else CONTINUE
        position = advance(program, position, answer, no_loops)

    def ids(steps: tuple[Step, ...]) -> Iterator[str]:
        for step in enabled(steps):
            yield step.id
            for branch in step.branches.values():
                yield from ids(branch)

    assert visited == [*ids(document.steps)]


@given(documents())
def test_each_enabled_step_can_be_placed_at_and_the_cursor_is_legal(document: Document) -> None:
    program = Program.compile(document)
    for name in program.nodes:
        cursor = locate(program, name, no_loops)
        check_legal(program, cursor)
        assert (cursor[-1].step, cursor[-1].phase) == (name, "run")
        assert [node.step.id for node in program.ancestors(name)] == [f.step for f in cursor[:-1]]


def test_a_run_whose_step_is_not_in_the_program_stays_where_it_is(nested: Program) -> None:
    cursor = at(("gone", "after"))
    assert resume(nested, cursor) == cursor
