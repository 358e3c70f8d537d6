"""Arithmetic: what is calculated with what, exactly, and within bounds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.arithmetic import RULES, calculate, kind_of
from tests.cases import each

BERLIN = ZoneInfo("Europe/Berlin")
STATE: dict[str, Any] = {
    "n": 3,
    "total": Decimal("9.99"),
    "share": 0.5,
    "name": "Ann",
    "day": date(2025, 3, 30),
    "at": datetime(2025, 3, 30, 12, 15, tzinfo=UTC),
    "naive": datetime(2025, 3, 30, 12, 15),
    "two_days": timedelta(days=2),
    "hour": timedelta(hours=1),
    "yes": True,
    "list": [1],
    "infinite": float("inf"),
    "huge": 10**99,
    "nothing": None,
}


@each(
    ("text", "value"),
    [
        ("n + 1", 4),
        ("n * n - 1", 8),
        ("n / 2", Decimal("1.5")),
        ("n / 3", Decimal(1)),
        ("1 / 3", Decimal("0.3333333333333333333333333333")),
        ("7 % n", 1),
        ("-7 % n", 2),
        ("-7.5 % n", Decimal("1.5")),
        ("total + 1", Decimal("10.99")),
        ("total * n", Decimal("29.97")),
        ("total - 0.01", Decimal("9.98")),
        ("share + 1", Decimal("1.5")),
        ("share * total", Decimal("4.995")),
        ("0.1 + 0.2", Decimal("0.3")),
        ("-total", Decimal("-9.99")),
        ("-two_days", timedelta(days=-2)),
        ("name + '!' + name", "Ann!Ann"),
        ("day + two_days", date(2025, 4, 1)),
        ("two_days + day", date(2025, 4, 1)),
        ("day - two_days", date(2025, 3, 28)),
        ("day - day", timedelta()),
        ("at.date - day", timedelta()),
        ("at + hour", datetime(2025, 3, 30, 13, 15, tzinfo=UTC)),
        ("hour + at", datetime(2025, 3, 30, 13, 15, tzinfo=UTC)),
        ("at - hour * 2", datetime(2025, 3, 30, 10, 15, tzinfo=UTC)),
        ("at - at", timedelta()),
        ("hour + two_days - hour", timedelta(days=2)),
        ("n * hour", timedelta(hours=3)),
        ("hour * 0.5", timedelta(minutes=30)),
        ("hour / 2", timedelta(minutes=30)),
        ("two_days / hour", Decimal(48)),
        ("(at + two_days - at).days", 2),
        ("two_days.total_seconds / 3600", Decimal(48)),
        ("name|length + 1", 4),
        ("n + 1|add:1", 5),
        ("total - paid|default:0 > 9", True),
    ],
)
def test_result_of_a_calculation(evaluate: Callable[..., Any], text: str, value: object) -> None:
    result = evaluate(text, state=STATE)
    assert result == value
    assert type(result) is type(value)


def test_durations_are_elapsed_time(evaluate: Callable[..., Any]) -> None:
    """The clocks are changed in the night before."""
    before = datetime(2025, 3, 29, 12, tzinfo=BERLIN)
    state = {"before": before, "after": before.replace(day=30), "day": timedelta(days=1)}
    assert evaluate("after - before", state=state) == timedelta(hours=23)
    assert evaluate("before + day", state=state).astimezone(BERLIN).hour == 13


@each(
    ("text", "marked", "words"),
    [
        ("n + name", "+", "between a number and a text"),
        ("name * n", "*", "between a text and a number"),
        ("n * name", "*", "between a number and a text"),
        ("list * n", "*", "another value and a number"),
        ("list + list", "+", "Both must fit each other"),
        ("yes + 1", "+", "another value"),
        ("n - missing", "-", "(paid|default:0)"),
        ("nothing + n", "+", "between nothing and a number"),
        ("day - at", "-", "now.date"),
        ("day + hour", "+", "whole days"),
        ("at - naive", "-", "no time zone"),
        ("at + at", "+", "between a date with time and a date with time"),
        ("n / 0", "/", "divided by 0"),
        ("n % 0", "%", "divided by 0"),
        ("total / 0", "/", "divided by 0"),
        ("total % 0", "%", "divided by 0"),
        ("hour / 0", "/", "divided by 0"),
        ("infinite + 1", "+", "finite"),
        ("-infinite + 1", "+", "finite"),
        ("huge * huge", "*", "too large"),
        ("huge * 10", "*", "too large"),
        ("two_days * huge", "*", "too large"),
        ("two_days * 9999999999", "*", "too large"),
        ("day + two_days * 9999999", "+", "too large"),
        ("-name", "-", 'can have a "-" before it, not a text'),
        ("-nothing", "-", "not nothing"),
        ("1 + -yes", "-", "another value"),
    ],
)
def test_what_cannot_be_calculated_is_an_error_with_a_sentence(
    evaluate: Callable[..., Any], text: str, marked: str, words: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, state=STATE)
    error = caught.value
    assert words in error.message
    assert text[error.position : error.position + error.length] == marked


def test_a_text_that_grows_is_bounded(evaluate: Callable[..., Any]) -> None:
    with pytest.raises(ExpressionError, match="too long"):
        evaluate("long + long", state={"long": "x" * 9_000})


def test_a_list_that_holds_too_much_is_an_error(evaluate: Callable[..., Any]) -> None:
    """Each level would multiply what it takes to read it."""
    state = {"many": list(range(400)), "deep": [[list(range(300))] * 4]}
    assert len(evaluate("[many, many]", state=state)) == 2
    for text in ("[many, many, many]", "[deep]", "[[many, 1], [many, 2], [many]]"):
        with pytest.raises(ExpressionError, match="more than 1,000 values") as caught:
            evaluate(text, state=state)
        assert caught.value.source == text


@each("pair", [(left, right) for left in STATE.values() for right in STATE.values()])
def test_every_pair_of_values_has_a_result_or_an_expression_error(pair: tuple[Any, Any]) -> None:
    left, right = pair
    for sign in "+-*/%":
        is_possible = (sign, kind_of(left), kind_of(right)) in RULES
        try:
            calculate(sign, left, right)
        except ExpressionError:
            continue
        assert is_possible
