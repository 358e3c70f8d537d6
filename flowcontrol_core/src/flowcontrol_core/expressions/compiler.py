"""Turns the tree of an expression into one function of a scope: built once, called often.

Each kind of node is one closure.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from django.utils.safestring import mark_safe

from flowcontrol_core.errors import gettext, raise_interruption
from flowcontrol_core.expressions import nodes
from flowcontrol_core.expressions.lookup import Read, compile_path
from flowcontrol_core.expressions.nodes import Node, Operand
from flowcontrol_core.expressions.scope import Scope


def build(node: Node, *, html: bool = False) -> Read:
    """Return the function that evaluates a tree."""
    match node:
        case nodes.Literal() | nodes.Path():
            return _operand(node, html=html)
        case nodes.Filtered():
            return _filtered(node, html=html)
        case nodes.Not():
            read = build(node.operand, html=html)
            return lambda scope: not read(scope)
        case nodes.Junction():
            reads = [build(operand, html=html) for operand in node.operands]
            combine = all if node.operator == "and" else any
            return lambda scope: combine(read(scope) for read in reads)
        case nodes.Comparison():
            return _comparison(node, html=html)


def _operand(node: Operand, *, html: bool) -> Read:
    if isinstance(node, nodes.Path):
        return compile_path(node.parts, node.span)
    value = node.value
    if html and isinstance(value, str):
        # What the author of an HTML template types is HTML, as in Django.
        value = mark_safe(value)  # noqa: S308  (never a value of the scope)
    return lambda _scope: value


# Only these are asked for members: another class may do anything then.
_CONTAINERS = (str, list, tuple, set, frozenset, Mapping)


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
    compare = _COMPARE[node.operator]
    exact_left, exact_right = _exact(node.left), _exact(node.right)

    def compare_both(scope: Scope) -> bool:
        first, second = left(scope), right(scope)
        # A typed 9.99 is Decimal("9.99") beside a Decimal, a float otherwise.
        if exact_right is not None and isinstance(first, Decimal):
            second = exact_right
        elif exact_left is not None and isinstance(second, Decimal):
            first = exact_left
        try:
            return bool(compare(first, second))
        except BaseException as error:  # noqa: BLE001  (what cannot be compared is False, as in Django)
            raise_interruption(error)
            return False

    return compare_both


def _exact(node: Node) -> Decimal | None:
    """Return a typed number with a point as the Decimal it reads like, None for all else."""
    if isinstance(node, nodes.Literal) and isinstance(node.value, float):
        return Decimal(node.written)
    return None


def _filtered(node: nodes.Filtered, *, html: bool) -> Read:
    read = _operand(node.operand, html=html)
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
    read_argument = None if call.argument is None else _operand(call.argument, html=html)

    def apply_filter(value: Any, scope: Scope) -> Any:
        argument = None if read_argument is None else read_argument(scope)
        try:
            return apply(value, argument, scope.now)
        except BaseException as error:
            raise_interruption(error)
            what = gettext('The filter "%(name)s" failed') % {"name": span.text}
            raise span.failure(what, error) from error

    return apply_filter
