"""What a state may contain, and how it is written as JSON and read back with its types.

JSON values are written as they are. Decimals, dates, times, durations and very large floats are
written as ``{"$decimal": "1.50"}`` and so on. Objects whose only key begins with a ``$`` are
wrapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from flowcontrol_core import bounds
from flowcontrol_core.engine.cursor import PHASES, Cursor, Frame
from flowcontrol_core.errors import StateError, gettext
from flowcontrol_core.redaction import IN_USE, secret_in

_LARGEST_INTEGER = 10**bounds.STATE_INTEGER_DIGITS
_LARGE_FLOAT = 1e16
_PLAIN = frozenset({bool, type(None)})
_UNCHANGING = _PLAIN | {str, int, float, Decimal, datetime, date, time, timedelta}


def normalize(value: Any, path: str = "state", depth: int = 0) -> Any:
    """Return a private copy of a value as it would be read back from the database.

    Tuples become lists. Raises StateError, naming the place, for what cannot be stored.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    handler = _NORMALIZERS.get(kind)
    if handler is None:
        handler = _handler_for_subclass(value, path)
    if depth > bounds.STATE_DEPTH:
        raise _refused(path, gettext("nested more than %(n)d levels deep."), n=bounds.STATE_DEPTH)
    return handler(value, path, depth)


def private_copy(value: Any) -> Any:
    """Return a copy that shares no container with a value, as ``deepcopy`` does.

    That is slow for the trees of JSON that most values are.
    """
    kind = type(value)
    if kind is dict:
        return {key: private_copy(item) for key, item in value.items()}
    if kind is list:
        return [private_copy(item) for item in value]
    return value if kind in _UNCHANGING else deepcopy(value)


def encode(value: Any) -> Any:
    """Return the JSON form of a normalized value."""
    kind = type(value)
    if kind is dict:
        encoded = {key: encode(item) for key, item in value.items()}
        return {"$dict": encoded} if _is_like_tagged(encoded) else encoded
    if kind is list:
        return [encode(item) for item in value]
    # PostgreSQL writes a large float without a point, so it would be read back as an integer.
    if kind not in _WRITERS or (kind is float and abs(value) < _LARGE_FLOAT):
        return value
    tag, write = _WRITERS[kind]
    return {tag: write(value)}


def decode(value: Any) -> Any:
    """Return the value that was encoded; raises StateError for a damaged one."""
    if isinstance(value, dict):
        if _is_like_tagged(value):
            return _decode_tagged(value)
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value


