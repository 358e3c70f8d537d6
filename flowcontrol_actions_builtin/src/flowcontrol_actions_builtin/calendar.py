"""Calendar arithmetic: pure functions of aware datetimes, a time zone and an amount.

Every result is in UTC. Days, weeks and months are those of the calendar in the given zone; hours
and less are elapsed time. A wall clock time inside the gap of a clock change is the first instant
after the gap; one that happens twice is the first of the two.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from itertools import count

from django.utils.translation import gettext

from flowcontrol_actions_builtin.errors import ActionError

MIDNIGHT = time(0)


class Unit(StrEnum):
    """The units of an amount of time."""

    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"
    MONTHS = "months"


#: The units that are a fixed length of time, independent of the calendar.
_SECONDS = {Unit.SECONDS: 1, Unit.MINUTES: 60, Unit.HOURS: 3600}


def localize(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which the clocks of a zone show a naive wall clock time."""
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return instant if _wall(instant, zone) == wall.replace(fold=0) else _end_of_gap(wall, zone)


def shift(base: datetime, amount: int, unit: Unit, zone: tzinfo) -> datetime:
    """Return the datetime an amount of time after another one; before it, if negative.

    Raises ActionError for a result outside of the calendar.
    """
    try:
        if unit in _SECONDS:
            return base.astimezone(UTC) + timedelta(seconds=amount * _SECONDS[unit])
        if amount == 0:
            return base.astimezone(UTC)
        return localize(_shift_wall(_wall(base, zone), amount, unit), zone)
    except (OverflowError, ValueError) as error:
        raise ActionError(
            gettext("%(amount)s %(unit)s from %(base)s is outside of the calendar.")
            % {"amount": amount, "unit": unit.value, "base": base}
        ) from error


def snap(base: datetime, clock: time, unit: Unit, zone: tzinfo) -> datetime:
    """Return the time of day that fits a datetime reached by an amount of this unit.

    After days, weeks or months that is the time on that very day; after hours or less, the first
    such time that is not earlier.
    """
    if unit in _SECONDS:
        return next_time(base - timedelta.resolution, clock, zone)
    return localize(datetime.combine(_wall(base, zone), clock), zone)


def next_time(after: datetime, clock: time, zone: tzinfo) -> datetime:
    """Return the first datetime after another one at a time of day."""
    return _next(after, _wall(after, zone).date(), timedelta(days=1), clock, zone)


def next_weekday(after: datetime, weekday: int, clock: time, zone: tzinfo) -> datetime:
    """Return the first datetime after another one on a weekday (0 is Monday) at a time of day."""
    today = _wall(after, zone).date()
    first = today + timedelta(days=(weekday - today.weekday()) % 7 - 7)
    return _next(after, first, timedelta(weeks=1), clock, zone)


def next_year(base: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the first anniversary of a datetime after another one; 29 February falls on the 28th.

    A datetime that is itself later is returned as it is.
    """
    if base > after:
        return base.astimezone(UTC)
    years = max(_wall(after, zone).year - _wall(base, zone).year, 0)
    found = (shift(base, 12 * number, Unit.MONTHS, zone) for number in count(years))
    return next(anniversary for anniversary in found if anniversary > after)


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _shift_wall(wall: datetime, amount: int, unit: Unit) -> datetime:
    if unit is Unit.MONTHS:
        year, month = divmod(wall.year * 12 + wall.month - 1 + amount, 12)
        last = monthrange(year, month + 1)[1]
        return wall.replace(year=year, month=month + 1, day=min(wall.day, last))
    return wall + timedelta(days=amount * (7 if unit is Unit.WEEKS else 1))


def _next(after: datetime, first: date, interval: timedelta, clock: time, zone: tzinfo) -> datetime:
    """Return the first datetime after another one among those of a series of days."""
    days = (first + number * interval for number in count())
    found = (localize(datetime.combine(day, clock), zone) for day in days)
    return next(each for each in found if each > after)


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant of the clock change: it lies between the readings with both offsets."""
    low, high = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    low = low.replace(microsecond=0)
    before = low.astimezone(zone).utcoffset()

    def has_changed(seconds: int) -> bool:
        return (low + timedelta(seconds=seconds)).astimezone(zone).utcoffset() != before

    seconds = range(int((high - low).total_seconds()) + 1)
    return low + timedelta(seconds=bisect_left(seconds, True, key=has_changed))  # noqa: FBT003
