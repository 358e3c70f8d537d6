"""A document as a flat list of lines that a template can print as nested lists.

Flat, because templates that include themselves would run out of stack on a deep document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.errors import Problem
from flowcontrol.flows import (
    Sentence,
    branch_label,
    describe_step,
    offered_branches,
    shown_config,
    step_label,
    why_no_form,
)
from flowcontrol_admin.fields import show_seconds
from flowcontrol_admin.pictures import Picture, ends, picture_of
from flowcontrol_admin.seen import of_order, of_step
from flowcontrol_core.document.tree import Document, Place, Step


@dataclass(frozen=True, kw_only=True)
class Row:
    """A step as the editor shows it."""

    step: Step
    number: str
    label: str
    sentence: Sentence
    picture: Picture
    is_known: bool
    is_inside_disabled: bool
    #: The fingerprint of the step.
    seen: str
    #: Where a step that follows it is added; empty where none may be.
    after: str = ""
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
    def add_label(self) -> str:
        """Return the name of the button that adds a step after it."""
        return _("Add after %(step)s") % {"step": self.label}

    @property
    def is_off(self) -> bool:
        return self.step.disabled or self.is_inside_disabled


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A branch as the editor shows it: a siding that comes back, or ends."""

    row: Row
    name: str
    label: str
    inside: tuple[Row, ...]
    #: Where its first step is added; empty where none may be.
    first: str = ""
    #: Counted over everything inside.
    problems: int = 0
    waiting: int = 0

    @property
    def is_line(self) -> bool:
        """Return whether it is one plain step, which is shown in the line of the label."""
        return len(self.inside) == 1 and not self.inside[0].picture.is_container

    @property
    def rail(self) -> str:
        """Return the classes that say how its rail runs."""
        picture, drawn = self.row.picture, ["fc-br"]
        if self.inside and ends(self.inside[-1].step):
            drawn.append("fc-ends")
        if picture.is_loop:
            drawn.append("fc-again")
        if picture.icon == "parallel":
            drawn.append("fc-double")
        if picture.icon == "try" and self.name != offered_branches(self.row.step)[0]:
            drawn.append("fc-dash")
        return " ".join(drawn)

    @property
    def has_news(self) -> bool:
        """Return whether something in it is to be seen while it is folded."""
        is_off = self.is_line and self.inside[0].is_off
        return bool(self.problems or self.waiting or is_off)

    @property
    def heads(self) -> str:
        """Return the names of its steps, shown while it is folded."""
        return " · ".join(row.sentence.head for row in self.inside)

    @property
    def add_label(self) -> str:
        """Return the name of the button that adds its first step."""
        words = {"name": self.label, "step": self.row.label}
        return _("Add first in “%(name)s” of %(step)s") % words

    @property
    def hint(self) -> str:
        """Return where a run continues that finds no step in it."""
        return _("no steps yet") if self.row.picture.is_loop else _("continue below")


class Line(NamedTuple):
    """One thing to print: ``open`` and ``close`` of a list, ``branch`` and ``branch_end``,
    ``step`` and ``step_end``. ``order`` is the fingerprint of the order of a list.
    """

    kind: str
    row: Row | None = None
    branch: Branch | None = None
    order: str = ""


@dataclass(frozen=True)
class TreeBuilder:
    """Makes the lines of one document."""

    document: Document
    problems: Mapping[str, list[Problem]] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    #: What was read of the configurations already, by step.
    configs: Mapping[str, Any] = field(default_factory=dict)

    def lines(self) -> list[Line]:
        """Return all lines in the order of printing."""
        return list(
            self._list(self.document.steps, self._rows(self.document.steps), Place(index=0))
        )

    def _list(self, steps: tuple[Step, ...], rows: tuple[Row, ...], first: Place) -> Iterator[Line]:
        """Yield a list of steps with everything inside them."""
        yield Line("open", order=of_order(first, [step.id for step in steps]))
        for row in rows:
            yield Line("step", row=row)
            for name in _branches(row.step):
                inside = row.step.branches.get(name, ())
                branch = self._branch(row, name, inside)
                yield Line("branch", branch=branch)
                place = Place(parent=row.step.id, branch=name, index=0)
                if inside:
                    yield from self._list(inside, branch.inside, place)
                yield Line("branch_end", branch=branch)
            yield Line("step_end", row=row)
        yield Line("close")

    def _branch(self, row: Row, name: str, inside: tuple[Step, ...]) -> Branch:
        is_offered = name in offered_branches(row.step)
        ids = [visit.step.id for step in inside for visit in step.walk()]
        place = Place(parent=row.step.id, branch=name, index=0)
        return Branch(
            row=row,
            name=name,
            label=branch_label(row.step, name),
            inside=self._rows(inside, row, name if is_offered else None),
            first=place_value(place) if is_offered else "",
            problems=sum(len(self.problems.get(one, ())) for one in ids),
            waiting=sum(self.waiting.get(one, 0) for one in ids),
        )

    def _rows(
        self, steps: tuple[Step, ...], parent: Row | None = None, branch: str | None = None
    ) -> tuple[Row, ...]:
        return tuple(
            self._row(step, parent, self._after(index, parent, branch))
            for index, step in enumerate(steps)
        )

    def _after(self, index: int, parent: Row | None, branch: str | None) -> str:
        """Return the place after a step; steps can be added only where the action offers it."""
        if parent is not None and branch is None:
            return ""
        parent_id = parent.step.id if parent else None
        return place_value(Place(parent=parent_id, branch=branch, index=index + 1))

    def _row(self, step: Step, parent: Row | None, after: str) -> Row:
        return Row(
            step=step,
            number=self.document.index[step.id].number,
            label=step_label(step),
            sentence=describe_step(step, self.document, self.configs.get(step.id)),
            picture=picture_of(step),
            is_known=not why_no_form(step),
            seen=of_step(step),
            after=after,
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
