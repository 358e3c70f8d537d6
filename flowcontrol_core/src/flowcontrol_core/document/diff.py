"""What changed from one document to another, step by step and field by field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from flowcontrol_core.document.format import TABLES, canonical_json
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

    ``options`` are the changes of the document itself: object, guard and time_zone; ``added`` are
    the steps that only the new document has, ``removed`` those that only the old one has.
    """

    options: tuple[FieldChange, ...] = ()
    added: tuple[Visit, ...] = ()
    removed: tuple[Visit, ...] = ()
    moved: tuple[MovedStep, ...] = ()
    changed: tuple[ChangedStep, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether both documents have the same content (and so the same digest)."""
        return not (self.options or self.added or self.removed or self.moved or self.changed)


def diff(old: Document, new: Document) -> Diff:
    """Compare two documents; steps are the same step when they have the same id."""
    before, after = old.index, new.index
    kept = [(before[step_id], visit) for step_id, visit in after.items() if step_id in before]
    stayed = {*_in_order(before, after)}
    changes = [(old.step, new.step, (*_step_changes(old.step, new.step),)) for old, new in kept]
    return Diff(
        options=tuple(_plain_changes(old, new)),
        added=tuple(visit for step_id, visit in after.items() if step_id not in before),
        removed=tuple(visit for step_id, visit in before.items() if step_id not in after),
        moved=tuple(
            MovedStep(step=new.step, old=old.place, new=new.place)
            for old, new in kept
            if new.step.id not in stayed
        ),
        changed=tuple(
            ChangedStep(old=old, new=new, changes=found) for old, new, found in changes if found
        ),
    )


_Visits: TypeAlias = Mapping[str, Visit]


def _in_order(before: _Visits, after: _Visits) -> Iterator[str]:
    """Yield the steps that kept both their list and their order in it."""
    old_lists, new_lists = _lists(before, after), _lists(after, before)
    for name, new_list in new_lists.items():
        old_list = old_lists.get(name, [])
        matcher = SequenceMatcher(None, old_list, new_list, autojunk=False)
        for block in matcher.get_matching_blocks():
            yield from new_list[block.b : block.b + block.size]


def _lists(visits: _Visits, others: _Visits) -> dict[tuple[str | None, str | None], list[str]]:
    """Return the steps of each list, by its parent and branch, that the others have as well."""
    lists = defaultdict(list)
    for step_id, visit in visits.items():
        if step_id in others:
            lists[visit.place.parent, visit.branch].append(step_id)
    return lists


def _step_changes(old: Step, new: Step) -> Iterator[FieldChange]:
    yield from _plain_changes(old, new)
    yield from config_changes(old.config, new.config)


def config_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    """Yield what differs between two configurations, key by key."""
    for key in {**old, **new}:
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if not _is_same(before, after):
            yield FieldChange(f"config.{key}", before, after)


def _plain_changes(old: Document | Step, new: Document | Step) -> Iterator[FieldChange]:
    for name, key in TABLES[type(new)].items():
        before, after = getattr(old, name), getattr(new, name)
        if key.is_plain and before != after:
            yield FieldChange(name, before, after)


def _is_same(old: object, new: object) -> bool:
    """Return whether two values are the same JSON, in which (unlike in Python) true is not 1."""
    if old is ABSENT or new is ABSENT:
        return False
    return canonical_json(old) == canonical_json(new)
