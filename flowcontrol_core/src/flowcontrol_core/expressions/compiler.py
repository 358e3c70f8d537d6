"""Turns the tree of an expression into one function of a scope: built once, called often.

Each kind of node is one closure, with faster ones for what conditions are mostly made of.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from django.utils.safestring import mark_safe

from flowcontrol_core.expressions.lookup import Read, compile_path
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
from flowcontrol_core.expressions.scope import Scope


def build(node: Node, *, html: bool = False) -> Read:
    """Give the function that evaluates a tree."""
    match node:
        case Literal() | Path():
            return _operand(node, html=html)
        case Filtered():
            return _filtered(node, html=html)
        case Not():
            return _negation(build(node.operand, html=html))
        case Junction():
            reads = tuple(build(operand, html=html) for operand in node.operands)
            return _conjunction(reads) if node.operator == "and" else _disjunction(reads)
        case Comparison():
            return _comparison(node, html=html)


def collect_names(node: Node) -> set[tuple[str, ...]]:
    """Give the dotted lookups a tree makes."""
    match node:
        case Path():
            return {node.parts}
        case Filtered():
            arguments = [call.argument for call in node.calls if call.argument is not None]
            return set().union(*map(collect_names, (node.operand, *arguments)))
        case Not():
            return collect_names(node.operand)
        case Junction():
            return set().union(*map(collect_names, node.operands))
        case Comparison():
            return collect_names(node.left) | collect_names(node.right)
        case _:
            return set()


def _operand(node: Operand, *, html: bool) -> Read:
    if isinstance(node, Path):
        return compile_path(node.parts, node.place)
    value = node.value
    if html and isinstance(value, str):
        # What the author of an HTML template types is HTML, as in Django.
        value = mark_safe(value)  # noqa: S308  (never a value of the scope)
    return lambda _scope: value


def _negation(read: Read) -> Read:
    return lambda scope: not read(scope)


def _conjunction(reads: tuple[Read, ...]) -> Read:
    if len(reads) == 2:
        first, second = reads
        return lambda scope: bool(first(scope) and second(scope))

    def all_true(scope: Scope) -> bool:
        for read in reads:  # noqa: SIM110  (a generator would cost more than the conditions)
            if not read(scope):
                return False
        return True

    return all_true


def _disjunction(reads: tuple[Read, ...]) -> Read:
    if len(reads) == 2:
        first, second = reads
        return lambda scope: bool(first(scope) or second(scope))

    def any_true(scope: Scope) -> bool:
        for read in reads:  # noqa: SIM110  (a generator would cost more than the conditions)
            if read(scope):
                return True
        return False

    return any_true


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "is not": operator.is_not,
}


def _comparison(node: Comparison, *, html: bool) -> Read:
    left, right = build(node.left, html=html), build(node.right, html=html)
    if node.operator in ("in", "not in"):
        return _membership(left, right, wanted=node.operator == "in")
    compare = _COMPARE[node.operator]
    if isinstance(node.right, Literal) and not isinstance(node.right.value, float):
        return _comparison_with(left, compare, node.right.value)
    exact_left, exact_right = _exact(node.left), _exact(node.right)
    if exact_left is not None or exact_right is not None:
        return _exact_comparison(left, compare, right, exact_left, exact_right)
    return _plain_comparison(left, compare, right)


def _plain_comparison(left: Read, compare: Callable[[Any, Any], Any], right: Read) -> Read:
    def compare_both(scope: Scope) -> bool:
        first, second = left(scope), right(scope)
        try:
            return bool(compare(first, second))
        except Exception:  # noqa: BLE001  (what cannot be compared is False, as in Django)
            return False

    return compare_both


def _comparison_with(left: Read, compare: Callable[[Any, Any], Any], constant: Any) -> Read:
    def compare_constant(scope: Scope) -> bool:
        first = left(scope)
        try:
            return bool(compare(first, constant))
        except Exception:  # noqa: BLE001  (what cannot be compared is False, as in Django)
            return False

    return compare_constant


def _exact(node: Node) -> Decimal | None:
    """Give a typed number with a point as the Decimal it looks like."""
    if isinstance(node, Literal) and isinstance(node.value, float):
        return Decimal(node.written)
    return None


def _exact_comparison(
    left: Read,
    compare: Callable[[Any, Any], Any],
    right: Read,
    exact_left: Decimal | None,
    exact_right: Decimal | None,
) -> Read:
    """Compare with a typed 9.99, which is Decimal("9.99") beside a Decimal, a float otherwise."""

    def compare_exactly(scope: Scope) -> bool:
        first, second = left(scope), right(scope)
        if exact_right is not None and isinstance(first, Decimal):
            second = exact_right
        elif exact_left is not None and isinstance(second, Decimal):
            first = exact_left
        try:
            return bool(compare(first, second))
        except Exception:  # noqa: BLE001  (what cannot be compared is False, as in Django)
            return False

    return compare_exactly


def _membership(left: Read, right: Read, *, wanted: bool) -> Read:
    def look_inside(scope: Scope) -> bool:
        item, container = left(scope), right(scope)
        # Only of plain containers: a class may do anything when it is asked.
        if not isinstance(container, str | list | tuple | set | frozenset | Mapping):
            return False
        try:
            return (item in container) is wanted
        except Exception:  # noqa: BLE001  (what cannot be compared is False, as in Django)
            return False

    return look_inside


def _filtered(node: Filtered, *, html: bool) -> Read:
    read = _operand(node.operand, html=html)
    steps = tuple(_filter_step(call, html=html) for call in node.calls)
    if len(steps) == 1:
        (only,) = steps
        return lambda scope: only(read(scope), scope)

    def apply_all(scope: Scope) -> Any:
        value = read(scope)
        for apply in steps:
            value = apply(value, scope)
        return value

    return apply_all


def _filter_step(call: FilterCall, *, html: bool) -> Callable[[Any, Scope], Any]:
    apply, place = call.filter.apply, call.place
    if html and call.filter.apply_html is not None:
        apply = call.filter.apply_html
    read_argument = None if call.argument is None else _operand(call.argument, html=html)

    def apply_filter(value: Any, scope: Scope) -> Any:
        argument = None if read_argument is None else read_argument(scope)
        try:
            return apply(value, argument, scope.now)
        except Exception as error:
            raise place.failure(f'The filter "{place.text}" failed', error) from error

    return apply_filter
