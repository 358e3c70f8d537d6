"""The filters and functions that expressions get from this plugin."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.utils.translation import gettext

from flowcontrol.errors import ExpressionError
from flowcontrol.expressions import ExpressionFilter, ExpressionFunction

#: More digits than a calculation has are never needed.
_MOST_DIGITS = 20


def absolute(value: Any) -> Any:
    """Return a number without its sign, a duration without its direction."""
    return abs(value) if isinstance(value, timedelta) else abs(_number(value))


def rounded(value: Any, digits: Any = 0) -> Any:
    """Return a number rounded to a number of digits, halves away from zero; as it was if whole."""
    number, places = _number(value), _number(digits)
    if not isinstance(places, int) or not 0 <= places <= _MOST_DIGITS:
        text = gettext("The number of digits must be a whole number from 0 to %(most)d.")
        raise ExpressionError(text % {"most": _MOST_DIGITS})
    if isinstance(number, int):
        return number
    return Decimal(str(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def smaller(first: Any, second: Any) -> Any:
    """Return the smaller one of two values."""
    return min(first, second)


def larger(first: Any, second: Any) -> Any:
    """Return the larger one of two values."""
    return max(first, second)


def days(number: Any) -> timedelta:
    """Return a duration of days, each of 24 hours."""
    return timedelta(days=float(_number(number)))


def hours(number: Any) -> timedelta:
    """Return a duration of hours."""
    return timedelta(hours=float(_number(number)))


def minutes(number: Any) -> timedelta:
    """Return a duration of minutes."""
    return timedelta(minutes=float(_number(number)))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ExpressionError(gettext("“%(value)s” is not a number.") % {"value": value})
    return value


FILTERS = (
    ExpressionFilter("abs", absolute),
    ExpressionFilter("round", rounded),
    ExpressionFunction("min", smaller),
    ExpressionFunction("max", larger),
    ExpressionFunction("days", days),
    ExpressionFunction("hours", hours),
    ExpressionFunction("minutes", minutes),
)
