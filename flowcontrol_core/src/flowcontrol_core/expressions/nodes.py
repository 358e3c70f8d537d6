"""An expression as a tree of small values: made by the parser, read by the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowcontrol_core.expressions.filters import Filter
from flowcontrol_core.expressions.spans import Span


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, True, False or None. ``written`` is the number as it was typed."""

    value: Any
    written: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """A dotted name: ``object.customer.name``."""

    parts: tuple[str, ...]
    span: Span


Operand = Literal | Path


@dataclass(frozen=True, slots=True)
class FilterCall:
    """A filter as it is used once, with its argument."""

    filter: Filter
    argument: Operand | None
    span: Span


@dataclass(frozen=True, slots=True)
class Filtered:
    """A value that goes through filters, from left to right."""

    operand: Operand
    calls: tuple[FilterCall, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is not."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """``and`` or ``or`` between two or more operands."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison, ``in`` or ``is`` between two operands."""

    operator: str
    left: Node
    right: Node


Node = Literal | Path | Filtered | Not | Junction | Comparison
