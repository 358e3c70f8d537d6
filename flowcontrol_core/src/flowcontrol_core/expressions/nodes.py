"""An expression as a tree of small values: made by the parser, read by the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowcontrol_core.expressions.filters import ExpressionFunction, Filter
from flowcontrol_core.expressions.spans import Span


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, True, False or None."""

    value: Any


@dataclass(frozen=True, slots=True)
class Path:
    """A dotted name: ``object.customer.name``."""

    parts: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Item:
    """What a key or a number finds in a value: ``items[i]``."""

    container: Node
    key: Node
    span: Span


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list as it is typed: ``["paid", "sent"]``."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function of a plugin with its arguments: ``days(3)``."""

    function: ExpressionFunction
    arguments: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FilterCall:
    """A filter as it is used once, with its argument."""

    filter: Filter
    argument: Node | None
    span: Span


@dataclass(frozen=True, slots=True)
class Filtered:
    """A value that goes through filters, from left to right."""

    operand: Node
    calls: tuple[FilterCall, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is not."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """``and`` or ``or`` between two or more operands: the value of the one that decides."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison, ``in`` or ``is`` between two operands."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Calculation:
    """An arithmetic operation between two operands; the span is that of the operator."""

    operator: str
    left: Node
    right: Node
    span: Span


@dataclass(frozen=True, slots=True)
class Negative:
    """The operand with the other sign; the span is that of the sign."""

    operand: Node
    span: Span


Node = (
    Literal | Path | Item | ListOf | FunctionCall | Filtered
    | Not | Junction | Comparison | Calculation | Negative
)  # fmt: skip
