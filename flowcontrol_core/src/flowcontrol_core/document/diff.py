"""What changed from one document to another, step by step and field by field."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from flowcontrol_core.document.serialize import canonical_json
from flowcontrol_core.document.tree import Document, Place, Step, Visit


class _Absent(Enum):
    ABSENT = "absent"

    def __repr__(self) -> str:
        return self.name


ABSENT: Final = _Absent.ABSENT
"""Stands for the value of a configuration key that one of the two sides does not have."""


class FieldChange(NamedTuple):
    """One changed value; ``field`` is such as ``note``, ``retry`` or ``config.text``."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedStep:
    """A step that only the new document has."""

    step: Step
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedStep:
    """A step that only the old document has."""

    step: Step
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedStep:
    """A step that stands elsewhere; ``step`` is the new one.

    A step whose neighbours came or went, or that went along with its parent, is not moved.
    """

    step: Step
    old: Place
    new: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedStep:
    """A step with other values; it may have been moved as well."""

    old: Step
    new: Step
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """All differences: removed steps in the old reading order, all others in the new one.

    ``options`` are the changes of the document itself: object, guard and time_zone.
    """

    options: tuple[FieldChange, ...] = ()
    added: tuple[AddedStep, ...] = ()
    removed: tuple[RemovedStep, ...] = ()
    moved: tuple[MovedStep, ...] = ()
    changed: tuple[ChangedStep, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether both documents have the same content (and so the same digest)."""
        return not (self.options or self.added or self.removed or self.moved or self.changed)


def diff(old: Document, new: Document) -> Diff:
    """Compares two documents; steps are the same step when they have the same id."""
    before = {visit.step.id: visit for visit in old.walk()}
    after = {visit.step.id: visit for visit in new.walk()}
    return Diff(
        options=_plain_changes(old, new, _OPTIONS),
        added=tuple(
            AddedStep(step=visit.step, place=_place(visit))
            for step_id, visit in after.items()
            if step_id not in before
        ),
        removed=tuple(
            RemovedStep(step=visit.step, place=_place(visit))
            for step_id, visit in before.items()
            if step_id not in after
        ),
        moved=_moved(before, after),
        changed=_changed(before, after),
    )


_Visits: TypeAlias = Mapping[str, Visit]
_OPTIONS: Final = ("object", "guard", "time_zone")
_SPECIAL: Final = {"id", "config", "branches"}
_PLAIN: Final = tuple(field.name for field in fields(Step) if field.name not in _SPECIAL)


def _place(visit: Visit) -> Place:
    parent = visit.parent.id if visit.parent else None
    return Place(parent=parent, branch=visit.branch, index=visit.position)


def _list_key(visit: Visit) -> tuple[str | None, str | None]:
    """Names the list that a step stands in."""
    return (visit.parent.id if visit.parent else None, visit.branch)


def _moved(before: _Visits, after: _Visits) -> tuple[MovedStep, ...]:
    stayed = _stayed(before, after)
    return tuple(
        MovedStep(step=visit.step, old=_place(before[step_id]), new=_place(visit))
        for step_id, visit in after.items()
        if step_id in before and step_id not in stayed
    )


def _stayed(before: _Visits, after: _Visits) -> set[str]:
    """The largest sets of steps that kept both their list and their order in it."""
    common = defaultdict(list)
    for step_id, visit in after.items():
        if step_id in before and _list_key(before[step_id]) == _list_key(visit):
            common[_list_key(visit)].append(step_id)
    stayed: set[str] = set()
    for step_ids in common.values():
        old_positions = [before[step_id].position for step_id in step_ids]
        stayed.update(step_ids[position] for position in _longest_rise(old_positions))
    return stayed


def _longest_rise(numbers: Sequence[int]) -> list[int]:
    """The positions of a longest increasing subsequence of distinct numbers."""
    tails: list[int] = []  # tails[n]: the smallest number that ends a rise of n + 1 numbers
    ends: list[int] = []  # ends[n]: where that number stands
    previous: list[int] = []  # for each position, the one before it in its rise, or -1
    for position, number in enumerate(numbers):
        length = bisect_left(tails, number)
        previous.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [number]
        ends[length : length + 1] = [position]
    rise = []
    position = ends[-1]
    while position >= 0:
        rise.append(position)
        position = previous[position]
    return rise


def _changed(before: _Visits, after: _Visits) -> tuple[ChangedStep, ...]:
    changed = []
    for step_id, visit in after.items():
        if step_id in before:
            old = before[step_id].step
            changes = _step_changes(old, visit.step)
            if changes:
                changed.append(ChangedStep(old=old, new=visit.step, changes=changes))
    return tuple(changed)


def _step_changes(old: Step, new: Step) -> tuple[FieldChange, ...]:
    return _plain_changes(old, new, _PLAIN) + _config_changes(old.config, new.config)


def _plain_changes(old: object, new: object, names: Sequence[str]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(name, getattr(old, name), getattr(new, name))
        for name in names
        if getattr(old, name) != getattr(new, name)
    )


def _config_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    pairs = [(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in {**old, **new}]
    return tuple(
        FieldChange(f"config.{key}", before, after)
        for key, before, after in pairs
        if not _is_same(before, after)
    )


def _is_same(old: object, new: object) -> bool:
    """Compares as JSON, in which (other than in Python) true is not 1."""
    if old is ABSENT or new is ABSENT:
        return False
    return canonical_json(old) == canonical_json(new)
