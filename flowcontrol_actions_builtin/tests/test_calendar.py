"""Calendar arithmetic: pure functions, so every kind of clock change is tested."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_actions_builtin.calendar import (
    Unit,
    localize,
    next_time,
    next_weekday,
    next_year,
    shift,
    snap,
)
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.values import read_datetime
from tests.cases import each

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE])
INSTANTS = st.datetimes(datetime(1995, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))
CLOCKS = st.times()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).isoformat(" ", "minutes")


@each(
    ("zone", "in_gap", "first_instant"),
    [
        (BERLIN, "2024-03-31T02:30", "2024-03-31 03:00+02:00"),
        (BERLIN, "2024-03-31T02:00", "2024-03-31 03:00+02:00"),
        (NEW_YORK, "2024-03-10T02:59:59.5", "2024-03-10 03:00-04:00"),
        (LORD_HOWE, "2024-10-06T02:15", "2024-10-06 02:30+11:00"),
        (ZoneInfo("Pacific/Apia"), "2011-12-30T12:00", "2011-12-31 00:00+14:00"),
    ],
)
def test_a_time_in_the_gap_is_the_first_instant_after_it(
    zone: ZoneInfo, in_gap: str, first_instant: str
) -> None:
    instant = localize(datetime.fromisoformat(in_gap), zone)
    assert wall(instant, zone) == first_instant
    assert instant.microsecond == 0
    before = (instant - timedelta.resolution).astimezone(zone)
    assert before.replace(tzinfo=None) < datetime.fromisoformat(in_gap) + timedelta.resolution


@pytest.mark.parametrize(
    ("zone", "twice", "first"),
    [
        (BERLIN, "2024-10-27T02:30", "2024-10-27 02:30+02:00"),
        (NEW_YORK, "2024-11-03T01:30", "2024-11-03 01:30-04:00"),
        (LORD_HOWE, "2024-04-07T01:45", "2024-04-07 01:45+11:00"),
    ],
)
def test_a_time_that_happens_twice_is_the_first(zone: ZoneInfo, twice: str, first: str) -> None:
    assert wall(localize(datetime.fromisoformat(twice), zone), zone) == first
    assert wall(localize(datetime.fromisoformat(twice).replace(fold=1), zone), zone) == first


@given(instant=INSTANTS, zone=ZONES)
def test_what_the_clock_shows_leads_back_to_an_instant_that_shows_the_same(
    instant: datetime, zone: ZoneInfo
) -> None:
    shown = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    found = localize(shown, zone)
    assert found.astimezone(zone).replace(tzinfo=None, fold=0) == shown
    assert found <= instant


@given(shown=st.datetimes(datetime(1995, 1, 1), datetime(2037, 12, 31)), zone=ZONES)
def test_localizing_never_goes_back_before_the_clock(shown: datetime, zone: ZoneInfo) -> None:
    found = localize(shown, zone).astimezone(zone).replace(tzinfo=None, fold=0)
    assert shown <= found <= shown + timedelta(hours=1)


def test_days_are_calendar_days_and_hours_are_elapsed_ones() -> None:
    evening = localize(datetime(2024, 3, 30, 20), BERLIN)
    assert wall(shift(evening, 1, Unit.DAYS, BERLIN), BERLIN) == "2024-03-31 20:00+02:00"
    assert wall(shift(evening, 24, Unit.HOURS, BERLIN), BERLIN) == "2024-03-31 21:00+02:00"
    assert shift(evening, 1, Unit.DAYS, BERLIN) - evening == timedelta(hours=23)


def test_a_31st_plus_one_month_is_the_last_day_of_the_next() -> None:
    for text, months, expected in [
        ("2024-01-31T09:00", 1, "2024-02-29"),
        ("2023-01-31T09:00", 1, "2023-02-28"),
        ("2024-12-31T09:00", 2, "2025-02-28"),
        ("2024-03-31T09:00", -1, "2024-02-29"),
        ("2024-01-15T09:00", -13, "2022-12-15"),
    ]:
        instant = localize(datetime.fromisoformat(text), NEW_YORK)
        shifted = shift(instant, months, Unit.MONTHS, NEW_YORK).astimezone(NEW_YORK)
        assert shifted.date().isoformat() == expected
        assert shifted.time() == time(9)


def test_months_that_lead_into_the_gap_lead_to_its_end() -> None:
    instant = localize(datetime(2024, 1, 31, 2, 30), BERLIN)
    assert wall(shift(instant, 2, Unit.MONTHS, BERLIN), BERLIN) == "2024-03-31 03:00+02:00"


def test_no_days_leave_the_second_of_two_equal_times_alone() -> None:
    second = utc("2024-10-27T01:30")
    assert shift(second, 0, Unit.DAYS, BERLIN) == second


@given(instant=INSTANTS, amount=st.integers(1, 400), unit=st.sampled_from(Unit), zone=ZONES)
def test_an_amount_leads_to_the_future_and_its_negative_to_the_past(
    instant: datetime, amount: int, unit: Unit, zone: ZoneInfo
) -> None:
    assert shift(instant, amount, unit, zone) > instant
    assert shift(instant, -amount, unit, zone) < instant


@each("unit", list(Unit))
def test_an_amount_beyond_the_calendar_is_a_clear_error(unit: Unit) -> None:
    with pytest.raises(ActionError, match="outside of the calendar"):
        shift(utc("2024-01-01"), 10**18, unit, BERLIN)


@given(now=INSTANTS, clock=CLOCKS, zone=ZONES)
def test_the_next_time_of_day_is_never_now_or_earlier_and_within_a_long_day(
    now: datetime, clock: time, zone: ZoneInfo
) -> None:
    found = next_time(now, clock, zone)
    assert now < found <= now + timedelta(hours=25)


@given(now=INSTANTS, weekday=st.integers(0, 6), clock=CLOCKS, zone=ZONES)
def test_the_next_weekday_is_that_weekday_and_at_most_a_week_ahead(
    now: datetime, weekday: int, clock: time, zone: ZoneInfo
) -> None:
    found = next_weekday(now, weekday, clock, zone)
    assert now < found <= now + timedelta(days=7, hours=1)
    assert found.astimezone(zone).weekday() == weekday


def test_nights_when_the_clocks_change_neither_skip_nor_double() -> None:
    for zone, first in [(BERLIN, "2024-03-29"), (BERLIN, "2024-10-25"), (NEW_YORK, "2024-11-01")]:
        now = localize(datetime.fromisoformat(first), zone)
        days = []
        for _ in range(6):
            now = next_time(now, time(2, 30), zone)
            days.append(now.astimezone(zone).date())
        start = date.fromisoformat(first)
        assert days == [start + timedelta(days=count) for count in range(6)]


def test_monday_on_a_monday_is_today_before_its_time_and_in_a_week_after_it() -> None:
    monday = datetime(2024, 6, 3)
    before, after = (localize(monday.replace(hour=hour), BERLIN) for hour in (8, 10))
    nine = time(9)
    assert wall(next_weekday(before, 0, nine, BERLIN), BERLIN) == "2024-06-03 09:00+02:00"
    assert wall(next_weekday(after, 0, nine, BERLIN), BERLIN) == "2024-06-10 09:00+02:00"
    exactly = localize(monday.replace(hour=9), BERLIN)
    assert wall(next_weekday(exactly, 0, nine, BERLIN), BERLIN) == "2024-06-10 09:00+02:00"


def test_the_weekday_is_that_of_the_zone_not_of_utc() -> None:
    sunday_evening_in_new_york = utc("2024-06-03T01:00")
    found = next_weekday(sunday_evening_in_new_york, 6, time(23), NEW_YORK)
    assert wall(found, NEW_YORK) == "2024-06-02 23:00-04:00"


def test_a_time_of_day_after_days_is_on_that_very_day() -> None:
    instant = localize(datetime(2024, 6, 3, 15), BERLIN)
    assert wall(snap(instant, time(9), Unit.DAYS, BERLIN), BERLIN) == "2024-06-03 09:00+02:00"


def test_a_time_of_day_after_hours_is_the_first_that_is_not_earlier() -> None:
    three = localize(datetime(2024, 6, 3, 15), BERLIN)
    assert wall(snap(three, time(9), Unit.HOURS, BERLIN), BERLIN) == "2024-06-04 09:00+02:00"
    assert snap(three, time(15), Unit.HOURS, BERLIN) == three


@given(base=INSTANTS, now=INSTANTS, zone=ZONES)
def test_the_next_anniversary_is_in_the_future(
    base: datetime, now: datetime, zone: ZoneInfo
) -> None:
    found = next_year(base, now, zone)
    assert found > now
    assert found == base or found <= now + timedelta(days=367)


def test_the_anniversary_of_a_29th_of_february_is_the_28th() -> None:
    base = localize(datetime(2024, 2, 29, 9), BERLIN)
    found = next_year(base, localize(datetime(2025, 1, 1), BERLIN), BERLIN)
    assert wall(found, BERLIN) == "2025-02-28 09:00+01:00"
    leap = next_year(base, localize(datetime(2028, 1, 1), BERLIN), BERLIN)
    assert wall(leap, BERLIN) == "2028-02-29 09:00+01:00"


@each(
    ("value", "expected"),
    [
        (date(2024, 7, 1), "2024-07-01 00:00+02:00"),
        ("2024-07-01", "2024-07-01 00:00+02:00"),
        (" 2024-07-01T09:30 ", "2024-07-01 09:30+02:00"),
        ("2024-07-01 09:30:00", "2024-07-01 09:30+02:00"),
        ("2024-07-01T09:30:00Z", "2024-07-01 11:30+02:00"),
        ("2024-07-01T09:30-04:00", "2024-07-01 15:30+02:00"),
        (datetime(2024, 7, 1, 9, 30), "2024-07-01 09:30+02:00"),
        (datetime(2024, 7, 1, 9, 30, tzinfo=UTC), "2024-07-01 11:30+02:00"),
        (datetime(2024, 7, 1, 9, 30, tzinfo=NEW_YORK), "2024-07-01 15:30+02:00"),
    ],
)
def test_dates_and_texts_without_zone_are_meant_in_the_flows_zone(
    value: object, expected: str
) -> None:
    assert wall(read_datetime(value, BERLIN), BERLIN) == expected


@each("value", ["", "soon", "31.12.2024", None, 20240701, True, [], time(9)])
def test_anything_but_a_date_is_a_clear_error(value: object) -> None:
    with pytest.raises(ActionError, match="is not a valid date"):
        read_datetime(value, BERLIN)


def test_the_time_of_day_is_set_on_the_day_of_the_zone() -> None:
    late = utc("2024-06-03T23:30")
    assert wall(snap(late, time(9), Unit.DAYS, BERLIN), BERLIN) == "2024-06-04 09:00+02:00"
