"""Turns values into texts, numbers and times within bounds, for filters and for rendering."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from django.db.models import Model
from django.utils import timezone
from django.utils.safestring import SafeData

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError, gettext
from flowcontrol_core.expressions.spans import too_large
from flowcontrol_core.expressions.visibility import NAMES_OF_OTHERS, harmless, unwrap

_LARGEST = 10**bounds.NUMBER_DIGITS
# Values that cannot be changed and contain nothing: returned as they are.
_ATOMS = frozenset({bool, int, float, Decimal, str, type(None), datetime, date, time, timedelta})


def as_text(value: Any) -> str:
    """Return a value as text: None as nothing, numbers never localised, times in the active zone.

    A model object becomes its ``str()``. Raises ExpressionError for more than 10,000 characters.
    """
    return bounded_text(as_long_text(value))


def as_long_text(value: Any) -> str:
    """Return a value as text, of any length."""
    value = plain(value, show=text_of_object)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int):
        bounded_number(value)
    if isinstance(value, datetime) and timezone.is_aware(value):
        value = timezone.localtime(value)
    return str(value)


def text_of_object(value: Model) -> str:
    """Return the ``str()`` of a model object; not of a session or token, whose text is its key."""
    if "pk" in NAMES_OF_OTHERS[type(value)]:
        return str(value)
    return str(value._meta.verbose_name)


def bounded_text(text: str) -> str:
    """Return a text; raises ExpressionError where it is longer than filters take."""
    if len(text) > bounds.FILTER_CHARACTERS:
        message = gettext(
            "A text of %(n)s characters is too long for a filter; at most %(limit)s are possible."
        )
        raise too_large(message, len(text), bounds.FILTER_CHARACTERS)
    return text


def bounded_list(items: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    """Return a list; raises ExpressionError where it is longer than filters take."""
    if len(items) > bounds.FILTER_ITEMS:
        message = gettext(
            "A list of %(n)s items is too long for a filter; at most %(limit)s are possible."
        )
        raise too_large(message, len(items), bounds.FILTER_ITEMS)
    return items


def bounded_tree(items: list[Any]) -> list[Any]:
    """Return a new list; raises ExpressionError where it holds too many values at any depth.

    A value may stand in it any number of times, and a list of such lists in another one: without a
    bound, each would multiply what it takes to read them.
    """
    left, waiting = bounds.FILTER_ITEMS, [items]
    while waiting:
        inner = _items_of(waiting.pop())
        left -= len(inner)
        if left < 0:
            message = gettext("A list holds more than %(limit)s values, at all depths together.")
            raise too_large(message, len(items), bounds.FILTER_ITEMS)
        waiting.extend(inner)
    return items


def _items_of(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def bounded_number(number: Any) -> Any:
    """Return a number; raises ExpressionError where it has more digits than filters take."""
    if isinstance(number, Decimal):
        digits = len(number.as_tuple().digits)
        is_too_large = number.is_finite() and (
            abs(number.adjusted()) > bounds.NUMBER_DIGITS or digits > bounds.NUMBER_DIGITS
        )
    else:
        is_too_large = isinstance(number, int) and abs(number) >= _LARGEST
    if is_too_large:
        message = gettext("A number is too large for a filter; at most %(n)d digits are possible.")
        raise ExpressionError(message % {"n": bounds.NUMBER_DIGITS})
    return number


def as_number(value: Any) -> int | float | Decimal | None:
    """Return a number, or a text that is a whole one, as a number; None for anything else."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | Decimal):
        number: int | float | Decimal = bounded_number(value)
        return number
    if isinstance(value, str) and len(value) <= bounds.NUMBER_DIGITS:
        try:
            return int(value)
        except ValueError:
            return None
    return None


def as_decimal(value: Any) -> Decimal | None:
    """Return a finite number, or a text that is one, as a Decimal; None for anything else."""
    if isinstance(value, bool):
        value = int(value)
    if not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str) and len(value) > bounds.NUMBER_DIGITS:
        return None
    try:
        number = Decimal(str(bounded_number(value)))
    except InvalidOperation:
        return None
    bounded_number(number)
    return number if number.is_finite() else None


def whole_number(argument: Any, largest: int) -> int:
    """Return a filter's argument as a whole number; raises ExpressionError outside its bounds."""
    number = as_number(argument)
    if not isinstance(number, int):
        message = gettext('The argument must be a whole number, not "%(argument)s".')
        raise ExpressionError(message % {"argument": as_text(argument)})
    if abs(number) > largest:
        message = gettext("The argument is %(n)s; at most %(limit)s is possible.")
        raise too_large(message, number, largest)
    return number


def as_local(value: Any) -> date | time | None:
    """Return dates and times as they are, but in the active time zone; None for anything else."""
    if isinstance(value, datetime):
        return timezone.localtime(value) if timezone.is_aware(value) else value
    return value if isinstance(value, date | time) else None


def plain(value: Any, depth: int = 0, *, show: Callable[[Model], Any] | None = None) -> Any:
    """Return a value an expression may hand out; containers as copies, so that none is shared.

    ``show`` returns what stands for a model object; without it, the object stands for itself.
    """
    if type(value) in _ATOMS or isinstance(value, SafeData):
        return value
    if depth > bounds.VALUE_DEPTH:
        message = gettext("The value is nested more than %(n)d levels deep.")
        raise ExpressionError(message % {"n": bounds.VALUE_DEPTH})
    if isinstance(value, Mapping):
        return {key: plain(item, depth + 1, show=show) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1, show=show) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item, depth + 1, show=show) for item in value)
    return _plain_object(value, show)


def _plain_object(value: Any, show: Callable[[Model], Any] | None) -> Any:
    value = unwrap(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return str.__str__(value)
    if not isinstance(value, Model):
        return harmless(value)
    return value if show is None else show(value)
