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
from flowcontrol_core.errors import ExpressionError, gettext
from flowcontrol_core.expressions.coercion import as_long_text
from flowcontrol_core.expressions.lookup import Read
from flowcontrol_core.expressions.scope import ExtendedScope, Scope
from flowcontrol_core.expressions.spans import Span, too_large


class RenderScope(ExtendedScope):
    """A scope during the rendering of a template: the variables of its tags, and the budget."""

    __slots__ = ("_deadline", "_iterations", "_pieces", "_size")

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self._deadline = time.monotonic() + bounds.RENDER_SECONDS
        self._iterations = 0
        self._pieces: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        """Add to the output. Raises ExpressionError when it becomes too long."""
        self._size += len(text)
        if self._size > bounds.RENDER_CHARACTERS:
            message = gettext("The text becomes longer than %(limit)s characters.")
            raise too_large(message, self._size, bounds.RENDER_CHARACTERS)
        self._pieces.append(text)

    def write_value(self, value: Any, *, html: bool) -> None:
        """Add a value to the output, escaped in an HTML template."""
        text = as_long_text(value)
        self.write(str(conditional_escape(text)) if html else text)

    def count_iteration(self) -> None:
        """Count a pass of any loop. Raises ExpressionError when there are too many."""
        self._iterations += 1
        if self._iterations > bounds.RENDER_ITERATIONS:
            text = gettext("The loops of the template make more than %(limit)s passes together.")
            raise too_large(text, self._iterations, bounds.RENDER_ITERATIONS)

    def check_time(self) -> None:
        """Raise ExpressionError when the rendering takes too long."""
        if time.monotonic() > self._deadline:
            text = gettext("The template takes longer than %(seconds)d seconds to render.")
            raise ExpressionError(text % {"seconds": bounds.RENDER_SECONDS})

    def output(self) -> str:
        """Return what was written."""
        return "".join(self._pieces)


class Part(Protocol):
    """A piece of text, a variable, or a tag with all that is inside."""

    def render(self, scope: RenderScope) -> None:
        """Write the part's output to the scope."""


@dataclass(frozen=True, slots=True)
class Body:
    """Parts one after the other."""

    parts: tuple[Part, ...] = ()

    def render(self, scope: RenderScope) -> None:
        for part in self.parts:
            scope.check_time()
            part.render(scope)


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it was typed."""

    text: str

    def render(self, scope: RenderScope) -> None:
        scope.write(self.text)


@dataclass(frozen=True, slots=True)
class Variable:
    """``{{ value }}``."""

    read: Read
    html: bool

    def render(self, scope: RenderScope) -> None:
        scope.write_value(self.read(scope), html=self.html)


@dataclass(frozen=True, slots=True)
class FirstOf:
    """``{% firstof a b "nothing" %}``: the first value that counts as true."""

    reads: tuple[Read, ...]
    html: bool

    def render(self, scope: RenderScope) -> None:
        for read in self.reads:
            if value := read(scope):
                scope.write_value(value, html=self.html)
                return


@dataclass(frozen=True, slots=True)
class Now:
    """``{% now "Y-m-d" %}``: the scope's time, in the active time zone."""

    format: str

    def render(self, scope: RenderScope) -> None:
        scope.write(str(django_filters.date(timezone.localtime(scope.now), self.format)))


@dataclass(frozen=True, slots=True)
class Case:
    """A condition of an ``if`` and what it renders; an ``else`` has none."""

    condition: Read | None
    body: Body


@dataclass(frozen=True, slots=True)
class If:
    """``{% if %}``, ``{% elif %}``, ``{% else %}``."""

    cases: tuple[Case, ...]

    def render(self, scope: RenderScope) -> None:
        for case in self.cases:
            if case.condition is None or case.condition(scope):
                case.body.render(scope)
                return


@dataclass(frozen=True, slots=True)
class With:
    """``{% with name=value %}``."""

    values: Mapping[str, Read]
    body: Body

    def render(self, scope: RenderScope) -> None:
        outer = scope.variables
        inner = {name: read(scope) for name, read in self.values.items()}
        scope.variables = {**outer, **inner}
        self.body.render(scope)
        scope.variables = outer


@dataclass(frozen=True, slots=True)
class For:
    """``{% for item in items %}``; with two names over a dictionary: key and value."""

    names: tuple[str, ...]
    read: Read
    span: Span
    body: Body
    empty: Body = field(default_factory=Body)
    is_reversed: bool = False

    def render(self, scope: RenderScope) -> None:
        items = self._items(self.read(scope))
        if not items:
            self.empty.render(scope)
            return
        outer = scope.variables
        inner = dict(outer)
        for index, item in enumerate(items):
            scope.count_iteration()
            inner["forloop"] = _loop_values(index, len(items), outer.get("forloop"))
            inner.update(self._unpack(item))
            scope.variables = inner
            self.body.render(scope)
        scope.variables = outer

    def _items(self, values: Any) -> list[Any]:
        if values is None:
            return []
        if isinstance(values, Mapping):
            items = list(values.items()) if len(self.names) > 1 else list(values)
        elif isinstance(values, str | list | tuple):
            items = list(values[: bounds.RENDER_ITERATIONS + 1])
        else:
            text = gettext("%(name)s is not a list; a loop needs one.")
            raise self.span.error(text, name=self.span.text)
        return items[::-1] if self.is_reversed else items

    def _unpack(self, item: Any) -> dict[str, Any]:
        if len(self.names) == 1:
            return {self.names[0]: item}
        if not isinstance(item, list | tuple) or len(item) != len(self.names):
            text = gettext("The loop has %(n)d names, but %(name)s has other items.")
            raise self.span.error(text, n=len(self.names), name=self.span.text)
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
