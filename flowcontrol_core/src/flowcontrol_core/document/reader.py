"""Reads the keys of one JSON object, and reports each one that is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from flowcontrol_core.document.values import child_path, kind, shown, text_problem, to_seconds
from flowcontrol_core.errors import Problem
from flowcontrol_core.suggest import did_you_mean

_MOST_UNKNOWN = 20
_Option = TypeVar("_Option", bound=str)


class Fields:
    """The keys of one object of a document.

    Each reader answers with the value, or with the default when the key is absent or its value
    is wrong; the latter is added to ``problems``, so that one pass finds all of them.
    """

    def __init__(
        self,
        data: dict[Any, Any],
        problems: list[Problem],
        *,
        path: str = "",
        step: str = "",
        prefix: str = "",
    ) -> None:
        self._data = data
        self._problems = problems
        self._path = path
        self._step = step
        self._prefix = prefix

    def report(self, key: object, message: str) -> None:
        """Adds a problem with the value under ``key``."""
        name = key if isinstance(key, str) else ""
        self._problems.append(
            Problem(child_path(self._path, key), message, self._step, self._prefix + name)
        )

    def check_keys(self, allowed: Sequence[str], required: Sequence[str]) -> None:
        """Reports the keys that do not belong here and those that are missing."""
        unknown = [key for key in self._data if key not in allowed]
        for key in unknown[:_MOST_UNKNOWN]:
            self.report(key, f"is not a known key. {_advice(key, allowed)}")
        for key in required:
            if key not in self._data:
                self.report(key, f"is missing; add the key {key!r}.")

    def raw(self, key: str, default: object = None) -> object:
        """The value as it is written."""
        return self._data.get(key, default)

    def given_text(self, key: str, *, limit: int) -> str | None:
        """A text of at most ``limit`` characters; None when the key is absent or wrong."""
        if key not in self._data:
            return None
        value = self.raw(key)
        if not isinstance(value, str):
            self.report(key, f"must be a text, not {kind(value)}; write it in quotes.")
        elif problem := text_problem(value):
            self.report(key, problem)
        elif len(value) > limit:
            self.report(key, f"has {len(value):,} characters; at most {limit:,} are possible.")
        else:
            return value
        return None

    def text(self, key: str, default: str, *, limit: int) -> str:
        """A text of at most ``limit`` characters."""
        value = self.given_text(key, limit=limit)
        return default if value is None else value

    def matching(self, key: str, pattern: re.Pattern[str], advice: str, *, limit: int) -> str:
        """A text that matches the whole pattern; empty when the key is absent or wrong."""
        value = self.given_text(key, limit=limit)
        if value is None or pattern.fullmatch(value):
            return value or ""
        self.report(key, f"is {shown(value)}, but must be {advice}.")
        return ""

    def names(
        self, key: str, pattern: re.Pattern[str], example: str, *, most: int
    ) -> tuple[str, ...]:
        """A list of at most ``most`` names that match the whole pattern."""
        value = self.raw(key, [])
        if not isinstance(value, list) or len(value) > most:
            self.report(key, f"must be a list of at most {most} names, not {shown(value)}.")
            return ()
        wrong = [name for name in value if not isinstance(name, str) or not pattern.fullmatch(name)]
        for name in wrong[:1]:
            self.report(key, f"has {shown(name)} in it, but must list names such as {example}.")
        return () if wrong else tuple(value)

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.raw(key, default)
        if isinstance(value, bool):
            return value
        self.report(key, f"must be true or false, not {shown(value)}.")
        return default

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.raw(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.report(key, f"must be a whole number from {low} to {high:,}, not {shown(value)}.")
        return default

    def number(self, key: str, default: float, *, low: int, high: int) -> float:
        """A finite number from ``low`` to ``high``."""
        value = self.raw(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.report(key, f"must be a number from {low} to {high:,}, not {shown(value)}.")
        return default

    def choice(self, key: str, default: _Option, options: tuple[_Option, ...]) -> _Option:
        """One of the options."""
        value = self.raw(key, default)
        for option in options:
            if value == option:
                return option
        names = " or ".join(repr(str(option)) for option in options)
        self.report(key, f"must be {names}, not {shown(value)}.")
        return default

    def duration(self, key: str, default: float) -> float:
        """A duration in seconds."""
        try:
            return to_seconds(self.raw(key, default))
        except ValueError as error:
            self.report(key, str(error))
            return default


def _advice(key: object, allowed: Sequence[str]) -> str:
    return did_you_mean(key, allowed, f"Remove it. Possible here: {', '.join(allowed)}.")
