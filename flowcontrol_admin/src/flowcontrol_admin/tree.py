"""A document as a flat list of lines that a template can print as nested lists.

Flat, because templates that include themselves would run out of stack on a deep document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.errors import Problem
from flowcontrol.flows import (
    offered_branches,
    shown_config,
    step_label,
    summarize_step,
    why_no_form,
)
from flowcontrol_admin.fields import show_seconds
from flowcontrol_admin.seen import of_order, of_step
from flowcontrol_core.document.tree import Document, Place, Step


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
    #: The fingerprints of the step, and of the order of its list.
    seen: str
    seen_order: str
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
        return list(self._list(self.document.steps, None, ""))

    def _list(self, steps: tuple[Step, ...], parent: Row | None, branch: str) -> Iterator[Line]:
        """Yield a list of steps with everything inside them; without a parent, that of the flow."""
        yield Line(kind="open", count=len(steps))
        parent_id = parent.step.id if parent else None
        end = Place(parent=parent_id, branch=branch or None, index=len(steps))
        order = of_order(end, [step.id for step in steps])
        for step in steps:
            row = self._row(step, parent, steps, order)
            yield Line(kind="step", row=row)
            for name in _branches(step):
                inside = step.branches.get(name, ())
                yield Line(kind="branch", name=name, row=row, count=len(inside))
                yield from self._list(inside, row, name)
                yield Line(kind="branch_end")
            yield Line(kind="step_end")
        yield Line(kind="close")
        # Steps can be added only where the action offers the branch.
        if parent is None or branch in offered_branches(parent.step):
            yield Line(kind="add", place=place_value(end), name=branch)

    def _row(self, step: Step, parent: Row | None, steps: tuple[Step, ...], order: str) -> Row:
        return Row(
            step=step,
            number=self.document.index[step.id].number,
            label=step_label(step),
            summary=summarize_step(step, self.document),
            is_known=not why_no_form(step),
            is_first=step is steps[0],
            is_last=step is steps[-1],
            seen=of_step(step),
            seen_order=order,
            is_inside_disabled=parent is not None and parent.is_off,
            problems=tuple(self.problems.get(step.id, ())),
            waiting=self.waiting.get(step.id, 0),
        )


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
