"""What may be kept in a state, and how it is written as JSON and read back with its types.

JSON values stand for themselves. Decimals, dates, times, durations and very large floats are
written as ``{"$decimal": "1.50"}`` and so on. Objects that happen to have one key with a ``$`` are
wrapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from flowcontrol_core.engine.cursor import PHASES, Cursor, Frame
from flowcontrol_core.errors import StateError

MAX_DEPTH = 20
_MAX_INTEGER_DIGITS = 1000
_MAX_INTEGER = 10**_MAX_INTEGER_DIGITS
_LARGE_FLOAT = 1e16
_PLAIN = frozenset({bool, type(None)})
_UNCHANGING = _PLAIN | {str, int, float, Decimal, datetime, date, time, timedelta}


def normalize(value: Any, path: str = "state", depth: int = 0) -> Any:
    """Give a private copy of a value as it would be read back from the database.

    Tuples become lists; raises StateError, naming the place, for what cannot be kept.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    handler = _NORMALIZERS.get(kind)
    if handler is None:
        handler = _handler_for_subclass(value, path)
    if depth > MAX_DEPTH:
        raise StateError(f"{path}: nested more than {MAX_DEPTH} levels deep.")
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
    """Give the JSON form of a normalized value."""
    kind = type(value)
    if kind is dict:
        encoded = {key: encode(item) for key, item in value.items()}
        return {"$dict": encoded} if _looks_tagged(encoded) else encoded
    if kind is list:
        return [encode(item) for item in value]
    writer = _WRITERS.get(kind)
    return writer(value) if writer is not None else value


def decode(value: Any) -> Any:
    """Give the value that ``encode`` was given; raises StateError for a damaged one."""
    if isinstance(value, dict):
        if _looks_tagged(value):
            return _decode_tagged(value)
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value


def _looks_tagged(value: Mapping[str, Any]) -> bool:
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
        raise StateError(f"The stored value {value!r} cannot be read: {error}") from error


