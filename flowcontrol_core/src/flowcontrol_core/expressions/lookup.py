"""How a dotted name is read: ``object.customer.name``, ``state.items.0``, ``now.hour``.

Every step is ours: dictionaries give their keys, lists their items, model objects what is visible
of them, times their parts. Nothing else gives anything, and what is missing gives None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from django.utils import timezone

from flowcontrol_core.expressions.scope import Scope
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.visibility import (
    OF_ROOT,
    Names,
    is_model,
    names_of_others,
    names_of_root,
    unwrap,
)

Read = Callable[[Any], Any]

_MISSING = object()
_NO_NAMES: Names = {}
# An index of a list has no more digits than this.
_INDEX_DIGITS = 9

DATE_PARTS = frozenset({"year", "month", "day"})
TIME_PARTS = frozenset({"hour", "minute", "second"})
DURATION_PARTS = frozenset({"days", "seconds"})


def compile_path(parts: tuple[str, ...], place: Span) -> Read:
    """Give the function that reads a path of names from a scope."""
    root, rest = parts[0], parts[1:]
    if root in ("object", "obj"):
        return _object_reader(rest, place)
    read_root = _root_reader(root)
    if root == "state" and len(rest) == 1 and not rest[0].isdigit():
        key = rest[0]
        return lambda scope: scope.state.get(key)
    return _steps_reader(read_root, rest, place) if rest else read_root


def _root_reader(name: str) -> Read:
    readers: dict[str, Read] = {
        "state": lambda scope: scope.state,
        "now": lambda scope: scope.now,
        "payload": lambda scope: scope.payload,
    }
    return readers.get(name) or _variable_reader(name)


def _variable_reader(name: str) -> Read:
    def read_variable(scope: Scope) -> Any:
        if name in scope.variables:
            return scope.variables[name]
        return scope.state.get(name)

    return read_variable


def _object_reader(rest: tuple[str, ...], place: Span) -> Read:
    if not rest:
        return lambda scope: unwrap(scope.obj)
    return _field_reader(rest[0], place) if len(rest) == 1 else _fields_reader(rest, place)


def _field_reader(name: str, place: Span) -> Read:
    """Read one field of the scope's object: the case that has to be fast."""

    def read_field(scope: Scope) -> Any:
        obj = scope.obj
        names = OF_ROOT.get(type(obj))
        if names is None:
            obj, names = _look_up_root(obj)
            if isinstance(obj, Mapping):
                return _key_of(obj, name)
        access = names.get(name)
        if access is None:
            return None
        try:
            return access.final(obj)
        except Exception as error:
            raise place.failure(f"{place.text} could not be read", error) from error

    return read_field


def _fields_reader(rest: tuple[str, ...], place: Span) -> Read:
    first = rest[0]

    def read_first(scope: Scope) -> Any:
        obj, names = _look_up_root(scope.obj)
        if isinstance(obj, Mapping):
            return _key_of(obj, first)
        access = names.get(first)
        return None if access is None else access.through(obj)

    return _steps_reader(read_first, rest[1:], place)


def _look_up_root(obj: Any) -> tuple[Any, Names]:
    obj = unwrap(obj)
    return obj, names_of_root(type(obj)) if is_model(obj) else _NO_NAMES


def _steps_reader(read_root: Read, rest: tuple[str, ...], place: Span) -> Read:
    *between, last = rest

    def read_steps(scope: Scope) -> Any:
        try:
            value = read_root(scope)
            for name in between:
                value = step(value, name)
            return step(value, last, is_last=True)
        except Exception as error:
            raise place.failure(f"{place.text} could not be read", error) from error

    return read_steps


def step(value: Any, name: str, *, is_last: bool = False) -> Any:
    """Give what ``name`` means of a value, None where it means nothing."""
    if isinstance(value, Mapping):
        return _key_of(value, name)
    if isinstance(value, list | tuple):
        return _item_of(value, name)
    value = unwrap(value)
    if is_model(value):
        access = names_of_others(type(value)).get(name)
        if access is None:
            return None
        return access.final(value) if is_last else access.through(value)
    return _part_of(value, name)


def _key_of(mapping: Mapping[Any, Any], name: str) -> Any:
    found = mapping.get(name, _MISSING)
    if found is not _MISSING:
        return found
    return mapping.get(int(name)) if _is_index(name) else None


def _item_of(items: list[Any] | tuple[Any, ...], name: str) -> Any:
    if not _is_index(name) or int(name) >= len(items):
        return None
    return items[int(name)]


def _is_index(name: str) -> bool:
    return len(name) <= _INDEX_DIGITS and name.isascii() and name.isdigit()


def _part_of(value: Any, name: str) -> Any:
    """Give a part of a date, time or duration, in the active time zone."""
    if name not in parts_of(type(value)):
        return None
    if isinstance(value, datetime) and timezone.is_aware(value):
        value = timezone.localtime(value)
    return getattr(value, name)


def parts_of(kind: type) -> frozenset[str]:
    """Give the names that values of a type of date, time or duration have."""
    if issubclass(kind, datetime):
        return DATE_PARTS | TIME_PARTS
    if issubclass(kind, date):
        return DATE_PARTS
    if issubclass(kind, time):
        return TIME_PARTS
    return DURATION_PARTS if issubclass(kind, timedelta) else frozenset()
