"""Parses an expression by operator precedence, as Django's ``{% if %}`` does.

Beyond Django: operators need no spaces around them, and brackets group.
"""

from __future__ import annotations

import math
import re

from flowcontrol_core import bounds
from flowcontrol_core.errors import gettext
from flowcontrol_core.expressions import nodes
from flowcontrol_core.expressions.filters import FILTERS, Filter
from flowcontrol_core.expressions.nodes import Node, Operand
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.tokens import NO_ARITHMETIC, Token, scan
from flowcontrol_core.suggest import nearest_or_all

# How tightly operators bind: the numbers of django.template.smartif.
_BINDING = {"or": 6, "and": 7, "in": 9, "not in": 9, "is": 10, "is not": 10} | dict.fromkeys(
    ("==", "!=", ">", ">=", "<", "<="), 10
)
_BINDING_OF_NOT = 8
CONSTANTS = {"True": True, "False": False, "None": None}
CONSTANTS_ELSEWHERE = {"true": "True", "false": "False", "null": "None", "none": "None"}
_ESCAPED = re.compile(r"\\([\\\"'])")


class ExpressionParser:
    """Reads one expression out of a stretch of a text; all errors mark their span in the text."""

    def __init__(
        self, source: str, start: int = 0, stop: int | None = None, *, html: bool = False
    ) -> None:
        self._tokens = scan(source, start, len(source) if stop is None else stop)
        self._next = 0
        self._depth = 0
        self._html = html
        #: The dotted lookups read so far.
        self.names: frozenset[tuple[str, ...]] = frozenset()

    def parse_condition(self) -> Node:
        """Return a whole expression: operators, brackets, values."""
        node = self._expression(0)
        self._expect_end()
        return node

    def parse_values(self) -> list[Node]:
        """Return one or more values with their filters, separated by spaces."""
        values = [self._value(self._take())]
        while self._current.kind != "end":
            values.append(self._value(self._take()))
        return values

    def parse_value(self) -> Node:
        """Return one value with its filters; raises ExpressionError where more follows."""
        value = self._value(self._take())
        self._expect_end()
        return value

    def _expect_end(self) -> None:
        token = self._current
        if token.kind != "end":
            raise token.span.error(_left_over(token), token=token.text)

    @property
    def _current(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._next]

    def _at_mark(self, mark: str) -> bool:
        return self._current.kind == "mark" and self._current.text == mark

    def _take(self) -> Token:
        token = self._current
        if token.kind != "end":
            self._next += 1
        return token

    def _expression(self, binding: int) -> Node:
        self._depth += 1
        if self._depth > bounds.EXPRESSION_NESTING:
            text = gettext("This is nested more than %(n)d levels deep. Write it more simply.")
            raise self._current.span.error(text, n=bounds.EXPRESSION_NESTING)
        left = self._prefixed(self._take())
        length = 0
        while binding < _BINDING.get(self._current.text, 0) and self._current.kind == "operator":
            operator = self._take()
            length += operator.text not in ("and", "or")
            if length > bounds.EXPRESSION_NESTING:
                text = gettext("Too many comparisons in one row. Write it more simply.")
                raise operator.span.error(text)
            right = self._expression(_BINDING[operator.text])
            left = _combined(operator.text, left, right)
        self._depth -= 1
        return left

    def _prefixed(self, token: Token) -> Node:
        if token.kind == "operator" and token.text == "not":
            return nodes.Not(self._expression(_BINDING_OF_NOT))
        if token.text == "(" and token.kind == "mark":
            node = self._expression(0)
            if not self._at_mark(")"):
                raise token.span.error(gettext('This bracket is not closed. Add a ")".'))
            self._take()
            return node
        return self._value(token)

    def _value(self, token: Token) -> Node:
        operand = self._operand(token)
        calls = []
        while self._at_mark("|"):
            self._take()
            calls.append(self._call())
        return nodes.Filtered(operand, tuple(calls)) if calls else operand

    def _operand(self, token: Token) -> Operand:
        if token.kind == "text":
            return nodes.Literal(_ESCAPED.sub(r"\1", token.text[1:-1]))
        if token.kind == "number":
            return nodes.Literal(_number(token), token.text)
        if token.kind == "name":
            return self._name(token)
        raise token.span.error(_no_value(token), token=token.text)

    def _name(self, token: Token) -> Operand:
        if token.text in CONSTANTS:
            return nodes.Literal(CONSTANTS[token.text])
        if token.text in CONSTANTS_ELSEWHERE:
            name = CONSTANTS_ELSEWHERE[token.text]
            raise token.span.error(gettext('Write "%(name)s".'), name=name)
        if self._at_mark("("):
            text = gettext(
                '"%(name)s" cannot be called. Remove the brackets, or use a filter: name|lower'
            )
            raise token.span.error(text, name=token.text)
        parts = tuple(token.text.split("."))
        for part in parts:
            if part.startswith("_"):
                text = gettext('"%(name)s" begins with an underscore; such names are hidden.')
                raise token.span.error(text, name=part)
        self.names |= {parts}
        return nodes.Path(parts, token.span)

    def _call(self) -> nodes.FilterCall:
        token = self._take()
        if token.kind not in ("name", "operator"):
            raise token.span.error(gettext('Write the name of a filter after "|": name|lower'))
        found = _find_filter(token, html=self._html)
        argument = None
        if self._at_mark(":"):
            colon, value = self._take(), self._take()
            if value.kind not in ("text", "number", "name"):
                raise colon.span.error(gettext('Write a value after ":": name|default:"unknown"'))
            argument = self._operand(value)
        _check_argument(found, token.span, given=argument is not None)
        return nodes.FilterCall(found, argument, token.span)


