"""The form field for assignments: lines ``key: expression``, evaluated when the action asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from flowcontrol_core import bounds
from flowcontrol_core.actions.fields import describe_error
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Expression, Scope, compile_expression
from flowcontrol_core.expressions.scope import RESERVED_NAMES, ExtendedScope

_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,99}")


class MappingField(forms.CharField):
    """Lines ``key: expression``: the action gets a function that returns the values by key.

    The function takes further names for the expressions, for what is known only when the action
    is called: ``config.output(result=…)``. They go before the keys of the state; ``names`` lists
    them, so that they are known at publish. It raises ExpressionError where a value cannot be
    computed.
    """

    widget = forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"})

    def __init__(self, *, names: Iterable[str] = (), **kwargs: Any) -> None:
        self.names = frozenset(names)
        super().__init__(**kwargs)

    def clean(self, value: Any) -> Any:
        expressions: dict[str, str] = {}
        for number, line in _lines(str(super().clean(value) or "")):
            key, expression = _read(number, line)
            if key in expressions:
                raise _wrong(number, _("the key “%(key)s” stands in another line too."), key=key)
            expressions[key] = expression
        if len(expressions) > bounds.MAPPING_LINES:
            text = _("These are more than %(n)d lines.")
            raise ValidationError(text, params={"n": bounds.MAPPING_LINES})
        return expressions

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> _ComputedMapping:
        expressions = {key: compile_expression(text) for key, text in (value or {}).items()}
        return _ComputedMapping(expressions, self.names)

    def to_stored(self, value: Any) -> Any:
        return value

    def from_stored(self, stored: Any) -> Any:
        if not isinstance(stored, dict):
            return stored
        return "\n".join(f"{key}: {expression}" for key, expression in stored.items())


class _ComputedMapping:
    """Expressions by key; in the situation of a run, a function of the values of further names."""

    __slots__ = ("expressions", "places")

    def __init__(self, expressions: Mapping[str, Expression], further: Container[str]) -> None:
        self.expressions = expressions
        self.places = {
            path: span
            for each in expressions.values()
            for path, span in each.places.items()
            if path[0] not in further
        }

    def evaluate(self, scope: Scope) -> Callable[..., dict[str, Any]]:
        def values(**names: Any) -> dict[str, Any]:
            extended = ExtendedScope(scope, names)
            return {key: each.evaluate(extended) for key, each in self.expressions.items()}

        return values


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _read(number: int, line: str) -> tuple[str, str]:
    key, colon, expression = (part.strip() for part in line.partition(":"))
    if not colon or not expression:
        raise _wrong(number, _("write a key, a colon and an expression."))
    if not _KEY.fullmatch(key):
        text = _(
            "“%(key)s” is not a key: use letters, digits and underscores, starting with a letter."
        )
        raise _wrong(number, text, key=key)
    if key in RESERVED_NAMES:
        raise _wrong(number, _("“%(key)s” has a meaning of its own in expressions."), key=key)
    if len(expression) > bounds.EXPRESSION_CHARACTERS:
        raise _wrong(number, _("the expression is too long."))
    try:
        compile_expression(expression)
    except ExpressionError as error:
        raise _wrong(number, "%(problem)s", problem=describe_error(error)) from error
    return key, expression


def _wrong(number: int, text: str | Promise, **params: object) -> ValidationError:
    return ValidationError(
        _("Line %(number)d: %(text)s"), params={"number": number, "text": text % params}
    )
