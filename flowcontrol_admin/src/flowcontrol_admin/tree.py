"""A document as a flat list of lines that a template can print as nested lists.

Flat, because templates that include themselves would run out of stack on a deep document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.errors import Problem
from flowcontrol.flows import offered_branches, step_label, why_no_form
from flowcontrol.registry import registry
from flowcontrol_admin.fields import show_seconds
from flowcontrol_core.document.tree import Document, Place, Step
from flowcontrol_core.flows.descriptions import shown_config, step_numbers, summarize_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A step as the editor shows it."""

    step: Step
    number: str
    label: str
    summary: str
    is_known: bool
    is_first: bool
    is_last: bool
    is_inside_disabled: bool
    problems: tuple[Problem, ...] = ()
    waiting: int = 0

    @property
    def policies(self) -> list[str]:
        """Return what happens when the step fails or takes too long, where that was chosen."""
        found = []
        retry, step = self.step.retry, self.step
        if retry is not None:
            text = ngettext("%(count)d attempt", "%(count)d attempts", retry.attempts)
            found.append(text % {"count": retry.attempts})
        if step.timeout is not None:
            found.append(_("timeout %(time)s") % {"time": show_seconds(step.timeout)})
        if step.if_unknown == "fail":
            found.append(_("never repeated"))
        return found

    @property
    def config(self) -> list[tuple[str, str]]:
        """Return the configuration, for reading."""
        return shown_config(self.step)

    @property
    def is_off(self) -> bool:
        return self.step.disabled or self.is_inside_disabled


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing to print: ``open`` and ``close`` of a list, ``branch`` and ``branch_end``,
    ``step`` and ``step_end``, and ``add`` for the place where a step can be added.
    """

    kind: str
    row: Row | None = None
    name: str = ""
    place: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class TreeBuilder:
    """Makes the lines of one document."""

    document: Document
    problems: Mapping[str, list[Problem]] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[Line]:
        """Return all lines in the order of printing."""
        numbers = step_numbers(self.document)
        done: list[Line] = []
        # What is still to be printed, the next one last: a line, or a list of steps to unfold.
        pending: list[Line | _List] = [_List(self.document.steps, None, None)]
        while pending:
            item = pending.pop()
            if isinstance(item, Line):
                done.append(item)
            else:
                pending.extend(reversed(self._unfold(item, numbers)))
        return done

    def _unfold(self, part: _List, numbers: Mapping[str, str]) -> list[Line | _List]:
        lines: list[Line | _List] = [Line(kind="open", count=len(part.steps))]
        for index, step in enumerate(part.steps):
            row = self._row(step, numbers[step.id], part, index)
            lines.append(Line(kind="step", row=row))
            for name in _branches(step):
                inside = step.branches.get(name, ())
                lines.append(Line(kind="branch", name=name, row=row, count=len(inside)))
                lines.append(_List(inside, row, name))
                lines.append(Line(kind="branch_end"))
            lines.append(Line(kind="step_end"))
        lines.append(Line(kind="close"))
        if part.is_offered():
            parent = part.parent.step.id if part.parent else None
            end = Place(parent=parent, branch=part.branch, index=len(part.steps))
            lines.append(Line(kind="add", place=place_value(end), name=part.branch or ""))
        return lines

    def _row(self, step: Step, number: str, part: _List, index: int) -> Row:
        return Row(
            step=step,
            number=number,
            label=step_label(step),
            summary=summarize_step(step, self.document),
            is_known=registry.knows_action(step.action) and not why_no_form(step),
            is_first=index == 0,
            is_last=index == len(part.steps) - 1,
            is_inside_disabled=part.parent is not None and part.parent.is_off,
            problems=tuple(self.problems.get(step.id, ())),
            waiting=self.waiting.get(step.id, 0),
        )


@dataclass(frozen=True, slots=True)
class _List:
    """A list of steps that is still to be unfolded; without a parent, that of the flow."""

    steps: tuple[Step, ...]
    parent: Row | None
    branch: str | None

    def is_offered(self) -> bool:
        """Return whether steps may be added here: the action has to offer the branch."""
        return self.parent is None or self.branch in offered_branches(self.parent.step)


def by_step(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return problems by the id of their step; those of the flow itself are under an empty one."""
    found: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        found[problem.step].append(problem)
    return found


def place_value(place: Place) -> str:
    """Write a place as one text, for a form."""
    return f"{place.parent or ''}/{place.branch or ''}/{place.index}"


def _branches(step: Step) -> list[str]:
    """Return the branches that are shown: those offered, and others that contain steps."""
    names = list(offered_branches(step))
    return names + [name for name, inside in step.branches.items() if inside and name not in names]
