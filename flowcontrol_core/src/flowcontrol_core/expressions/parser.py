"""Parses an expression by operator precedence, as Django's ``{% if %}`` does.

Beyond Django: operators need no spaces around them, and brackets group.
"""

from __future__ import annotations

import math
import re
from typing import Any

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.filters import FILTERS, Filter
from flowcontrol_core.expressions.nodes import (
    Comparison,
    FilterCall,
    Filtered,
    Junction,
    Literal,
    Node,
    Not,
    Operand,
    Path,
)
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.tokens import Token, scan
from flowcontrol_core.suggest import did_you_mean

# How tightly operators bind: the numbers of django.template.smartif.
_BINDING = {"or": 6, "and": 7, "in": 9, "not in": 9, "is": 10, "is not": 10} | dict.fromkeys(
    ("==", "!=", ">", ">=", "<", "<="), 10
)
_BINDING_OF_NOT = 8
_CONSTANTS = {"True": True, "False": False, "None": None}
_OTHER_LANGUAGES = {"true": "True", "false": "False", "null": "None", "none": "None"}
_ESCAPED = re.compile(r"\\([\\\"'])")


def check_length(source: str, limit: int, what: str) -> None:
    """Refuse a text that is too long to be compiled."""
    if len(source) > limit:
        raise ExpressionError(
            f"{what} has {len(source):,} characters; at most {limit:,} are possible.",
            source=source,
            position=limit,
            length=len(source) - limit,
        )


class Parser:
    """Reads one expression out of a stretch of a text; all errors mark their place in the text."""

    def __init__(
        self, source: str, start: int = 0, stop: int | None = None, *, html: bool = False
    ) -> None:
        self._tokens = scan(source, start, len(source) if stop is None else stop)
        self._next = 0
        self._depth = 0
        self._html = html

    def parse_condition(self) -> Node:
        """Read a whole expression: operators, brackets, values."""
        node = self._expression(0)
        self.expect_end()
        return node

    def parse_values(self) -> list[Node]:
        """Read one or more values with their filters, separated by spaces."""
        values = [self._value(self._take())]
        while self.current.kind != "end":
            values.append(self._value(self._take()))
        return values

    def parse_value(self) -> Node:
        """Read one value with its filters, and nothing else."""
        value = self._value(self._take())
        self.expect_end()
        return value

    def expect_end(self) -> None:
        """Refuse what is left over."""
        if self.current.kind != "end":
            raise self.current.place.error(_left_over(self.current))

    @property
    def current(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._next]

    def _at_mark(self, mark: str) -> bool:
        return self.current.kind == "mark" and self.current.text == mark

    def _take(self) -> Token:
        token = self.current
        if token.kind != "end":
            self._next += 1
        return token

    def _expression(self, binding: int) -> Node:
        self._depth += 1
        if self._depth > bounds.NESTING:
            raise self.current.place.error(
                f"This is nested more than {bounds.NESTING} levels deep. Write it more simply."
            )
        left = self._prefixed(self._take())
        length = 0
        while binding < _BINDING.get(self.current.text, 0) and self.current.kind == "operator":
            operator = self._take()
            length += operator.text not in ("and", "or")
            if length > bounds.NESTING:
                raise operator.place.error("Too many comparisons in one row. Write it more simply.")
            right = self._expression(_BINDING[operator.text])
            left = _combined(operator.text, left, right)
        self._depth -= 1
        return left

    def _prefixed(self, token: Token) -> Node:
        if token.kind == "operator" and token.text == "not":
            return Not(self._expression(_BINDING_OF_NOT))
        if token.text == "(" and token.kind == "mark":
            node = self._expression(0)
            if not self._at_mark(")"):
                raise token.place.error('This bracket is not closed. Add a ")".')
            self._take()
            return node
        return self._value(token)

    def _value(self, token: Token) -> Node:
        operand = self._operand(token)
        calls = []
        while self._at_mark("|"):
            self._take()
            calls.append(self._call())
        return Filtered(operand, tuple(calls)) if calls else operand

    def _operand(self, token: Token) -> Operand:
        if token.kind == "text":
            return Literal(_ESCAPED.sub(r"\1", token.text[1:-1]))
        if token.kind == "number":
            return Literal(_number(token), token.text)
        if token.kind == "name":
            return self._name(token)
        raise token.place.error(_no_value(token))

    def _name(self, token: Token) -> Operand:
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text])
        if token.text in _OTHER_LANGUAGES:
            raise token.place.error(f'Write "{_OTHER_LANGUAGES[token.text]}".')
        if self._at_mark("("):
            raise token.place.error(
                f'"{token.text}" cannot be called. Remove the brackets, or use a filter: name|lower'
            )
        parts = tuple(token.text.split("."))
        for part in parts:
            if part.startswith("_"):
                raise token.place.error(
                    f'"{part}" begins with an underscore; such names are hidden.'
                )
        return Path(parts, token.place)

    def _call(self) -> FilterCall:
        token = self._take()
        if token.kind not in ("name", "operator"):
            raise token.place.error('Behind "|" stands the name of a filter: name|lower')
        found = _find_filter(token, html=self._html)
        argument = None
        if self._at_mark(":"):
            colon, value = self._take(), self._take()
            if value.kind not in ("text", "number", "name"):
                raise colon.place.error('Behind ":" stands a value: name|default:"nobody"')
            argument = self._operand(value)
        _check_argument(found, token.place, given=argument is not None)
        return FilterCall(found, argument, token.place)