def _is_like_tagged(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _decode_tagged(value: dict[str, Any]) -> Any:
    ((tag, content),) = value.items()
    if tag == "$dict" and isinstance(content, dict):
        return {key: decode(item) for key, item in content.items()}
    reader = _READERS.get(tag)
    if reader is None:
        return {tag: decode(content)}
    try:
        return reader(content)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        text = gettext("The stored value %(value)r cannot be read: %(error)s")
        raise StateError(text % {"value": value, "error": error}) from error


def _refused(path: str, message: str, **values: object) -> StateError:
    return StateError(f"{path}: {message % values}")


def _text(value: str, path: str, _: int) -> str:
    # An enumeration's own str() may be its name.
    value = str.__str__(value)
    if IN_USE.get() and (name := secret_in(value)):
        text = gettext("text with the value of the secret %(name)s cannot be stored.")
        raise _refused(path, text, name=name)
    if "\x00" in value:
        raise _refused(path, gettext("text with a NUL character cannot be stored."))
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _refused(path, gettext("text with a lone surrogate cannot be stored.")) from error
    return value


def _number(value: float, path: str, _: int) -> float:
    if not math.isfinite(value):
        raise _refused(path, gettext("%(value)s is not a JSON number."), value=value)
    return float(value)


def _integer(value: int, path: str, _: int) -> int:
    if abs(value) >= _LARGEST_INTEGER:
        text = gettext("the number has more than %(n)d digits.")
        raise _refused(path, text, n=bounds.STATE_INTEGER_DIGITS)
    return int(value)


def _decimal(value: Decimal, path: str, _: int) -> Decimal:
    if not value.is_finite():
        raise _refused(path, gettext("%(value)s cannot be stored."), value=value)
    return Decimal(value)


def _datetime(value: datetime, _path: str, _: int) -> datetime:
    offset = value.utcoffset()
    return datetime.combine(
        date(value.year, value.month, value.day),
        time(value.hour, value.minute, value.second, value.microsecond),
        None if offset is None else timezone(offset),
    )


def _time(value: time, path: str, _: int) -> time:
    if value.tzinfo is not None:
        raise _refused(path, gettext("a time of day with a time zone cannot be stored."))
    return time(value.hour, value.minute, value.second, value.microsecond)


def _list(value: Any, path: str, depth: int) -> list[Any]:
    return [normalize(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]


def _dict(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if not isinstance(key, str):
            text = gettext("the key %(key)r is not text; convert it with str().")
            raise _refused(path, text, key=key)
        result[_text(key, path, depth)] = normalize(item, f"{path}.{key}", depth + 1)
    return result


def _parts_of(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


_Handler = Callable[[Any, str, int], Any]
_NORMALIZERS: dict[type, _Handler] = {
    str: _text,
    int: _integer,
    float: _number,
    Decimal: _decimal,
    datetime: _datetime,
    date: lambda value, _path, _depth: date(value.year, value.month, value.day),
    time: _time,
    timedelta: lambda value, _path, _depth: timedelta(*_parts_of(value)),
    list: _list,
    tuple: _list,
    dict: _dict,
}


def _handler_for_subclass(value: Any, path: str) -> _Handler:
    """Return the handler of a subclass, such as SafeString, or of a Mapping; refuse the rest."""
    if isinstance(value, Mapping):
        return _dict
    for kind in type(value).__mro__:
        if kind in _NORMALIZERS:
            return _NORMALIZERS[kind]
    text = (
        gettext("a %(type)s cannot be stored in the state; store its primary key instead.")
        if hasattr(value, "_meta")
        else gettext("a %(type)s cannot be stored in the state; convert it to JSON values.")
    )
    raise _refused(path, text, type=type(value).__name__)


# The types that JSON has not: how each is tagged, written and read.
_TAGGED: tuple[tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (float, "$float", repr, float),
    (Decimal, "$decimal", str, Decimal),
    (datetime, "$datetime", datetime.isoformat, datetime.fromisoformat),
    (date, "$date", date.isoformat, date.fromisoformat),
    (time, "$time", time.isoformat, time.fromisoformat),
    (
        timedelta,
        "$duration",
        _parts_of,
        lambda parts: timedelta(parts[0], parts[1], parts[2]),
    ),
)
_WRITERS = {kind: (tag, write) for kind, tag, write, _ in _TAGGED}
_READERS = {tag: read for _, tag, _, read in _TAGGED}


def storable(value: datetime) -> datetime:
    """Return a time in UTC; raises ValueError for a naive one, or one that cannot be stored."""
    if value.tzinfo is None:
        text = gettext("The time %(time)s has no time zone; make it aware.")
        raise ValueError(text % {"time": value})
    try:
        found = value.astimezone(UTC)
    except OverflowError:
        found = None
    if found is None or not bounds.EARLIEST <= found <= bounds.LATEST:
        text = gettext("The time %(time)s is not between the years 1000 and 9999.")
        raise ValueError(text % {"time": value})
    return found


def cursor_to_json(cursor: Cursor) -> list[dict[str, Any]]:
    """Return the cursor as one JSON value; fields with their default are left out."""
    return list(map(_frame_to_json, cursor))


def cursor_from_json(data: Any) -> Cursor:
    """Return a stored cursor; raises StateError where it is damaged."""
    if not isinstance(data, list):
        text = gettext("The stored cursor is not a list: %(data)r. Restart the run at a step.")
        raise StateError(text % {"data": data})
    try:
        return tuple(map(_frame_from_json, data))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = gettext("The stored cursor cannot be read (%(error)r). Restart the run at a step.")
        raise StateError(text % {"error": error}) from error


def _frame_to_json(frame: Frame) -> dict[str, Any]:
    values = frame._asdict() | {
        "memo": encode(dict(frame.memo)),
        "hidden": encode(dict(frame.hidden)),
        "wakeup": encode(dict(frame.wakeup or {})),
    }
    return {name: value for name, value in values.items() if value}


def _frame_from_json(data: dict[str, Any]) -> Frame:
    if data["phase"] not in PHASES:
        raise ValueError(f"unknown phase {data['phase']!r}")
    return Frame(
        step=data["step"],
        phase=data["phase"],
        branch=data.get("branch"),
        memo=dict(decode(data["memo"])) if "memo" in data else {},
        hidden=_hidden_from_json(data["hidden"]) if "hidden" in data else {},
        tries=int(data.get("tries", 0)),
        passes=int(data.get("passes", 0)),
        calling=bool(data.get("calling", False)),
        wakeup=decode(data["wakeup"]) if "wakeup" in data else None,
    )


def _hidden_from_json(data: Any) -> dict[str, list[Any]]:
    return {name: list(value) for name, value in decode(data).items()}
