"""Turns the tree of an expression into one function of a scope: built once, called often.

Each kind of node is one closure.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from django.utils.safestring import mark_safe

from flowcontrol_core.errors import ExpressionError, gettext, raise_interruption
from flowcontrol_core.expressions import budget, nodes
from flowcontrol_core.expressions.arithmetic import calculate, negate
from flowcontrol_core.expressions.coercion import bounded_tree
from flowcontrol_core.expressions.lookup import OBJECT_PATHS, Read, compile_item, compile_path
from flowcontrol_core.expressions.nodes import Node
from flowcontrol_core.expressions.scope import Scope


def build(node: Node, *, html: bool = False) -> Read:
    """Return the function that evaluates a tree."""
    return _BUILDERS[type(node)](node, html=html)


def _literal(node: nodes.Literal, *, html: bool) -> Read:
    value = node.value
    if html and isinstance(value, str):
        # What the author of an HTML template types is HTML, as in Django.
        value = mark_safe(value)  # noqa: S308  (never a value of the scope)
    return lambda _scope: value


def _path(node: nodes.Path, *, html: bool) -> Read:  # noqa: ARG001 - as all builders
    return compile_path(node.parts, node.span)


def _item(node: nodes.Item, *, html: bool) -> Read:
    container, key = build(node.container, html=html), build(node.key, html=html)
    path = node.container.parts if isinstance(node.container, nodes.Path) else ()
    return compile_item(container, key, node.span, is_object=path in OBJECT_PATHS)


def _list(node: nodes.ListOf, *, html: bool) -> Read:
    reads = [build(item, html=html) for item in node.items]
    if all(isinstance(item, nodes.Literal) for item in node.items):
        constant = tuple(read(None) for read in reads)
        return lambda _scope: list(constant)

    def read_list(scope: Scope) -> list[Any]:
        try:
            return bounded_tree([read(scope) for read in reads])
        except ExpressionError as error:
            raise node.span.failure("", error) from error

    return read_list


def _not(node: nodes.Not, *, html: bool) -> Read:
    read = build(node.operand, html=html)
    return lambda scope: not read(scope)


def _junction(node: nodes.Junction, *, html: bool) -> Read:
    """Return the value of the operand that decides, as Python and Django do."""
    *reads, last = [build(operand, html=html) for operand in node.operands]
    decides = node.operator == "or"
    if len(reads) == 1:
        first = reads[0]
        if decides:
            return lambda scope: first(scope) or last(scope)
        return lambda scope: first(scope) and last(scope)

    def read_first(scope: Scope) -> Any:
        for read in reads:
            value = read(scope)
            if bool(value) is decides:
                return value
        return last(scope)

    return read_first


def _calculation(node: nodes.Calculation, *, html: bool) -> Read:
    left, right = build(node.left, html=html), build(node.right, html=html)
    sign, span = node.operator, node.span

    def calculate_both(scope: Scope) -> Any:
        first, second = left(scope), right(scope)
        try:
            return calculate(sign, first, second)
        except ExpressionError as error:
            raise span.failure("", error) from error

    return calculate_both


def _negative(node: nodes.Negative, *, html: bool) -> Read:
    read = build(node.operand, html=html)

    def read_negative(scope: Scope) -> Any:
        value = read(scope)
        try:
            return negate(value)
        except ExpressionError as error:
            raise node.span.failure("", error) from error

    return read_negative


# Only these are asked for members: another class may do anything then.
_CONTAINERS = (str, list, tuple, set, frozenset, Mapping)
# The values of a state and a payload that can be large.
_SIZED = frozenset({list, dict, tuple})


def _is_in(item: Any, container: Any) -> bool:
    return isinstance(container, _CONTAINERS) and item in container


def _is_not_in(item: Any, container: Any) -> bool:
    return isinstance(container, _CONTAINERS) and item not in container


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": _is_in,
    "not in": _is_not_in,
    "is": operator.is_,
    "is not": operator.is_not,
}


def _comparison(node: nodes.Comparison, *, html: bool) -> Read:
    left, right = build(node.left, html=html), build(node.right, html=html)
    compare, searches = _COMPARE[node.operator], node.operator in ("in", "not in")

    def compare_both(scope: Scope) -> bool:
        first, second = left(scope), right(scope)
        if searches or type(second) in _SIZED or type(first) in _SIZED:
            scope.spend(budget.of_comparison(first, second))
        # Beside a decimal, a float counts as what it is written as: 9.99 is Decimal("9.99").
        if isinstance(second, float) and isinstance(first, Decimal):
            second = Decimal(repr(second))
        elif isinstance(first, float) and isinstance(second, Decimal):
            first = Decimal(repr(first))
        try:
            return bool(compare(first, second))
        except BaseException as error:  # noqa: BLE001  (what cannot be compared is False, as in Django)
            raise_interruption(error)
            return False

    return compare_both


def _filtered(node: nodes.Filtered, *, html: bool) -> Read:
    read = build(node.operand, html=html)
    steps = tuple(_filter_step(call, html=html) for call in node.calls)

    def apply_all(scope: Scope) -> Any:
        value = read(scope)
        for apply in steps:
            value = apply(value, scope)
        return value

    return apply_all


def _filter_step(call: nodes.FilterCall, *, html: bool) -> Callable[[Any, Scope], Any]:
    span = call.span
    apply = (html and call.filter.apply_html) or call.filter.apply
    read_argument = None if call.argument is None else build(call.argument, html=html)

    def apply_filter(value: Any, scope: Scope) -> Any:
        argument = None if read_argument is None else read_argument(scope)
        scope.spend(budget.of_filter(span.text, value, argument))
        try:
            return apply(value, argument, scope.now)
        except BaseException as error:
            raise_interruption(error)
            what = gettext('The filter "%(name)s" failed') % {"name": span.text}
            raise span.failure(what, error) from error

    return apply_filter


def _call(node: nodes.FunctionCall, *, html: bool) -> Read:
    reads = [build(argument, html=html) for argument in node.arguments]
    apply, span = node.function.apply, node.span

    def call_function(scope: Scope) -> Any:
        values = [read(scope) for read in reads]
        try:
            return apply(values)
        except BaseException as error:
            raise_interruption(error)
            what = gettext('The function "%(name)s" failed') % {"name": span.text}
            raise span.failure(what, error) from error

    return call_function


_BUILDERS: Mapping[type, Callable[..., Read]] = {
    nodes.Literal: _literal,
    nodes.Path: _path,
    nodes.Item: _item,
    nodes.ListOf: _list,
    nodes.FunctionCall: _call,
    nodes.Filtered: _filtered,
    nodes.Not: _not,
    nodes.Junction: _junction,
    nodes.Comparison: _comparison,
    nodes.Calculation: _calculation,
    nodes.Negative: _negative,
}
