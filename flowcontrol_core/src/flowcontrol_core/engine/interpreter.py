"""Where a run goes next: a pure function over values. No clock, no database, no action code.

A position is the cursor to continue with, or the end. ``begin`` returns the first one, ``advance``
the next one after each answer of an action, ``resume`` the one after a suspension.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import pairwise
from typing import Any

from flowcontrol_core.engine.cursor import Cursor, Frame, Phase
from flowcontrol_core.engine.directives import FlowDirective, Kind
from flowcontrol_core.engine.program import Program
from flowcontrol_core.errors import DirectiveError, gettext

IsLoop = Callable[[str], bool]


class End(Enum):
    """How the way through a program ends by itself: there is no next step."""

    COMPLETE = "complete"
    ABORTED = "aborted"


Position = Cursor | End
#: What a frame notes of a call that failed or is being made, once it has answered.
_FRESH: dict[str, Any] = {"tries": 0, "calling": False, "wakeup": None}


def begin(program: Program) -> Position:
    """Return the position of a run that has not started."""
    return End.COMPLETE if program.start is None else (Frame(program.start),)


def resume(program: Program, cursor: Cursor) -> Position:
    """Return the position to continue with after a suspension.

    It stays where it is if the program does not have its step: the caller reports that.
    """
    top = cursor[-1]
    if top.phase == "after" and top.step in program.nodes:
        return _after(program, cursor)
    return cursor


def advance(
    program: Program, cursor: Cursor, directive: FlowDirective, is_loop: IsLoop
) -> Position:
    """Return the position after the step on top of the cursor has answered.

    ``is_loop`` returns for a step id whether its action is a loop. Raises DirectiveError for an
    answer that is not possible at this place.
    """
    kind = directive.kind
    if kind is Kind.CONTINUE:
        return _after(program, cursor)
    if kind is Kind.ENTER:
        return _enter(program, cursor, directive.branch)
    if kind is Kind.LEAVE:
        return _return_to(_target(cursor, directive, is_loop))
    if kind is Kind.BREAK:
        target = _target(cursor, directive, is_loop)
        return _after(program, target) if target else End.COMPLETE
    if kind is Kind.ABORT:
        return End.ABORTED
    if kind is Kind.SUSPEND:
        return (*cursor[:-1], cursor[-1]._replace(phase="after", **_FRESH))
    return (*cursor[:-1], cursor[-1]._replace(**_FRESH))


def locate(program: Program, step_id: str, is_loop: IsLoop) -> Cursor:
    """Return the cursor of a run that is sent to a step.

    Raises DirectiveError where the version has no such step, or where a loop is around it: its
    counter would be unknown.
    """
    if step_id not in program.nodes:
        text = gettext("The version of this run has no enabled step %(step)r.")
        raise DirectiveError(text % {"step": step_id})
    around = program.ancestors(step_id)
    for node in around:
        if is_loop(node.step.id):
            text = gettext(
                "The step %(step)r is inside of the loop %(loop)r; "
                "a run can only be sent to steps outside of loops."
            )
            raise DirectiveError(text % {"step": step_id, "loop": node.step.id})
    path = pairwise([*around, program.nodes[step_id]])
    frames = [Frame(node.step.id, "inside", child.branch) for node, child in path]
    return (*frames, Frame(step_id))


def given_back(before: Cursor, after: Position) -> dict[str, list[Any]]:
    """Return the variables of the frames that were left between two positions.

    Each comes with a list of the value that it hid. Where several frames have the same variable,
    the outermost of those left counts.
    """
    kept = () if isinstance(after, End) else after
    found: dict[str, list[Any]] = {}
    for depth in range(len(before) - 1, -1, -1):
        frame = before[depth]
        if frame.hidden and not (depth < len(kept) and _is_same(frame, kept[depth])):
            found.update(frame.hidden)
    return found


def _is_same(frame: Frame, later: Frame) -> bool:
    """Return whether a frame with variables is still there: one that is entered anew has none."""
    return frame.step == later.step and frame.hidden == later.hidden


def _after(program: Program, cursor: Cursor) -> Position:
    """Continue with the next sibling of the step on top, or with its parent."""
    sibling = program.nodes[cursor[-1].step].after
    return _return_to(cursor[:-1]) if sibling is None else (*cursor[:-1], Frame(sibling))


def _return_to(parent: Cursor) -> Position:
    """Call ``return_from_children`` of the step on top next; an empty stack is the end."""
    if not parent:
        return End.COMPLETE
    top = parent[-1]
    # Frames are built by position, which is twice as fast as _replace.
    frame = Frame(top.step, "return", top.branch, top.memo, top.hidden, 0, top.passes)
    return (*parent[:-1], frame)


def _enter(program: Program, cursor: Cursor, branch: str | None) -> Position:
    """Continue with the first step of a branch; an empty branch counts as returned from."""
    top = cursor[-1]
    if branch is None:
        text = gettext("The step %(step)r has no branch to enter.")
        raise DirectiveError(text % {"step": top.step})
    first = program.nodes[top.step].first.get(branch)
    phase: Phase = "return" if first is None else "inside"
    frame = Frame(top.step, phase, branch, top.memo, top.hidden, 0, top.passes + 1)
    return (*cursor[:-1], frame) if first is None else (*cursor[:-1], frame, Frame(first))


def _target(cursor: Cursor, directive: FlowDirective, is_loop: IsLoop) -> Cursor:
    """Return the stack up to the frame that LEAVE and BREAK unwind to; empty at the root."""
    if directive.to == "parent":
        return cursor[:-1]
    for depth in range(len(cursor) - 1, 0, -1):
        if is_loop(cursor[depth - 1].step):
            return cursor[:depth]
    text = gettext("The step %(step)r asks for the nearest loop, but no loop is around it.")
    raise DirectiveError(text % {"step": cursor[-1].step})
