"""Points in time that every database keeps and every time zone can show."""

from __future__ import annotations

from datetime import UTC, datetime

#: MariaDB's begin with the year 1000; a day is left at either end for time zones.
EARLIEST = datetime(1000, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)


def storable(moment: datetime) -> datetime:
    """Give a time in UTC; raises ValueError for a naive one, or one that cannot be kept."""
    if moment.tzinfo is None:
        raise ValueError(f"The time {moment} has no time zone; make it aware.")
    try:
        found = moment.astimezone(UTC)
    except OverflowError:
        found = None
    if found is None or not EARLIEST <= found <= LATEST:
        raise ValueError(f"The time {moment} is not between the years 1000 and 9999.")
    return found