def _combined(operator: str, left: Node, right: Node) -> Node:
    if operator not in ("and", "or"):
        return nodes.Comparison(operator, left, right)
    if isinstance(left, nodes.Junction) and left.operator == operator:
        return nodes.Junction(operator, (*left.operands, right))
    return nodes.Junction(operator, (left, right))


def _number(token: Token) -> float:
    if len(token.text) > bounds.NUMBER_DIGITS:
        text = gettext("A number has at most %(n)d digits.")
        raise token.span.error(text, n=bounds.NUMBER_DIGITS)
    if token.text.lstrip("+-").isdigit():
        return int(token.text)
    number = float(token.text)
    if math.isinf(number):
        raise token.span.error(gettext('The number "%(number)s" is too large.'), number=token.text)
    return number


def _find_filter(token: Token, *, html: bool) -> Filter:
    found = FILTERS.get(token.text)
    if found is None:
        names = sorted(name for name, known in FILTERS.items() if html or not known.html_only)
        text = gettext('There is no filter "%(name)s". %(advice)s')
        raise token.span.error(text, name=token.text, advice=nearest_or_all(token.text, names))
    if found.html_only and not html:
        text = gettext('The filter "%(name)s" is for HTML only. Remove it.')
        raise token.span.error(text, name=token.text)
    return found


def _check_argument(found: Filter, span: Span, *, given: bool) -> None:
    if given and found.takes == "nothing":
        text = gettext('The filter "%(name)s" takes no argument. Remove the ":" after it.')
        raise span.error(text, name=found.name)
    if not given and found.takes == "argument":
        text = gettext('The filter "%(name)s" needs an argument: %(example)s')
        raise span.error(text, name=found.name, example=found.example)


def _no_value(token: Token) -> str:
    if token.kind == "end":
        return gettext("The expression ends too early: a value is missing here.")
    return gettext('A value was expected here, not "%(token)s".')


def _left_over(token: Token) -> str:
    if token.kind == "number" and token.text[0] in "+-":
        return str(NO_ARITHMETIC)
    if token.text == ")":
        return gettext('This bracket was never opened. Remove it, or add a "(" before.')
    if token.text == ":":
        return gettext('Write ":" only after the name of a filter: name|default:"unknown"')
    return gettext(
        '"%(token)s" is not expected here. An operator may be missing: and, or, ==, <, in.'
    )
