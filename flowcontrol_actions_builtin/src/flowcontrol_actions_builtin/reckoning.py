"""Reckoning with time: pure functions of moments, a time zone and what is asked for.

A moment is an aware datetime; every result is one in UTC. Days, weeks and months are those of the
calendar in the given zone, hours and less are elapsed time. A wall clock time that the change to
summer time leaves out is the first instant after the gap; one that happens twice is the first.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from flowcontrol_actions_builtin.errors import ActionError

MIDNIGHT = time(0)


class Unit(StrEnum):
    """What an amount of time is counted in."""

    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"
    MONTHS = "months"

    @property
    def is_elapsed(self) -> bool:
        """Say whether it is a fixed length of time, whatever the calendar says."""
        return self in _SECONDS


_SECONDS = {Unit.SECONDS: 1, Unit.MINUTES: 60, Unit.HOURS: 3600}


def localize(wall: datetime, zone: tzinfo) -> datetime:
    """Give the moment at which the clocks of a zone show a (naive) wall clock time."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(fold=0):
        return moment
    return _end_of_gap(wall, zone)


def shift(moment: datetime, amount: int, unit: Unit, zone: tzinfo) -> datetime:
    """Give the moment that lies an amount of time after another one (before it, if negative).

    Raises ActionError where the calendar ends.
    """
    try:
        if unit.is_elapsed:
            return moment.astimezone(UTC) + timedelta(seconds=amount * _SECONDS[unit])
        if amount == 0:
            return moment.astimezone(UTC)
        return localize(_shift_wall(_wall(moment, zone), amount, unit), zone)
    except (OverflowError, ValueError) as error:
        raise ActionError(
            f"{amount} {unit.value} from {moment} is outside of the calendar."
        ) from error


def at_time(moment: datetime, clock: time, zone: tzinfo) -> datetime:
    """Give the moment of a time of day on the calendar day of another moment."""
    return localize(datetime.combine(_wall(moment, zone), clock), zone)


def snap(moment: datetime, clock: time, unit: Unit, zone: tzinfo) -> datetime:
    """Bring a moment to a time of day.

    After an amount of days, weeks or months that is the time on the very day; after hours or
    less, the first such time that is not earlier.
    """
    if unit.is_elapsed:
        return next_time(moment - timedelta.resolution, clock, zone)
    return at_time(moment, clock, zone)


def next_time(after: datetime, clock: time, zone: tzinfo) -> datetime:
    """Give the first moment after another one at which it is a time of day."""
    return next(moment for moment in _daily(after, clock, zone) if moment > after)


def next_weekday(after: datetime, weekday: int, clock: time, zone: tzinfo) -> datetime:
    """Give the first moment after another one on a weekday (0 is Monday) at a time of day."""
    first = _wall(after, zone).date()
    ahead = timedelta(days=(weekday - first.weekday()) % 7)
    days = _days(first + ahead - timedelta(weeks=1), timedelta(weeks=1))
    moments = (localize(datetime.combine(day, clock), zone) for day in days)
    return next(moment for moment in moments if moment > after)


def next_year(base: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Give the first anniversary of a moment after another one; 29 February falls on the 28th."""
    if base > after:
        return base.astimezone(UTC)
    wall = _wall(base, zone)
    years = max(_wall(after, zone).year - wall.year, 0)
    moments = (shift(base, 12 * count, Unit.MONTHS, zone) for count in range(years, years + 3))
    return next(moment for moment in moments if moment > after)


def read_moment(value: Any, zone: tzinfo) -> datetime:
    """Give the moment that a date, a datetime or the ISO text of one means in a zone.

    A date means its first instant. Raises ActionError for anything else, and for text that
    cannot be read.
    """
    if isinstance(value, str):
        value = _parse(value.strip())
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.utcoffset() is not None else localize(value, zone)
    if isinstance(value, date):
        return localize(datetime.combine(value, MIDNIGHT), zone)
    raise ActionError(
        f"{value!r} is no date: expected is a date, a date with time, or the ISO text of one "
        "(2030-12-31 or 2030-12-31T09:00)."
    )


def _parse(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ActionError(
            f"The text {text!r} is no date; write it like 2030-12-31 or 2030-12-31T09:00."
        ) from None


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _shift_wall(wall: datetime, amount: int, unit: Unit) -> datetime:
    if unit is Unit.MONTHS:
        years, month = divmod(wall.year * 12 + wall.month - 1 + amount, 12)
        last = monthrange(years, month + 1)[1]
        return wall.replace(year=years, month=month + 1, day=min(wall.day, last))
    return wall + timedelta(days=amount * (7 if unit is Unit.WEEKS else 1))


def _daily(after: datetime, clock: time, zone: tzinfo) -> Iterator[datetime]:
    for day in _days(_wall(after, zone).date(), timedelta(days=1)):
        yield localize(datetime.combine(day, clock), zone)


def _days(first: date, step: timedelta) -> Iterator[date]:
    while True:
        yield first
        first += step


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    """Find the instant of the change, between the readings with the offset after and before it."""
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    before = low.astimezone(zone).utcoffset()
    low = low.replace(microsecond=0)
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
