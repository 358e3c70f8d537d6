"""Parses an expression by operator precedence, as Django's ``{% if %}`` does.

Beyond Django: operators need no spaces around them, brackets group and find items, and there are
lists, arithmetic and functions. From loose to tight bind: the operators of ``_BINDING``, a sign,
filters, the items of a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from flowcontrol_core import bounds
from flowcontrol_core.errors import UnknownFilterError, gettext
from flowcontrol_core.expressions import nodes
from flowcontrol_core.expressions.extensions import extensions
from flowcontrol_core.expressions.filters import ExpressionFunction, Filter
from flowcontrol_core.expressions.nodes import Node
from flowcontrol_core.expressions.scope import RESERVED_NAMES
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.tokens import Token, scan
from flowcontrol_core.suggest import nearest_or_all

# How tightly operators bind: up to 10, the numbers of django.template.smartif.
_BINDING = {
    "or": 6, "and": 7, "in": 9, "not in": 9,
    "is": 10, "is not": 10, "==": 10, "!=": 10, ">": 10, ">=": 10, "<": 10, "<=": 10,
    "+": 11, "-": 11, "*": 12, "/": 12, "%": 12,
}  # fmt: skip
_BINDING_OF_NOT = 8
_BINDING_OF_SIGN = 13
_ARITHMETIC = frozenset("+-*/%")
_BEGINS_A_VALUE = frozenset("([+-")
CONSTANTS = {"True": True, "False": False, "None": None}
CONSTANTS_ELSEWHERE = {"true": "True", "false": "False", "null": "None", "none": "None"}
_ESCAPED = re.compile(r"\\([\\\"'])")

#: The dotted lookups of a text, each with the first place where it stands.
Places = Mapping[tuple[str, ...], Span]


class ExpressionParser:
    """Reads one expression out of a stretch of a text; all errors mark their span in the text."""

    def __init__(
        self, source: str, start: int = 0, stop: int | None = None, *, html: bool = False
    ) -> None:
        self._tokens = scan(source, start, len(source) if stop is None else stop)
        self._next = 0
        self._depth = 0
        self._operators = 0
        self._html = html
        self._places: dict[tuple[str, ...], Span] = {}

    @property
    def places(self) -> Places:
        """The dotted lookups read so far."""
        return MappingProxyType(self._places)

    def parse_expression(self) -> Node:
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
        while self._current.kind == "operator" and binding < _BINDING.get(self._current.text, 0):
            operator = self._take()
            if operator.text not in ("and", "or"):
                self._count(operator)
            right = self._expression(_BINDING[operator.text])
            left = _combined(operator, left, right)
        self._depth -= 1
        return left

    def _count(self, token: Token) -> None:
        """Count what may nest to the left, where no bracket shows it."""
        self._operators += 1
        if self._operators > bounds.EXPRESSION_OPERATORS:
            text = gettext("More than %(n)d operators are too many. Write it more simply.")
            raise token.span.error(text, n=bounds.EXPRESSION_OPERATORS)

    def _prefixed(self, token: Token) -> Node:
        if token.kind == "operator" and token.text == "not":
            return nodes.Not(self._expression(_BINDING_OF_NOT))
        if token.kind == "operator" and token.text == "-" and not self._is_sign(token):
            return nodes.Negative(self._expression(_BINDING_OF_SIGN), token.span)
        return self._value(token)

    def _is_sign(self, token: Token) -> bool:
        """Return whether a token belongs to the number that follows it without a space."""
        follows = token.span.position + 1 == self._current.span.position
        return token.text in ("+", "-") and self._current.kind == "number" and follows

    def _value(self, token: Token) -> Node:
        """Read a value with its items and its filters."""
        operand = self._operand(token)
        calls = []
        while self._at_mark("|"):
            self._take()
            calls.append(self._filter_call())
        return nodes.Filtered(operand, tuple(calls)) if calls else operand

    def _operand(self, token: Token) -> Node:
        """Read a value with its items: ``items[i].name``."""
        node = self._primary(token)
        while self._at_mark("[") or self._current.kind == "rest":
            following = self._take()
            self._count(following)
            if following.kind == "rest":
                node = self._with_rest(node, following)
            else:
                key = self._expression(0)
                node = _item(node, key, following.span, self._close(following, "]"))
        self._note(node)
        return node

    def _primary(self, token: Token) -> Node:
        if token.kind == "text":
            return nodes.Literal(_ESCAPED.sub(r"\1", token.text[1:-1]))
        if token.kind == "number":
            return nodes.Literal(_number(token.text, token.span))
        if token.kind == "name":
            return self._name(token)
        if token.kind == "operator" and self._is_sign(token):
            number = self._take()
            return nodes.Literal(_number(token.text + number.text, number.span))
        if token.kind == "mark" and token.text == "(":
            node = self._expression(0)
            self._close(token, ")")
            return node
        if token.kind == "mark" and token.text == "[":
            items, _ = self._items(token, "]")
            return nodes.ListOf(items, token.span)
        raise token.span.error(_no_value(token), token=token.text)

    def _close(self, opening: Token, mark: str) -> Token:
        """Take the bracket that closes another one."""
        if not self._at_mark(mark):
            text = gettext('This bracket is not closed. Add a "%(mark)s".')
            raise opening.span.error(text, mark=mark)
        return self._take()

    def _items(self, opening: Token, mark: str) -> tuple[tuple[Node, ...], Token]:
        """Read what stands between two brackets, separated by commas, up to the second one."""
        found: list[Node] = []
        while not self._at_mark(mark):
            found.append(self._expression(0))
            if not self._at_mark(","):
                break
            self._take()
        return tuple(found), self._close(opening, mark)

    def _name(self, token: Token) -> Node:
        if token.text in CONSTANTS:
            return nodes.Literal(CONSTANTS[token.text])
        if token.text in CONSTANTS_ELSEWHERE:
            name = CONSTANTS_ELSEWHERE[token.text]
            raise token.span.error(gettext('Write "%(name)s".'), name=name)
        if self._at_mark("("):
            return self._call(token)
        parts = tuple(token.text.split("."))
        _refuse_hidden(parts, token.span)
        return nodes.Path(parts, token.span)

    def _with_rest(self, node: Node, token: Token) -> Node:
        """Return what the names after a bracket find: ``.name`` in ``items[0].name``."""
        parts = token.text[1:].split(".")
        _refuse_hidden(parts, token.span)
        for part in parts:
            node = _item(node, nodes.Literal(part), token.span, token)
        return node

    def _note(self, node: Node) -> None:
        """Remember a name that is read from the scope."""
        while isinstance(node, nodes.Item):
            node = node.container
        if isinstance(node, nodes.Path):
            self._places.setdefault(node.parts, node.span)

    def _call(self, token: Token) -> Node:
        function = _find_function(token)
        arguments, _ = self._items(self._take(), ")")
        if not function.least <= len(arguments) <= function.most:
            text = gettext("The function is called like this: %(example)s")
            raise token.span.error(text, example=function.example)
        return nodes.FunctionCall(function, arguments, token.span)

    def _filter_call(self) -> nodes.FilterCall:
        token = self._take()
        if token.kind not in ("name", "operator"):
            raise token.span.error(gettext('Write the name of a filter after "|": name|lower'))
        found = _find_filter(token, html=self._html)
        argument = None
        if self._at_mark(":"):
            colon, value = self._take(), self._take()
            if value.kind not in ("text", "number", "name") and value.text not in _BEGINS_A_VALUE:
                raise colon.span.error(gettext('Write a value after ":": name|default:"unknown"'))
            argument = self._operand(value)
        _check_argument(found, token.span, given=argument is not None)
        return nodes.FilterCall(found, argument, token.span)


def _combined(operator: Token, left: Node, right: Node) -> Node:
    sign = operator.text
    if sign in _ARITHMETIC:
        return nodes.Calculation(sign, left, right, operator.span)
    if sign not in ("and", "or"):
        return nodes.Comparison(sign, left, right)
    if isinstance(left, nodes.Junction) and left.operator == sign:
        return nodes.Junction(sign, (*left.operands, right))
    return nodes.Junction(sign, (left, right))


def _item(container: Node, key: Node, span: Span, last: Token) -> Node:
    """Return what a key finds; a path where it could have been written with dots."""
    if isinstance(container, nodes.Path) and isinstance(key, nodes.Literal):
        value, first = key.value, container.span
        is_name = isinstance(value, str) and bool(value) and not value.startswith("_")
        if is_name or (type(value) is int and value >= 0):
            end = last.span.position + last.span.length
            whole = Span(first.source, first.position, end - first.position)
            return nodes.Path((*container.parts, str(value)), whole)
    return nodes.Item(container, key, span)


def _refuse_hidden(parts: tuple[str, ...] | list[str], span: Span) -> None:
    for part in parts:
        if part.startswith("_"):
            text = gettext('"%(name)s" begins with an underscore; such names are hidden.')
            raise span.error(text, name=part)


def _number(written: str, span: Span) -> float:
    if len(written) > bounds.NUMBER_DIGITS:
        text = gettext("A number has at most %(n)d digits.")
        raise span.error(text, n=bounds.NUMBER_DIGITS)
    if written.lstrip("+-").replace("_", "").isdigit():
        return int(written)
    number = float(written)
    if math.isinf(number):
        raise span.error(gettext('The number "%(number)s" is too large.'), number=written)
    return number


def _find_function(token: Token) -> ExpressionFunction:
    function = extensions.find_function(token.text)
    if function is not None:
        return function
    if token.text == "_":
        text = gettext("Texts are not translated here. Write the text without _( ).")
        raise token.span.error(text)
    root, *rest = token.text.split(".")
    if root in RESERVED_NAMES or len(rest) > 1:
        text = gettext(
            '"%(name)s" cannot be called. Remove the brackets, or use a filter: name|lower'
        )
        raise token.span.error(text, name=token.text)
    text = gettext(
        'There is no function "%(name)s", so it cannot be called. %(advice)s Or install the plugin '
        "that it comes from."
    )
    raise _unknown(token, f"{token.text}()", text, extensions.function_names())


def _find_filter(token: Token, *, html: bool) -> Filter:
    found = extensions.find_filter(token.text)
    if found is None:
        text = gettext(
            'There is no filter "%(name)s". %(advice)s Or install the plugin that it comes from.'
        )
        raise _unknown(token, f"|{token.text}", text, extensions.filter_names(html=html))
    if found.html_only and not html:
        text = gettext('The filter "%(name)s" is for HTML only. Remove it.')
        raise token.span.error(text, name=token.text)
    return found


def _unknown(token: Token, key: str, text: str, known: list[str]) -> UnknownFilterError:
    advice = nearest_or_all(token.text, known)
    if claimants := extensions.claimants(token.text):
        text = gettext('More than one plugin has "%(name)s". Write which one you mean: %(advice)s.')
        advice = ", ".join(claimants)
    error = token.span.error(text, name=token.text, advice=advice)
    place = {"source": error.source, "position": error.position, "length": error.length}
    return UnknownFilterError(error.message, key=key[: bounds.ACTION_KEY_CHARACTERS], **place)


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
    if token.text in (")", "]"):
        return gettext("This bracket was never opened. Remove it, or add the other one before.")
    if token.text == ":":
        return gettext('Write ":" only after the name of a filter: name|default:"unknown"')
    return gettext(
        '"%(token)s" is not expected here. An operator may be missing: and, or, ==, <, in.'
    )
