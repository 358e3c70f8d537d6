"""What a state may contain comes back as it was, with its type; everything else is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import models
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core.bounds import STATE_DEPTH
from flowcontrol_core.engine.codec import decode, encode, normalize, private_copy
from flowcontrol_core.errors import StateError
from flowcontrol_core.expressions import Scope, compile_expression
from tests.cases import each
from tests.shop.models import Customer

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=10)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda n: timezone(timedelta(minutes=n)))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=st.none() | OFFSETS | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
KEYS = TEXTS | st.sampled_from(["$dict", "$decimal", "$date", "$float", "$", "$unknown"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def stored_and_read(value: Any) -> Any:
    """Bring a value to text and back, as a database does."""
    return decode(json.loads(json.dumps(encode(normalize(value)), allow_nan=False)))


def types_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: types_of(item) for key, item in value.items()}
    return [types_of(item) for item in value] if isinstance(value, list) else type(value)


@given(VALUES)
def test_what_is_stored_is_read_back_with_its_types(value: Any) -> None:
    normalized = normalize(value)
    again = stored_and_read(value)
    assert again == normalized
    assert types_of(again) == types_of(normalized)


@given(VALUES)
def test_a_normalized_value_is_equal_to_the_given_one_and_stays_as_it_is(value: Any) -> None:
    normalized = normalize(value)
    # Not the values themselves: a time that the clocks show twice equals none of another zone.
    assert encode(normalized) == encode(value)
    assert types_of(normalize(normalized)) == types_of(normalized)


@given(st.one_of(st.lists(VALUES, max_size=3), st.dictionaries(KEYS, VALUES, max_size=3)))
def test_a_normalized_container_shares_nothing_with_the_given_one(value: Any) -> None:
    def containers(item: Any) -> list[int]:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        own = [id(item)] if isinstance(item, dict | list) else []
        return own + [found for one in inner for found in containers(one)]

    assert not set(containers(value)) & set(containers(normalize(value)))


class Name(str, Enum):  # noqa: UP042 - its str() is its name, that of a StrEnum is not
    ADA = "ada"


class Color(models.TextChoices):
    RED = "red"


class Rank(IntEnum):
    HIGH = 3


class FrozenDatetime(datetime):
    """As clocks for tests and date libraries derive them."""


class FrozenDate(date): ...


class FrozenTime(time): ...


class LongDuration(timedelta): ...


@each(
    ("value", "plain"),
    [
        (Name.ADA, "ada"),
        (Color.RED, "red"),
        (Rank.HIGH, 3),
        (mark_safe("<b>"), "<b>"),
        (FrozenDatetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (FrozenDate(2026, 3, 1), date(2026, 3, 1)),
        (FrozenTime(12, 30, 1, 5), time(12, 30, 1, 5)),
        (LongDuration(days=-1, microseconds=3), timedelta(days=-1, microseconds=3)),
        ((1, (2, 3)), [1, [2, 3]]),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
    ],
)
def test_subclasses_become_the_plain_value(value: Any, plain: Any) -> None:
    assert normalize(value) == plain
    assert type(normalize(value)) is type(plain)
    assert stored_and_read(value) == plain


@each("number", [1e16, -1e16, 1e300, 5e-324, 1.0, -0.0, 123456789012345680.0])
def test_a_float_stays_a_float_where_a_database_writes_numbers_without_exponent(
    number: float,
) -> None:
    text = json.dumps(encode(number))
    # PostgreSQL's jsonb writes 1e+16 as 10000000000000000.
    if not isinstance(json.loads(text), dict):
        text = format(Decimal(text), "f")
    assert type(decode(json.loads(text))) is float
    assert decode(json.loads(text)) == number


def test_a_datetime_keeps_its_instant_in_the_two_hours_of_a_fold() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    second = first.replace(fold=1)
    assert stored_and_read(first).astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert stored_and_read(second).astimezone(UTC) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@each(
    "value",
    [
        Decimal("10.50"),
        date(2026, 3, 1),
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        time(12, 30),
        timedelta(hours=30),
        1e16,
        {"$decimal": "no number"},
    ],
)
@each(
    "source",
    ["value == same", "value < larger", "value|default:0", "value in values", "values|length"],
)
def test_an_expression_means_the_same_before_and_after_a_suspension(
    value: Any, source: str
) -> None:
    one = [1, value]
    larger = {"$": 1} if isinstance(value, dict) else _larger(value)
    state = normalize({"value": value, "same": value, "values": one, "larger": larger})
    expression = compile_expression(source)
    before = expression.evaluate(Scope(state=state, now=datetime.now(UTC)))
    after = expression.evaluate(Scope(state=stored_and_read(state), now=datetime.now(UTC)))
    assert before == after
    assert type(before) is type(after)


def _larger(value: Any) -> Any:
    if isinstance(value, time):
        return value.replace(hour=23)
    return value + (timedelta(days=1) if isinstance(value, date | timedelta) else 1)


@each(
    ("value", "message"),
    [
        (math.nan, "state: nan is not a JSON number"),
        (math.inf, "state: inf is not a JSON number"),
        (Decimal("NaN"), "state: NaN cannot be stored"),
        ("a\x00b", "state: text with a NUL character"),
        ("\ud800", "state: text with a lone surrogate"),
        (10**1000, "more than 1000 digits"),
        ({1: 2}, "the key 1 is not text"),
        ({"a": [{"b\x00": 1}]}, r"state.a\[0\]: text with a NUL"),
        ({"a": [0, {"b": {1, 2}}]}, r"state.a\[1\].b: a set cannot be stored"),
        (b"bytes", "a bytes cannot be stored in the state; convert it to JSON values"),
        (1j, "a complex cannot be stored"),
        (print, "a builtin_function_or_method cannot be stored"),
        (time(12, tzinfo=UTC), "a time of day with a time zone"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        normalize(value)


def test_a_model_object_is_refused_and_the_message_says_what_to_store() -> None:
    with pytest.raises(StateError, match=r"state.who: a Customer .*store its primary key instead"):
        normalize({"who": Customer(name="Ada")})
    with pytest.raises(StateError, match="a QuerySet cannot be stored"):
        normalize(Customer.objects.all())


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_too_deep_is_refused_and_what_contains_itself_too() -> None:
    assert stored_and_read(nested(STATE_DEPTH)) == nested(STATE_DEPTH)
    with pytest.raises(StateError, match="nested more than 20 levels deep"):
        normalize(nested(STATE_DEPTH + 2))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(StateError, match="nested more than 20 levels deep"):
        normalize(endless)


@each(
    "damaged",
    [
        {"$decimal": "ten"},
        {"$decimal": [1]},
        {"$date": "31.12.2026"},
        {"$date": 5},
        {"$datetime": ""},
        {"$time": "25:00"},
        {"$float": "many"},
        {"$duration": [1]},
        {"$duration": {}},
        {"$duration": None},
        {"$duration": [10**12, 0, 0]},
        {"a": [{"$decimal": "ten"}]},
    ],
)
def test_a_damaged_stored_value_is_an_error_of_the_state(damaged: Any) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        decode(damaged)


def test_an_unknown_tag_of_a_newer_version_is_kept_as_it_is() -> None:
    assert decode({"$new": {"$decimal": "1"}}) == {"$new": Decimal(1)}


@given(VALUES)
def test_a_private_copy_is_equal_and_changing_it_changes_nothing_else(value: Any) -> None:
    normalized = normalize(value)
    before, copied = encode(normalized), private_copy(normalized)
    assert copied == normalized
    _spoil(copied)
    assert encode(normalized) == before


def _spoil(value: Any) -> None:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _spoil(item)
    if isinstance(value, dict | list):
        value.clear()
