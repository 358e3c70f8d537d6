"""Single values of a document: how they are named in messages, and which of them are JSON."""

from __future__ import annotations

import math
import re
from typing import Any

from flowcontrol_core.document.rules import (
    DURATION,
    MAX_BYTES,
    MAX_INTEGER_BITS,
    MAX_SECONDS,
    MAX_VALUE_DEPTH,
    SECONDS,
    UNSTORABLE,
)
from flowcontrol_core.errors import Problem

_KINDS: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "an object"),
)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_SHOWN = 40

TOO_LARGE = Problem(
    "",
    f"The document is larger than {MAX_BYTES // 1024:,} KiB as JSON; "
    f"shorten its texts or split it into several flows.",
)


def kind(value: object) -> str:
    """What sort of value this is, for a message."""
    named = (name for type_, name in _KINDS if isinstance(value, type_))
    return next(named, f"a {type(value).__name__}")


def shown(value: object) -> str:
    """The value itself if it is short enough to be shown in a message, else its kind."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        return "a huge number"
    return repr(value) if isinstance(value, bool | int | float) else kind(value)


def child_path(path: str, key: object) -> str:
    """The address of what stands under ``key`` of the object at ``path``."""
    if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{shown(key)}]"


def text_problem(text: str) -> str | None:
    """Why the text cannot be stored, or None."""
    found = UNSTORABLE.search(text)
    if found is None:
        return None
    code = f"U+{ord(found.group()):04X}"
    return f"contains the character {code} at position {found.start()}, which a database refuses."


def number_problem(value: float) -> str | None:
    """Why the number cannot be stored, or None."""
    if isinstance(value, int):
        return "is too large a number." if value.bit_length() > MAX_INTEGER_BITS else None
    return None if math.isfinite(value) else f"must be a finite number, not {value}."


def to_seconds(value: object) -> float:
    """Reads a duration: a number of seconds, or a text such as ``30s``, ``5m``, ``2h``, ``1d``.

    Raises ValueError, with a message for the author, when it is not one.
    """
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(
            f"must be a duration: a number of seconds or a text like '30s', '5m', '2h' or '1d', "
            f"not {shown(value)}."
        )
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"must be between 0 and {MAX_SECONDS // 86_400} days.")
    return float(seconds)


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        match = DURATION.fullmatch(value)
        return float(match[1]) * SECONDS[match[2]] if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


class ValueCopier:
    """Copies the configurations of one document and reports what is not JSON in them.

    It counts what it copies, at less than its real size. Without that, a document of a few
    lines whose parts are shared (as YAML aliases are) would unfold without end.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._room = MAX_BYTES
        self._step = ""

    def copy_config(self, config: dict[Any, Any], path: str, step: str) -> dict[str, Any]:
        """A copy that shares nothing with ``config``; problems are reported for the step."""
        if self._room < 0:
            return {}
        self._step = step
        copied = self._object(config, path, "config", depth=0)
        if self._room < 0:
            self._problems.append(TOO_LARGE)
        return copied

    def _value(self, value: object, path: str, field: str, depth: int) -> object:
        self._room -= len(value) + 2 if isinstance(value, str) else 1
        if self._room < 0:
            return None
        if not isinstance(value, dict | list):
            self._check_scalar(value, path, field)
            return value
        if depth > MAX_VALUE_DEPTH:
            self._report(path, field, f"nests deeper than {MAX_VALUE_DEPTH} levels; flatten it.")
            return None
        if isinstance(value, dict):
            return self._object(value, path, field, depth)
        return self._list(value, path, field, depth)

    def _list(self, items: list[Any], path: str, field: str, depth: int) -> list[object]:
        return [
            self._value(item, f"{path}[{index}]", field, depth + 1)
            for index, item in enumerate(items)
            if self._room >= 0
        ]

    def _object(self, items: dict[Any, Any], path: str, field: str, depth: int) -> dict[str, Any]:
        copied = {}
        for key, item in items.items():
            if self._room < 0:
                break
            inner = child_path(path, key)
            if not isinstance(key, str):
                self._report(inner, field, "is a key that is not a text; write it in quotes.")
                continue
            name = f"{field}.{key}" if depth == 0 else field
            if problem := text_problem(key):
                self._report(inner, name, f"has a key that {problem}")
            self._room -= len(key) + 3
            copied[key] = self._value(item, inner, name, depth + 1)
        return copied

    def _check_scalar(self, value: object, path: str, field: str) -> None:
        problem = None
        if isinstance(value, str):
            problem = text_problem(value)
        elif isinstance(value, int | float):
            problem = number_problem(value)
        elif value is not None:
            problem = (
                f"must be a JSON value (text, number, true, false, null, list or object), "
                f"not {kind(value)}."
            )
        if problem:
            self._report(path, field, problem)

    def _report(self, path: str, field: str, message: str) -> None:
        self._problems.append(Problem(path, message, self._step, field))
