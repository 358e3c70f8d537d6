"""The action Delay: required fields, and when the run continues. Now is Monday, 12:00 in Berlin."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flowcontrol.base import FlowDirective, RunContext
from flowcontrol_actions_builtin.delay import Delay
from flowcontrol_actions_builtin.errors import ActionError
from tests.cases import each


def wakes_at(run: RunContext, directive: FlowDirective | None) -> str:
    """Return the wall clock time, in the flow's zone, at which the run continues."""
    assert directive is not None
    assert directive.wait is not None
    assert directive.wait.until is not None
    return directive.wait.until.astimezone(run.time_zone).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"amount": "90", "unit": "seconds"}, "2024-06-03 12:01"),
        ({"amount": "5", "unit": "minutes"}, "2024-06-03 12:05"),
        ({"amount": "36", "unit": "hours"}, "2024-06-05 00:00"),
        ({"amount": "2"}, "2024-06-05 12:00"),
        ({"amount": "2", "unit": "weeks"}, "2024-06-17 12:00"),
        ({"amount": "2", "unit": "months"}, "2024-08-03 12:00"),
        ({"amount": "3", "unit": "days", "time_of_day": "09:00"}, "2024-06-06 09:00"),
        ({"amount": "3", "unit": "hours", "time_of_day": "09:00"}, "2024-06-04 09:00"),
        ({"amount": "state.days|add:1"}, "2024-06-07 12:00"),
        ({"mode": "weekday", "weekday": "0", "time_of_day": "15:00"}, "2024-06-03 15:00"),
        ({"mode": "weekday", "weekday": "0", "time_of_day": "09:00"}, "2024-06-10 09:00"),
        ({"mode": "weekday", "weekday": "0"}, "2024-06-10 00:00"),
        ({"mode": "weekday", "weekday": "4", "time_of_day": "09:00"}, "2024-06-07 09:00"),
        ({"mode": "time", "time_of_day": "12:00"}, "2024-06-04 12:00"),
        ({"mode": "time", "time_of_day": "12:01"}, "2024-06-03 12:01"),
        ({"mode": "date", "base": "'2024-07-01'"}, "2024-07-01 00:00"),
        ({"mode": "date", "base": "'2024-07-01T09:30'"}, "2024-07-01 09:30"),
        ({"mode": "date", "base": "'2024-07-01T09:30Z'"}, "2024-07-01 11:30"),
        ({"mode": "date", "base": "state.due", "amount": "-1"}, "2024-06-30 00:00"),
        ({"mode": "date", "base": "state.due", "amount": "1", "unit": "weeks"}, "2024-07-08 00:00"),
        (
            {"mode": "date", "base": "state.due", "amount": "-2", "time_of_day": "09:00"},
            "2024-06-29 09:00",
        ),
        (
            {"mode": "date", "base": "state.due", "amount": "-2", "unit": "hours"},
            "2024-06-30 22:00",
        ),
    ],
)
def test_the_run_continues_at(
    call: Any, run: RunContext, config: dict[str, str], expected: str
) -> None:
    run.state.update({"days": 3, "due": date(2024, 7, 1)})
    assert wakes_at(run, call(Delay, **config)) == expected


def test_it_is_computed_in_the_flows_zone_and_not_in_utc(call: Any, run: RunContext) -> None:
    run.time_zone = ZoneInfo("America/New_York")
    run.now = datetime(2024, 6, 4, 1, tzinfo=UTC)
    on_monday = call(Delay, mode="weekday", weekday="0", time_of_day="22:00")
    assert wakes_at(run, on_monday) == "2024-06-03 22:00"


PAST = {"mode": "date", "base": "'2024-05-01T13:00'"}


def test_by_default_a_date_in_the_past_continues_immediately_and_logs_it(
    call: Any, run: RunContext
) -> None:
    assert call(Delay, **PAST) == FlowDirective.CONTINUE
    assert run.messages == ["2024-05-01T11:00:00+00:00 is in the past."]


