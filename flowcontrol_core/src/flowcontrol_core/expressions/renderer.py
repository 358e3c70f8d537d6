"""The parts of a compiled text template, and how they are rendered within bounds.

Each part is one function that writes its output to the scope.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
            message = gettext("The loops of the template make more than %(limit)s passes together.")
            raise too_large(message, self._iterations, bounds.RENDER_ITERATIONS)

    def check_time(self) -> None:
        """Raise ExpressionError when the rendering takes too long."""
        if time.monotonic() > self._deadline:
            message = gettext("The template takes longer than %(seconds)d seconds to render.")
            raise ExpressionError(message % {"seconds": bounds.RENDER_SECONDS})

    def output(self) -> str:
        """Return what was written."""
        return "".join(self._pieces)


Part = Callable[[RenderScope], None]


def render_sequence(parts: Sequence[Part]) -> Part:
    """Return the part that writes others one after the other."""

    def render(scope: RenderScope) -> None:
        for part in parts:
            scope.check_time()
            part(scope)

    return render


def render_text(written: str) -> Part:
    """Return the part that writes text as it was typed."""
    return lambda scope: scope.write(written)


def render_variable(read: Read, *, html: bool) -> Part:
    """Return the part of ``{{ value }}``."""
    return lambda scope: scope.write_value(read(scope), html=html)


def render_first_of(reads: Sequence[Read], *, html: bool) -> Part:
    """Return the part of ``{% firstof a b "nothing" %}``: the first value that counts as true."""

    def render(scope: RenderScope) -> None:
        value = next((value for read in reads if (value := read(scope))), "")
        scope.write_value(value, html=html)

    return render


def render_now(date_format: str) -> Part:
    """Return the part of ``{% now "Y-m-d" %}``: the scope's time, in the active time zone."""
    return lambda scope: scope.write(
        str(django_filters.date(timezone.localtime(scope.now), date_format))
    )


def render_choice(cases: Sequence[tuple[Read, Part]], otherwise: Part) -> Part:
    """Return the part of ``{% if %}``, ``{% elif %}``, ``{% else %}``."""

    def render(scope: RenderScope) -> None:
        next((part for condition, part in cases if condition(scope)), otherwise)(scope)

    return render


def render_with(values: Mapping[str, Read], inside: Part) -> Part:
    """Return the part of ``{% with name=value %}``."""

    def render(scope: RenderScope) -> None:
        outer = scope.variables
        scope.variables = {**outer, **{name: read(scope) for name, read in values.items()}}
        inside(scope)
        scope.variables = outer

    return render


@dataclass(frozen=True, slots=True)
class Loop:
    """The part of ``{% for item in items %}``; with two names over a dictionary: key and value."""

    names: Sequence[str]
    read: Read
    span: Span
    inside: Part
    empty: Part
    is_reversed: bool

    def __call__(self, scope: RenderScope) -> None:
        items = self._items(self.read(scope))
        if not items:
            self.empty(scope)
            return
        outer = scope.variables
        inner = dict(outer)
        for index, item in enumerate(items):
            scope.count_iteration()
            inner["forloop"] = _loop_values(index, len(items), outer.get("forloop"))
            inner.update(self._unpack(item))
            scope.variables = inner
            self.inside(scope)
        scope.variables = outer

    def _items(self, values: Any) -> list[Any]:
        if values is None:
            return []
        if isinstance(values, Mapping):
            items = list(values.items()) if len(self.names) > 1 else list(values)
        elif isinstance(values, str | list | tuple):
            items = list(values[: bounds.RENDER_ITERATIONS + 1])
        else:
            message = gettext("%(name)s is not a list; a loop needs one.")
            raise self.span.error(message, name=self.span.text)
        return items[::-1] if self.is_reversed else items

    def _unpack(self, item: Any) -> dict[str, Any]:
        if len(self.names) == 1:
            return {self.names[0]: item}
        if not isinstance(item, list | tuple) or len(item) != len(self.names):
            message = gettext("The loop has %(n)d names, but %(name)s has other items.")
            raise self.span.error(message, n=len(self.names), name=self.span.text)
        return dict(zip(self.names, item, strict=True))


def _loop_values(index: int, length: int, parent: Any) -> dict[str, Any]:
    return {
        "counter": index + 1,
        "counter0": index,
        "length": length,
        "revcounter": length - index,
        "revcounter0": length - index - 1,
        "first": index == 0,
        "last": index == length - 1,
        "parentloop": parent,
    }
