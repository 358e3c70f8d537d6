"""Reads JSON from outside: a reader yields what is wrong with a value, and returns the value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from flowcontrol_core import bounds
from flowcontrol_core.errors import DocumentError, Problem, gettext
from flowcontrol_core.suggest import did_you_mean
from flowcontrol_core.texts import UNSTORABLE

_Value = TypeVar("_Value")

Reading: TypeAlias = Generator[Problem, None, _Value]
"""What reading gives: every problem, and then the value, which counts only without problems."""

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: Characters that PostgreSQL's jsonb refuses: NUL and lone surrogates.
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_SHOWN: Final = 40


class Entry(NamedTuple):
    """A value from outside, and where it stands: the path, step and field of its problems."""

    value: Any
    path: str = ""
    step: str = ""
    field: str = ""

    def at(self, key: object) -> Entry:
        """Return what stands under a key of this object; None where it has no such key."""
        field = ".".join(filter(None, (self.field, key if isinstance(key, str) else "")))
        return Entry(self.value.get(key), child_path(self.path, key), self.step, field)

    def items(self) -> Iterator[Entry]:
        """Yield what stands in this list."""
        for index, item in enumerate(self.value):
            yield Entry(item, f"{self.path}[{index}]", self.step, self.field)

    def problem(self, message: str) -> Problem:
        """Return a problem with this value."""
        return Problem(self.path, message, self.step, self.field)

    def unexpected(self, wanted: str) -> Problem:
        """Return the problem that this value is something else than wanted."""
        message = str(expected(wanted, self.value))
        return self.problem(
            message if self.path else gettext("It %(problem)s") % {"problem": message}
        )


Reader: TypeAlias = Callable[[Entry], Reading[_Value]]


def drain(reading: Reading[_Value]) -> tuple[list[Problem], _Value]:
    """Return all problems of a reading, and its value."""
    problems = []
    while True:
        try:
            problems.append(next(reading))
        except StopIteration as end:
            return problems, end.value


def collect(reading: Reading[_Value]) -> _Value:
    """Return the value of a reading; raises DocumentError with all problems."""
    problems, value = drain(reading)
    if problems:
        raise DocumentError(problems)
    return value


def read_keys(
    entry: Entry, readers: Mapping[str, Reader[Any]], required: Iterable[str] = ()
) -> Reading[dict[str, Any]]:
    """Return the values of an object by key; keys that are absent are left out."""
    if not isinstance(entry.value, dict):
        yield entry.unexpected(gettext("an object with keys"))
        return {}
    unknown = [key for key in entry.value if key not in readers]
    for key in unknown[: bounds.UNKNOWN_KEYS]:
        possible = gettext("Remove it. Possible here: %(keys)s.") % {"keys": ", ".join(readers)}
        words = {"advice": did_you_mean(key, readers, possible)}
        yield entry.at(key).problem(gettext("is not a known key. %(advice)s") % words)
    values = {}
    for key, read in readers.items():
        if key in entry.value:
            values[key] = yield from read(entry.at(key))
        elif key in required:
            values[key] = None
            yield entry.at(key).problem(gettext("is missing; add the key %(key)r.") % {"key": key})
    return values


def single(check: Callable[..., _Value], *allowed: Any) -> Reader[_Value | None]:
    """Return a reader of single values by a function that checks them.

    The function returns the value, or raises ValueError with what is wrong with it; it is given
    ``allowed`` (bounds, patterns, options) as well.
    """

    def read(entry: Entry) -> Reading[_Value | None]:
        try:
            return check(entry.value, *allowed)
        except ValueError as error:
            yield entry.problem(str(error))
            return None

    return read


def pattern(allowed: re.Pattern[str], wanted: Callable[[], str]) -> Reader[str | None]:
    """Return a reader of texts that match a whole pattern; ``wanted`` returns what they are."""
    return single(_check_pattern, allowed, wanted)


def optional(read: Reader[_Value]) -> Reader[_Value | None]:
    """Return a reader that takes null for a value that is absent."""

    def read_optional(entry: Entry) -> Reading[_Value | None]:
        return None if entry.value is None else (yield from read(entry))

    return read_optional


def expected(wanted: str, value: object) -> ValueError:
    """Return the error for a value that is something else."""
    words = {"wanted": wanted, "given": shown(value)}
    return ValueError(gettext("must be %(wanted)s, not %(given)s.") % words)


def check_text(value: object, most: int) -> str:
    """Return a text of at most ``most`` characters."""
    if not isinstance(value, str):
        raise expected(gettext("a text in quotes"), value)
    if problem := text_problem(value):
        raise ValueError(problem)
    if len(value) > most:
        words = {"count": f"{len(value):,}", "most": f"{most:,}"}
        raise ValueError(
            gettext("has %(count)s characters; at most %(most)s are possible.") % words
        )
    return value


def _check_pattern(value: object, allowed: re.Pattern[str], wanted: Callable[[], str]) -> str:
    text = check_text(value, bounds.NAME_CHARACTERS)
    if not allowed.fullmatch(text):
        words = {"given": shown(text), "wanted": wanted()}
        raise ValueError(gettext("is %(given)s, but must be %(wanted)s.") % words)
    return text


def check_boolean(value: object) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    raise expected(gettext("true or false"), value)


def check_integer(value: object, low: int, high: int) -> int:
    """Return a whole number within bounds."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    words = {"low": low, "high": f"{high:,}"}
    raise expected(gettext("a whole number from %(low)s to %(high)s") % words, value)


