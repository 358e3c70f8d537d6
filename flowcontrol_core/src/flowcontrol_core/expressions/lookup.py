"""How a dotted name is read: ``object.customer.name``, ``state.items.0``, ``now.hour``.

Every step is decided here: dictionaries have their keys, lists their items, model objects what is
visible of them, times their parts. Nothing else has anything, and what is missing is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from operator import attrgetter
from typing import Any

from django.db.models import Model
from django.utils import timezone

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError, gettext, raise_interruption
from flowcontrol_core.expressions.scope import OBJECT_NAMES, Scope
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.visibility import NAMES_OF_OTHERS, NAMES_OF_ROOT, Tables, unwrap

Read = Callable[[Any], Any]

#: The paths of the object of a scope.
OBJECT_PATHS = frozenset((name,) for name in OBJECT_NAMES)
_MISSING = object()
_DATE_PARTS = frozenset({"year", "month", "day"})
_TIME_PARTS = frozenset({"hour", "minute", "second"})
# What Django calls of a dictionary that has no such key.
_VIEWS: Mapping[str, Callable[[Mapping[Any, Any]], list[Any]]] = {
    "items": lambda mapping: list(mapping.items()),
    "keys": list,
    "values": lambda mapping: list(mapping.values()),
}
# The first that fits counts: a datetime is a date too.
_PARTS = (
    (datetime, _DATE_PARTS | _TIME_PARTS | {"date", "time"}),
    (date, _DATE_PARTS),
    (time, _TIME_PARTS),
    (timedelta, frozenset({"days", "seconds", "total_seconds"})),
    (object, frozenset[str]()),
)


def compile_path(parts: tuple[str, ...], span: Span) -> Read:
    """Return the function that reads a path of names from a scope."""
    root, *rest = parts
    if root in OBJECT_NAMES:
        return _object_reader(rest, span)
    read_root = _ROOT_READERS.get(root) or _variable_reader(root)
    if root == "state" and len(rest) == 1 and not rest[0].isdigit() and rest[0] not in _VIEWS:
        key = rest[0]
        return lambda scope: scope.state.get(key)
    return _path_reader(read_root, NAMES_OF_OTHERS, rest, span) if rest else read_root


def compile_item(container: Read, read_key: Read, span: Span, *, is_object: bool) -> Read:
    """Return the function that finds an item by a key or number that is computed: ``items[i]``.

    ``is_object``: the container is the object of the scope.
    """
    names = NAMES_OF_ROOT if is_object else NAMES_OF_OTHERS

    def read_item(scope: Scope) -> Any:
        value, key = container(scope), read_key(scope)
        try:
            return _find(value, key, names)
        except BaseException as error:
            raise_interruption(error)
            raise _unreadable(span, error) from error

    return read_item


def _find(value: Any, key: Any, names: Tables) -> Any:
    """Return what a computed key finds in a value, None where it finds nothing."""
    if isinstance(key, str):
        return _read(value, key, names, is_last=True)
    if isinstance(key, bool) or not isinstance(key, int):
        return value.get(key) if isinstance(value, Mapping) and key.__hash__ else None
    if isinstance(value, list | tuple | str):
        return value[key] if -len(value) <= key < len(value) else None
    return value.get(key, value.get(str(key))) if isinstance(value, Mapping) else None


_ROOT_READERS: dict[str, Read] = {name: attrgetter(name) for name in ("state", "now", "payload")}


def _variable_reader(name: str) -> Read:
    def read_variable(scope: Scope) -> Any:
        if name in scope.variables:
            return scope.variables[name]
        return scope.state.get(name)

    return read_variable


def _object_reader(rest: list[str], span: Span) -> Read:
    if not rest:
        return lambda scope: unwrap(scope.obj)
    if len(rest) == 1:
        return _field_reader(rest[0], span)
    return _path_reader(lambda scope: scope.obj, NAMES_OF_ROOT, rest, span)


def _field_reader(name: str, span: Span) -> Read:
    """Read one field of the scope's object: the case that must be fast."""

    def read_field(scope: Scope) -> Any:
        obj = scope.obj
        access = NAMES_OF_ROOT[type(obj)].get(name)
        try:
            return access.final(obj) if access else _read(obj, name, NAMES_OF_ROOT, is_last=True)
        except BaseException as error:
            raise_interruption(error)
            raise _unreadable(span, error) from error

    return read_field


def _path_reader(read_root: Read, names: Tables, rest: list[str], span: Span) -> Read:
    """Read a path; ``names`` are those of its root where that is a model object."""
    first, *others = rest

    def read_path(scope: Scope) -> Any:
        try:
            value = _read(read_root(scope), first, names, is_last=not others)
            for position, name in enumerate(others, start=1):
                value = _read(value, name, NAMES_OF_OTHERS, is_last=position == len(others))
        except BaseException as error:
            raise_interruption(error)
            raise _unreadable(span, error) from error
        return value

    return read_path


def read_parts(value: Any, parts: Sequence[str]) -> Any:
    """Return what dotted names find in a value that is not the object of the scope."""
    for position, name in enumerate(parts, start=1):
        value = _read(value, name, NAMES_OF_OTHERS, is_last=position == len(parts))
    return value


def _unreadable(span: Span, error: BaseException) -> ExpressionError:
    return span.failure(gettext("%(path)s could not be read") % {"path": span.text}, error)


def _read(value: Any, name: str, names: Tables, *, is_last: bool) -> Any:
    """Return what ``name`` means of a value, None where it means nothing."""
    if isinstance(value, Mapping):
        return _key_of(value, name)
    if isinstance(value, list | tuple | str):
        return _item_of(value, name)
    value = unwrap(value)
    if isinstance(value, Model):
        access = names[type(value)].get(name)
        if access is None:
            return None
        return access.final(value) if is_last else access.through(value)
    return _part_of(value, name)


def _key_of(mapping: Mapping[Any, Any], name: str) -> Any:
    found = mapping.get(name, _MISSING)
    if found is not _MISSING:
        return found
    if name in _VIEWS:
        return _VIEWS[name](mapping)
    return mapping.get(int(name)) if _is_index(name) else None


def _item_of(items: Sequence[Any], name: str) -> Any:
    if not _is_index(name) or int(name) >= len(items):
        return None
    return items[int(name)]


def _is_index(name: str) -> bool:
    return len(name) <= bounds.INDEX_DIGITS and name.isascii() and name.isdigit()


def _part_of(value: Any, name: str) -> Any:
    """Return a part of a date, time or duration, in the active time zone."""
    if name not in parts_of(type(value)):
        return None
    if isinstance(value, datetime) and timezone.is_aware(value):
        value = timezone.localtime(value)
    part = getattr(value, name)
    return part() if callable(part) else part


def parts_of(kind: type) -> frozenset[str]:
    """Return the names that values of a type of date, time or duration have."""
    return next(parts for known, parts in _PARTS if issubclass(kind, known))