def _combined(operator: str, left: Node, right: Node) -> Node:
    if operator not in ("and", "or"):
        return Comparison(operator, left, right)
    if isinstance(left, Junction) and left.operator == operator:
        return Junction(operator, (*left.operands, right))
    return Junction(operator, (left, right))


def _number(token: Token) -> Any:
    if len(token.text) > bounds.NUMBER_DIGITS:
        raise token.place.error(f"A number has at most {bounds.NUMBER_DIGITS} digits.")
    if token.text.lstrip("+-").isdigit():
        return int(token.text)
    number = float(token.text)
    if math.isinf(number):
        raise token.place.error(f'The number "{token.text}" is too large.')
    return number


def _find_filter(token: Token, *, html: bool) -> Filter:
    found = FILTERS.get(token.text)
    if found is not None and (html or not found.html_only):
        return found
    if found is not None:
        raise token.place.error(f'The filter "{token.text}" is for HTML only. Remove it.')
    names = [name for name, known in FILTERS.items() if html or not known.html_only]
    advice = did_you_mean(token.text, names, f"Possible are: {', '.join(sorted(names))}.")
    raise token.place.error(f'There is no filter "{token.text}". {advice}')


def _check_argument(found: Filter, place: Span, *, given: bool) -> None:
    if given and found.takes == "nothing":
        raise place.error(f'The filter "{found.name}" takes no argument. Remove the ":" behind it.')
    if not given and found.takes == "argument":
        raise place.error(f'The filter "{found.name}" needs an argument: {found.example}')


def _no_value(token: Token) -> str:
    if token.kind == "end":
        return "The expression ends too early: a value is missing here."
    if token.text == "=":
        return 'Write "==" to compare.'
    return f'A value was expected here, not "{token.text}".'


def _left_over(token: Token) -> str:
    if token.kind == "number" and token.text[0] in "+-":
        return "There is no arithmetic; to add a number, use the filter add: state.tries|add:1"
    if token.text == ")":
        return 'This bracket was never opened. Remove it, or add a "(" before.'
    if token.text == ":":
        return 'A ":" stands only behind the name of a filter: name|default:"nobody"'
    return f'"{token.text}" is not expected here. An operator may be missing: and, or, ==, <, in.'