def _text(value: str, path: str, _: int) -> str:
    # An enumeration's own str() may be its name.
    value = str.__str__(value)
    if "\x00" in value:
        raise StateError(f"{path}: text with a NUL character cannot be stored.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StateError(f"{path}: text with a lone surrogate cannot be stored.") from error
    return value


def _number(value: float, path: str, _: int) -> float:
    if not math.isfinite(value):
        raise StateError(f"{path}: {value} is not a JSON number.")
    return float(value)


def _integer(value: int, path: str, _: int) -> int:
    if abs(value) >= _MAX_INTEGER:
        raise StateError(f"{path}: the number has more than {_MAX_INTEGER_DIGITS} digits.")
    return int(value)


def _decimal(value: Decimal, path: str, _: int) -> Decimal:
    if not value.is_finite():
        raise StateError(f"{path}: {value} cannot be stored.")
    return Decimal(value)


def _moment(value: datetime, _path: str, _: int) -> datetime:
    offset = value.utcoffset()
    return datetime.combine(
        date(value.year, value.month, value.day),
        time(value.hour, value.minute, value.second, value.microsecond),
        None if offset is None else timezone(offset),
    )


def _date(value: date, _path: str, _: int) -> date:
    return date(value.year, value.month, value.day)


def _time(value: time, path: str, _: int) -> time:
    if value.tzinfo is not None:
        raise StateError(f"{path}: a time of day with a time zone cannot be stored.")
    return time(value.hour, value.minute, value.second, value.microsecond)


def _duration(value: timedelta, _path: str, _: int) -> timedelta:
    return timedelta(value.days, value.seconds, value.microseconds)


def _list(value: Any, path: str, depth: int) -> list[Any]:
    return [normalize(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]


def _dict(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise StateError(f"{path}: the key {key!r} is not text; convert it with str().")
        result[_text(key, path, depth)] = normalize(item, f"{path}.{key}", depth + 1)
    return result


_Handler = Callable[[Any, str, int], Any]
_NORMALIZERS: dict[type, _Handler] = {
    str: _text,
    int: _integer,
    float: _number,
    Decimal: _decimal,
    datetime: _moment,
    date: _date,
    time: _time,
    timedelta: _duration,
    list: _list,
    tuple: _list,
    dict: _dict,
}


def _handler_for_subclass(value: Any, path: str) -> _Handler:
    """Find the handler of a subclass, such as SafeString, or of a Mapping; refuse the rest."""
    if isinstance(value, Mapping):
        return _dict
    for kind in type(value).__mro__:
        if kind in _NORMALIZERS:
            return _NORMALIZERS[kind]
    advice = (
        "keep its primary key instead" if hasattr(value, "_meta") else "convert it to JSON values"
    )
    raise StateError(f"{path}: a {type(value).__name__} cannot be kept in the state; {advice}.")


def _plain_decimal(value: Decimal) -> dict[str, str]:
    return {"$decimal": str(value)}


def _float_tag(value: float) -> float | dict[str, str]:
    # PostgreSQL writes such a number without a point, so it would be read back as an integer.
    return {"$float": repr(value)} if abs(value) >= _LARGE_FLOAT else value


def _moment_tag(value: datetime) -> dict[str, str]:
    return {"$datetime": value.isoformat()}


def _date_tag(value: date) -> dict[str, str]:
    return {"$date": value.isoformat()}


def _time_tag(value: time) -> dict[str, str]:
    return {"$time": value.isoformat()}


def _duration_tag(value: timedelta) -> dict[str, list[int]]:
    return {"$duration": [value.days, value.seconds, value.microseconds]}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    float: _float_tag,
    Decimal: _plain_decimal,
    datetime: _moment_tag,
    date: _date_tag,
    time: _time_tag,
    timedelta: _duration_tag,
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$decimal": Decimal,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$duration": lambda parts: timedelta(parts[0], parts[1], parts[2]),
}


#: MariaDB's begin with the year 1000; a day is left at either end for time zones.
EARLIEST = datetime(1000, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)


def storable(moment: datetime) -> datetime:
    """Give a time in UTC; raises ValueError for a naive one, or one that cannot be kept."""
    if moment.tzinfo is None:
        raise ValueError(f"The time {moment} has no time zone; make it aware.")
    try:
        found = moment.astimezone(UTC)
    except OverflowError:
        found = None
    if found is None or not EARLIEST <= found <= LATEST:
        raise ValueError(f"The time {moment} is not between the years 1000 and 9999.")
    return found


def cursor_to_json(cursor: Cursor) -> list[dict[str, Any]]:
    """Give the cursor as one JSON value; fields with their default are left out."""
    return [_frame_to_json(frame) for frame in cursor]


def cursor_from_json(data: Any) -> Cursor:
    """Read a stored cursor; raises StateError where it is damaged."""
    if not isinstance(data, list):
        raise StateError(f"The stored cursor is no list: {data!r}. Restart the run at a step.")
    try:
        return tuple(_frame_from_json(item) for item in data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"The stored cursor cannot be read ({error!r}). Restart the run at a step."
        ) from error


def _frame_to_json(frame: Frame) -> dict[str, Any]:
    data: dict[str, Any] = {"step": frame.step, "phase": frame.phase}
    if frame.branch is not None:
        data["branch"] = frame.branch
    if frame.memo:
        data["memo"] = encode(dict(frame.memo))
    if frame.variables:
        data["variables"] = list(frame.variables)
    if frame.wakeup:
        data["wakeup"] = encode(dict(frame.wakeup))
    for name in ("tries", "passes", "calling"):
        if value := getattr(frame, name):
            data[name] = value
    return data


def _frame_from_json(data: dict[str, Any]) -> Frame:
    if data["phase"] not in PHASES:
        raise ValueError(f"unknown phase {data['phase']!r}")
    return Frame(
        step=data["step"],
        phase=data["phase"],
        branch=data.get("branch"),
        memo=dict(decode(data.get("memo", {}))),
        variables=tuple(data.get("variables", ())),
        tries=int(data.get("tries", 0)),
        passes=int(data.get("passes", 0)),
        calling=bool(data.get("calling", False)),
        wakeup=decode(data["wakeup"]) if "wakeup" in data else None,
    )
