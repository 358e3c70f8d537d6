"""Reading the values that expressions give at run time; each says clearly what it refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from flowcontrol_actions_builtin.errors import ActionError

#: What keeps a date or a counter within reason; no loop or delay needs more digits.
LARGEST = 10**18


def whole_number(value: Any, what: str) -> int:
    """Give a whole number; raises ActionError, naming ``what``, for anything else."""
    if not _is_whole(value):
        raise ActionError(f"{what} has to be a whole number, not {shown(value)}.")
    if abs(value) > LARGEST:
        raise ActionError(f"{what} is {shown(value)}: too large a number.")
    return int(value)


def _is_whole(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Give a value for a message: what it is, and not too much of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def typed_number(text: str) -> Decimal | None:
    """Give the number if an expression is nothing but one, for checking it in the form."""
    try:
        number = Decimal(text.strip())
    except ArithmeticError:
        return None
    return number if number.is_finite() else None