def check_number(value: object, low: int, high: int) -> float:
    """Return a number within bounds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    words = {"low": low, "high": f"{high:,}"}
    raise expected(gettext("a number from %(low)s to %(high)s") % words, value)


def check_choice(value: object, options: tuple[str, ...]) -> str:
    """Return one of the options."""
    if isinstance(value, str) and value in options:
        return value
    names = ", ".join(repr(str(option)) for option in options)
    raise expected(gettext("one of %(names)s") % {"names": names}, value)


def to_seconds(value: object) -> float:
    """Return the seconds of a duration: a number, or a text such as ``30s``, ``5m``, ``2h``.

    Raises ValueError, with a message for the author, when it is not one.
    """
    seconds: Any = value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * _SECONDS[match[2]]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        text = gettext("a duration: a number of seconds or a text like '30s', '5m', '2h' or '1d'")
        raise expected(text, value)
    if not 0 <= seconds <= bounds.DURATION_SECONDS:
        days = bounds.DURATION_SECONDS // 86_400
        raise ValueError(gettext("must be between 0 and %(days)d days.") % {"days": days})
    return float(seconds)


def json_object(entry: Entry) -> Reading[dict[str, Any]]:
    """Return a copy of an object of any JSON values, such as a configuration."""
    if not isinstance(entry.value, dict):
        yield entry.unexpected(gettext("an object with keys"))
        return {}
    problems = list(_json_problems(entry))
    yield from problems
    return {} if problems else json.loads(json.dumps(entry.value))


def _json_problems(entry: Entry, depth: int = 0) -> Iterator[Problem]:
    value = entry.value
    if not isinstance(value, dict | list):
        if message := _scalar_problem(value):
            yield entry.problem(message)
    elif depth > bounds.CONFIG_DEPTH:
        text = gettext("nests deeper than %(most)d levels; flatten it.")
        yield entry.problem(text % {"most": bounds.CONFIG_DEPTH})
    elif isinstance(value, list):
        for inner in entry.items():
            yield from _json_problems(inner, depth + 1)
    else:
        for key in value:
            # Problems are filed under the keys of the first level.
            inner = entry.at(key)._replace(field=entry.field) if depth else entry.at(key)
            if message := _key_problem(key):
                yield inner.problem(message)
            else:
                yield from _json_problems(inner, depth + 1)


def _scalar_problem(value: object) -> str:
    """Return why a value other than a list or an object cannot be stored; empty where it can."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, int):
        is_huge = value.bit_length() > bounds.INTEGER_BITS
        return gettext("is too large a number.") if is_huge else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else str(expected(gettext("a finite number"), value))
    wanted = gettext("a JSON value (text, number, true, false, null, list or object)")
    return str(expected(wanted, value))


def _key_problem(key: object) -> str:
    if not isinstance(key, str):
        return gettext("is a key that is not a text; write it in quotes.")
    problem = text_problem(key)
    return gettext("has a key that %(problem)s") % {"problem": problem} if problem else ""


def text_problem(text: str) -> str:
    """Return why a text cannot be stored; empty where it can."""
    found = UNSTORABLE.search(text)
    if found is None:
        return ""
    message = gettext("contains the character %(code)s at position %(position)d; remove it.")
    return message % {"code": f"U+{ord(found.group()):04X}", "position": found.start()}


def shown(value: object) -> str:
    """Return the value itself if it is short enough to be shown in a message, else its kind."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")
    if isinstance(value, int) and value.bit_length() > bounds.INTEGER_BITS:
        return gettext("a huge number")
    if isinstance(value, bool | int | float):
        return repr(value)
    kinds = {type(None): "null", list: gettext("a list"), dict: gettext("an object")}
    return kinds.get(type(value)) or gettext("a %(kind)s") % {"kind": type(value).__name__}


def child_path(path: str, key: object) -> str:
    """Return the address of what stands under ``key`` of the object at ``path``."""
    if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{shown(key)}]"


def weigh(value: object, most: int) -> int:
    """Return the least size of a value as JSON, counted up to a little more than ``most``.

    Without it, a document of a few lines whose parts are shared would unfold without end.
    """
    pending, size = [value], 0
    while pending and size <= most:
        item = pending.pop()
        size += len(item) + 1 if isinstance(item, str | dict | list) else 1
        if isinstance(item, dict):
            size += sum(len(key) + 3 for key in item if isinstance(key, str))
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return size
