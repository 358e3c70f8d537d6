"""Values at run time: reading what expressions return, storing what a step returns."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext

from flowcontrol.base import RunContext
from flowcontrol_actions_builtin.calendar import MIDNIGHT, Unit, localize, shift
from flowcontrol_actions_builtin.errors import ActionError

#: Bounds dates and counters; no loop or delay needs more digits.
LARGEST = 10**18


def whole_number(value: Any, what: str) -> int:
    """Return a value as a whole number; raises ActionError, naming ``what``, for anything else."""
    if not _is_whole(value):
        problem = gettext("%(what)s must be a whole number, not %(value)s.")
    elif abs(value) > LARGEST:
        problem = gettext("%(what)s is too large: %(value)s.")
    else:
        return int(value)
    raise ActionError(problem % {"what": what, "value": shown(value)})


def _is_whole(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def end_of_duration(run: RunContext, amount: Any, unit: str) -> datetime:
    """Return the datetime an amount of time from now.

    Raises ActionError for anything but a whole number of 0 or more.
    """
    number = whole_number(amount, gettext("The amount of time"))
    if number < 0:
        problem = gettext("The amount of time is %(number)s; expected 0 or more.")
        raise ActionError(problem % {"number": number})
    return shift(run.now, number, Unit(unit), run.time_zone)


def read_datetime(value: Any, zone: tzinfo) -> datetime:
    """Return the datetime that a date, a datetime or the ISO text of one means in a zone.

    A date means its first instant. Raises ActionError for anything else.
    """
    read = _parse(value.strip()) if isinstance(value, str) else value
    if isinstance(read, datetime):
        return read.astimezone(UTC) if read.utcoffset() is not None else localize(read, zone)
    if isinstance(read, date):
        return localize(datetime.combine(read, MIDNIGHT), zone)
    problem = gettext(
        "%(value)s is not a valid date; expected a date, a date with time, or its ISO text, such "
        "as 2030-12-31 or 2030-12-31T09:00."
    )
    raise ActionError(problem % {"value": shown(value)})


def _parse(text: str) -> date | None:
    """Return the date or datetime of an ISO text, or None for any other text."""
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text)
        except ValueError:
            continue
    return None


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut to 60 characters."""
    return cut(repr(value), 60)


def cut(text: str, length: int) -> str:
    """Return a text of at most this many characters; three dots stand for what is cut off."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def typed_number(text: str) -> Decimal | None:
    """Return the number that an expression consists of, or None for any other expression."""
    try:
        number = Decimal(text.strip())
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


def store_result(run: RunContext, config: Any, result: dict[str, Any]) -> None:
    """Write a result to the key of the state that the field ``result_key`` names, if any."""
    if config.result_key:
        run.state[config.result_key] = result
