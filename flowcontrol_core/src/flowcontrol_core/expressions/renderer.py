"""The parts of a compiled text template, and how they are rendered within bounds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.template import defaultfilters as django_filters
from django.utils import timezone
from django.utils.html import conditional_escape

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.coercion import as_long_text
from flowcontrol_core.expressions.lookup import Read
from flowcontrol_core.expressions.scope import Scope
from flowcontrol_core.expressions.spans import Span


class Frame(Scope):
    """A scope while a template is rendered: with the variables of its tags, and the budget."""

    __slots__ = ("_base", "_deadline", "_iterations", "_pieces", "_size")

    def __init__(self, scope: Scope) -> None:  # the object stays as lazy as it was
        self._base = scope
        self.state = scope.state
        self.now = scope.now
        self.payload = scope.payload
        self.variables = scope.variables
        self._deadline = time.monotonic() + bounds.RENDER_SECONDS
        self._iterations = 0
        self._pieces: list[str] = []
        self._size = 0

    @property
    def obj(self) -> Any:  # an attribute of the base class; here it is read only
        return self._base.obj

    def write(self, text: str) -> None:
        """Add to the output. Raises ExpressionError when it becomes too long."""
        self._size += len(text)
        if self._size > bounds.OUTPUT_CHARACTERS:
            raise ExpressionError(
                f"The text becomes longer than {bounds.OUTPUT_CHARACTERS:,} characters."
            )
        self._pieces.append(text)

    def count_iteration(self) -> None:
        """Count a pass of any loop. Raises ExpressionError when there are too many."""
        self._iterations += 1
        if self._iterations > bounds.ITERATIONS:
            raise ExpressionError(
                f"The loops of the template make more than {bounds.ITERATIONS:,} passes together."
            )

    def check_time(self) -> None:
        """Raise ExpressionError when the rendering takes too long."""
        if time.monotonic() > self._deadline:
            raise ExpressionError(
                f"The template takes longer than {bounds.RENDER_SECONDS:g} seconds to render."
            )

    def output(self) -> str:
        """Give what was written."""
        return "".join(self._pieces)


class Part(Protocol):
    """A piece of text, a variable, or a tag with all that is inside."""

    def render(self, frame: Frame) -> None:
        """Write the part's output to the frame."""


@dataclass(frozen=True, slots=True)
class Body:
    """Parts one after the other."""

    parts: tuple[Part, ...] = ()

    def render(self, frame: Frame) -> None:
        for part in self.parts:
            frame.check_time()
            part.render(frame)


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it was typed."""

    text: str

    def render(self, frame: Frame) -> None:
        frame.write(self.text)


@dataclass(frozen=True, slots=True)
class Variable:
    """``{{ value }}``."""

    read: Read
    html: bool

    def render(self, frame: Frame) -> None:
        _write_value(frame, self.read(frame), html=self.html)


@dataclass(frozen=True, slots=True)
class FirstOf:
    """``{% firstof a b "nothing" %}``: the first value that counts as true."""

    reads: tuple[Read, ...]
    html: bool

    def render(self, frame: Frame) -> None:
        for read in self.reads:
            if value := read(frame):
                _write_value(frame, value, html=self.html)
                return


@dataclass(frozen=True, slots=True)
class Now:
    """``{% now "Y-m-d" %}``: the scope's time, in the active time zone."""

    format: str

    def render(self, frame: Frame) -> None:
        frame.write(str(django_filters.date(timezone.localtime(frame.now), self.format)))


@dataclass(frozen=True, slots=True)
class Case:
    """A condition of an ``if`` and what it renders; an ``else`` has none."""

    condition: Read | None
    body: Body


@dataclass(frozen=True, slots=True)
class If:
    """``{% if %}``, ``{% elif %}``, ``{% else %}``."""

    cases: tuple[Case, ...]

    def render(self, frame: Frame) -> None:
        for case in self.cases:
            if case.condition is None or case.condition(frame):
                case.body.render(frame)
                return


@dataclass(frozen=True, slots=True)
class With:
    """``{% with name=value %}``."""

    values: Mapping[str, Read]
    body: Body

    def render(self, frame: Frame) -> None:
        outer = frame.variables
        inner = {name: read(frame) for name, read in self.values.items()}
        frame.variables = {**outer, **inner}
        self.body.render(frame)
        frame.variables = outer


@dataclass(frozen=True, slots=True)
class For:
    """``{% for item in items %}``; with two names over a dictionary: key and value."""

    names: tuple[str, ...]
    read: Read
    place: Span
    body: Body
    empty: Body = field(default_factory=Body)
    is_reversed: bool = False

    def render(self, frame: Frame) -> None:
        items = self._items(self.read(frame))
        if not items:
            self.empty.render(frame)
            return
        outer = frame.variables
        inner = dict(outer)
        for index, item in enumerate(items):
            frame.count_iteration()
            inner["forloop"] = _loop_values(index, len(items), outer.get("forloop"))
            inner.update(self._unpack(item))
            frame.variables = inner
            self.body.render(frame)
        frame.variables = outer

    def _items(self, values: Any) -> list[Any]:
        if values is None:
            return []
        if isinstance(values, Mapping):
            items = list(values.items()) if len(self.names) > 1 else list(values)
        elif isinstance(values, str | list | tuple):
            items = list(values[: bounds.ITERATIONS + 1])
        else:
            raise self.place.error(f"{self.place.text} is no list; a loop needs one.")
        return items[::-1] if self.is_reversed else items

    def _unpack(self, item: Any) -> dict[str, Any]:
        if len(self.names) == 1:
            return {self.names[0]: item}
        if not isinstance(item, list | tuple) or len(item) != len(self.names):
            raise self.place.error(
                f"The loop has {len(self.names)} names, but {self.place.text} has other items."
            )
        return dict(zip(self.names, item, strict=True))


def _loop_values(index: int, length: int, parent: Any) -> dict[str, Any]:
    return {
        "counter": index + 1,
        "counter0": index,
        "revcounter": length - index,
        "revcounter0": length - index - 1,
        "first": index == 0,
        "last": index == length - 1,
        "parentloop": parent,
    }


def _write_value(frame: Frame, value: Any, *, html: bool) -> None:
    text = as_long_text(value)
    frame.write(str(conditional_escape(text)) if html else text)
