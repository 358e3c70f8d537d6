"""Arithmetic: one table of which kinds of values can be calculated with, and how.

Whole numbers stay whole under ``+``, ``-``, ``*`` and ``%``. All else is calculated in decimals of
28 digits, where a float counts as what it is written as, so that ``0.1 + 0.2 == 0.3``. Durations
are elapsed time: a day is 24 hours.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from enum import Enum
from typing import Any

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.errors import ExpressionError, gettext
from flowcontrol_core.expressions.coercion import as_decimal, bounded_number, bounded_text


class Operand(Enum):
    """The kind of a value, as far as arithmetic tells them apart."""

    NUMBER = _("a number")
    TEXT = _("a text")
    DATE = _("a date")
    DATETIME = _("a date with time")
    DURATION = _("a duration")
    NOTHING = _("nothing")
    OTHER = _("another value")


_N, _T, _DAY, _TIME, _SPAN = (
    Operand.NUMBER, Operand.TEXT, Operand.DATE, Operand.DATETIME, Operand.DURATION,
)  # fmt: skip

# The first that fits counts: True is an int too, and a datetime a date.
_KINDS: tuple[tuple[Any, Operand], ...] = (
    (bool, Operand.OTHER),
    (int | float | Decimal, _N),
    (str | Promise, _T),
    (datetime, _TIME),
    (date, _DAY),
    (timedelta, _SPAN),
    (type(None), Operand.NOTHING),
)
_EXACT = Context(prec=28, Emin=-999, Emax=999, traps=[InvalidOperation, DivisionByZero, Overflow])

Calculate = Callable[[Any, Any], Any]


def _in_numbers(of_whole: Calculate, of_decimals: Calculate) -> Calculate:
    """Calculate with whole numbers where both are whole, in decimals otherwise."""

    def calculate_numbers(left: Any, right: Any) -> Any:
        left, right = bounded_number(left), bounded_number(right)
        if isinstance(left, int) and isinstance(right, int):
            return bounded_number(of_whole(left, right))
        return bounded_number(of_decimals(_decimal(left), _decimal(right)))

    return calculate_numbers


def _decimal(number: Any) -> Decimal:
    found = as_decimal(number)
    if found is None:
        raise ExpressionError(gettext("%(n)s is not a finite number.") % {"n": number})
    return found


def _divide(left: Any, right: Any) -> Decimal:
    return _EXACT.divide(_decimal(left), _decimal(right))


def _remainder(left: Decimal, right: Decimal) -> Decimal:
    """Return a remainder with the sign of the divisor, as whole numbers have."""
    quotient = _EXACT.divide(left, right).to_integral_value(ROUND_FLOOR)
    return _EXACT.subtract(left, _EXACT.multiply(quotient, right))


def _shift_date(day: date, span: timedelta) -> date:
    if span % timedelta(days=1):
        text = gettext("A date can be moved by whole days only, not by %(span)s.")
        raise ExpressionError(text % {"span": span})
    return day + span


def _shift_time(at: datetime, span: timedelta) -> datetime:
    return _in_utc(at) + span


def _elapsed(left: datetime, right: datetime) -> timedelta:
    if timezone.is_aware(left) is not timezone.is_aware(right):
        raise ExpressionError(gettext("One of the two times has no time zone."))
    return _in_utc(left) - _in_utc(right)


def _in_utc(at: datetime) -> datetime:
    """Return the same instant where the clock is never changed."""
    return at.astimezone(UTC) if timezone.is_aware(at) else at


def _scale(span: timedelta, factor: Any) -> timedelta:
    return span * float(_decimal(factor)) if not isinstance(factor, int) else span * factor


def _swapped(calculate: Calculate) -> Calculate:
    return lambda left, right: calculate(right, left)


#: What can be calculated; the reference has the same table.
RULES: dict[tuple[str, Operand, Operand], Calculate] = {
    ("+", _N, _N): _in_numbers(operator.add, _EXACT.add),
    ("-", _N, _N): _in_numbers(operator.sub, _EXACT.subtract),
    ("*", _N, _N): _in_numbers(operator.mul, _EXACT.multiply),
    ("/", _N, _N): _divide,
    ("%", _N, _N): _in_numbers(operator.mod, _remainder),
    ("+", _T, _T): lambda left, right: bounded_text(str(left) + str(right)),
    ("+", _DAY, _SPAN): _shift_date,
    ("+", _SPAN, _DAY): _swapped(_shift_date),
    ("-", _DAY, _SPAN): lambda day, span: _shift_date(day, -span),
    ("-", _DAY, _DAY): operator.sub,
    ("+", _TIME, _SPAN): _shift_time,
    ("+", _SPAN, _TIME): _swapped(_shift_time),
    ("-", _TIME, _SPAN): lambda at, span: _shift_time(at, -span),
    ("-", _TIME, _TIME): _elapsed,
    ("+", _SPAN, _SPAN): operator.add,
    ("-", _SPAN, _SPAN): operator.sub,
    ("*", _SPAN, _N): _scale,
    ("*", _N, _SPAN): _swapped(_scale),
    ("/", _SPAN, _N): lambda span, number: span / float(_decimal(number)),
    ("/", _SPAN, _SPAN): lambda left, right: Decimal(repr(left / right)),
}


def calculate(sign: str, left: Any, right: Any) -> Any:
    """Return the result of an operation; raises ExpressionError for what has none."""
    first, second = kind_of(left), kind_of(right)
    rule = RULES.get((sign, first, second))
    if rule is None:
        raise ExpressionError(_not_possible(sign, first, second))
    try:
        return rule(left, right)
    except ZeroDivisionError as error:
        raise ExpressionError(gettext("A number cannot be divided by 0.")) from error
    except ArithmeticError as error:
        raise ExpressionError(gettext("The result is too large.")) from error


def negate(value: Any) -> Any:
    """Return a number or a duration with the other sign; raises ExpressionError for the rest."""
    kind = kind_of(value)
    if kind not in (_N, _SPAN):
        text = gettext('Only a number or a duration can have a "-" before it, not %(kind)s.')
        raise ExpressionError(text % {"kind": kind.value})
    return -(bounded_number(value) if kind is _N else value)


def kind_of(value: Any) -> Operand:
    """Return the kind of a value."""
    return next((kind for types, kind in _KINDS if isinstance(value, types)), Operand.OTHER)


def _not_possible(sign: str, left: Operand, right: Operand) -> str:
    values = {"sign": sign, "left": left.value, "right": right.value}
    text = gettext('"%(sign)s" cannot be used between %(left)s and %(right)s. %(advice)s')
    if Operand.NOTHING in (left, right):
        advice = gettext("Give what may be missing a default: (paid|default:0)")
    elif {left, right} == {_DAY, _TIME}:
        advice = gettext("Take the date of the time: now.date")
    else:
        advice = gettext("Both must fit each other, such as two numbers.")
    return text % {**values, "advice": advice}
