"""Where a run goes next: a pure function over values. No clock, no database, no action code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flowcontrol_core.engine.cursor import Cursor, Frame
from flowcontrol_core.engine.directives import FlowDirective, Kind
from flowcontrol_core.engine.program import Program
from flowcontrol_core.errors import DirectiveError

IsLoop = Callable[[str], bool]


class EndKind(Enum):
    """How the way through a program can end by itself."""

    COMPLETE = "complete"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class End:
    """There is no next step."""

    kind: EndKind


COMPLETE = End(EndKind.COMPLETE)
ABORTED = End(EndKind.ABORTED)

Position = Cursor | End
#: What a frame notes of a call that has failed or is out, once it has answered.
_FRESH: dict[str, Any] = {"tries": 0, "calling": False, "wakeup": None}


def begin(program: Program) -> Position:
    """Give the cursor of a run that has not started."""
    return COMPLETE if program.start is None else (Frame(program.start),)


def resume(program: Program, cursor: Cursor) -> Position:
    """Give the cursor to go on with after a suspension.

    It stays where it is if the program does not have its step: that is for the caller to say.
    """
    top = cursor[-1]
    if top.phase == "after" and top.step in program.nodes:
        return _after(program, cursor)
    return cursor


def advance(
    program: Program, cursor: Cursor, directive: FlowDirective, is_loop: IsLoop
) -> Position:
    """Give the cursor after the step on top of it has answered.

    ``is_loop`` says of a step id whether its action is a loop. Raises DirectiveError for an
    answer that is not possible at this place.
    """
    kind = directive.kind
    if kind is Kind.CONTINUE:
        return _after(program, cursor)
    if kind is Kind.ENTER:
        return _enter(program, cursor, directive.branch)
    if kind is Kind.LEAVE:
        return _return_to(_parent(cursor, directive, is_loop))
    if kind is Kind.BREAK:
        parent = _parent(cursor, directive, is_loop)
        return _after(program, parent) if parent else COMPLETE
    if kind is Kind.ABORT:
        return ABORTED
    if kind is Kind.SUSPEND:
        return (*cursor[:-1], cursor[-1]._replace(phase="after", **_FRESH))
    return (*cursor[:-1], cursor[-1]._replace(**_FRESH))


def place(program: Program, step_id: str, is_loop: IsLoop) -> Cursor:
    """Give the cursor of a run that is sent to a step.

    Raises DirectiveError where the version has no such step, or a loop is around it: its counter
    would be unknown.
    """
    if step_id not in program.nodes:
        raise DirectiveError(f"The version of this run has no enabled step {step_id!r}.")
    around = program.ancestors(step_id)
    for node in around:
        if is_loop(node.step.id):
            raise DirectiveError(
                f"The step {step_id!r} is inside of the loop {node.step.id!r}; "
                "a run can only be sent to steps outside of loops."
            )
    inner = [*around[1:], program.nodes[step_id]]
    frames = [
        Frame(node.step.id, "inside", child.branch)
        for node, child in zip(around, inner, strict=False)
    ]
    return (*frames, Frame(step_id))


def released_variables(before: Cursor, after: Position) -> list[str]:
    """Name the state keys whose frames were left between two positions."""
    kept = set() if isinstance(after, End) else {n for f in after for n in f.variables}
    return [name for frame in before for name in frame.variables if name not in kept]


def _after(program: Program, cursor: Cursor) -> Position:
    behind = program.nodes[cursor[-1].step].after
    if behind is None:
        return _return_to(cursor[:-1])
    return (*cursor[:-1], Frame(behind))


def _return_to(parent: Cursor) -> Position:
    if not parent:
        return COMPLETE
    top = parent[-1]
    return (
        *parent[:-1],
        Frame(top.step, "return", top.branch, top.memo, top.variables, 0, top.passes),
    )


def _enter(program: Program, cursor: Cursor, branch: str | None) -> Position:
    top = cursor[-1]
    if branch is None:
        raise DirectiveError(f"The step {top.step!r} has no branch to enter.")
    first = program.nodes[top.step].first.get(branch)
    passes = top.passes + 1
    phase_memo = (top.memo, top.variables, 0, passes)
    if first is None:
        return (*cursor[:-1], Frame(top.step, "return", branch, *phase_memo))
    return (*cursor[:-1], Frame(top.step, "inside", branch, *phase_memo), Frame(first))


def _parent(cursor: Cursor, directive: FlowDirective, is_loop: IsLoop) -> Cursor:
    """Give the stack up to the frame that LEAVE and BREAK aim at; empty at the root."""
    if directive.to == "parent":
        return cursor[:-1]
    for depth in range(len(cursor) - 1, 0, -1):
        if is_loop(cursor[depth - 1].step):
            return cursor[:depth]
    raise DirectiveError(
        f"The step {cursor[-1].step!r} goes on at the nearest loop, but no loop is around it."
    )