def test_a_date_in_the_past_can_stop_the_flow(call: Any) -> None:
    directive = call(Delay, **PAST, if_past="abort")
    assert directive.kind == FlowDirective.ABORT.kind
    # The date, in the zone of the flow, and the choice.
    assert directive.reason == (
        "2024-05-01 13:00+02:00 is in the past, and “stop the flow” is chosen for that case."
    )


def test_a_date_in_the_past_can_wait_for_the_next_suitable_day(call: Any, run: RunContext) -> None:
    assert wakes_at(run, call(Delay, **PAST, if_past="next_day")) == "2024-06-03 13:00"
    snapped = call(Delay, **PAST, if_past="next_day", time_of_day="11:00")
    assert wakes_at(run, snapped) == "2024-06-04 11:00"


def test_a_date_in_the_past_can_wait_for_its_anniversary(call: Any, run: RunContext) -> None:
    assert wakes_at(run, call(Delay, **PAST, if_past="next_year")) == "2025-05-01 13:00"


def test_a_day_at_a_time_that_has_passed_is_in_the_past(call: Any, run: RunContext) -> None:
    today = {"amount": "0", "unit": "days", "time_of_day": "09:00"}
    assert call(Delay, **today) == FlowDirective.CONTINUE
    assert wakes_at(run, call(Delay, **today, if_past="next_day")) == "2024-06-04 09:00"


def test_the_present_is_not_in_the_past(call: Any) -> None:
    assert call(Delay, mode="date", base="now", if_past="abort") == FlowDirective.CONTINUE


@each(
    ("values", "field"),
    [
        ({}, "amount"),
        ({"mode": "for"}, "amount"),
        ({"mode": "weekday"}, "weekday"),
        ({"mode": "time"}, "time_of_day"),
        ({"mode": "date", "amount": "1"}, "base"),
        ({"mode": "weekday", "weekday": "7"}, "weekday"),
        ({"mode": "for", "amount": "1", "unit": "fortnights"}, "unit"),
        ({"mode": "for", "amount": "1 +"}, "amount"),
    ],
)
def test_what_is_missing_or_wrong_is_named_in_the_form(
    errors_of: Any, values: dict[str, str], field: str
) -> None:
    assert list(errors_of(Delay, **values)) == [field]


@pytest.mark.parametrize("amount", ["'1 day'", "1.5", "state.missing"])
def test_an_amount_other_than_a_whole_number_is_a_clear_error(call: Any, amount: str) -> None:
    with pytest.raises(ActionError, match="amount of time must be a whole number"):
        call(Delay, amount=amount)


def test_an_empty_base_date_is_a_clear_error(call: Any) -> None:
    with pytest.raises(ActionError, match="is not a valid date"):
        call(Delay, mode="date", base="state.missing")


@each(
    ("config", "sentence"),
    [
        ({"amount": "2", "unit": "hours"}, "Delay for 2 hours"),
        ({"amount": "1", "unit": "days"}, "Delay for 1 day"),
        ({"amount": "state.n", "unit": "weeks"}, "Delay for state.n weeks"),
        ({"amount": "2", "time_of_day": "09:00"}, "Delay for 2 days, at 09:00"),
        ({"mode": "weekday", "weekday": "0"}, "Delay until Monday"),
        (
            {"mode": "weekday", "weekday": "4", "time_of_day": "17:30"},
            "Delay until Friday, at 17:30",
        ),
        ({"mode": "time", "time_of_day": "09:00"}, "Delay until 09:00"),
        ({"mode": "date", "base": "state.due"}, "Delay until state.due"),
        (
            {"mode": "date", "base": "state.due", "amount": "-3"},
            "Delay until 3 days before state.due",
        ),
        (
            {"mode": "date", "base": "state.due", "amount": "1", "unit": "months"},
            "Delay until 1 month after state.due",
        ),
    ],
)
def test_the_summary_is_a_plain_sentence(bound: Any, config: dict[str, str], sentence: str) -> None:
    assert Delay().summary(bound(Delay, **config)) == sentence
