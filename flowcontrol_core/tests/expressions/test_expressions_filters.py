"""The filters: what they give, and the bounds of values, arguments and results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.django_filters import DJANGO_FILTERS as FILTERS
from tests.cases import each

STATE: dict[str, Any] = {
    "text": "the quick fox",
    "html": "<b>x</b>",
    "list": ["a", "b", "c"],
    "nothing": None,
    "n": 3,
    "price": Decimal("1234.567"),
    "ratio": 1.5,
    "span": timedelta(days=1),
    "long": "x" * 10_001,
    "many": list(range(1_001)),
    "huge": 10**100,
    "lines": "x\n" * 1_001,
    "small": Decimal("1E-1000000"),
    "giant": Decimal("1E+1000000"),
}


@each(
    ("text", "value"),
    [
        ("text|upper", "THE QUICK FOX"),
        ("text|upper|lower", "the quick fox"),
        ("text|title", "The Quick Fox"),
        ("text|capfirst", "The quick fox"),
        ("text|slugify", "the-quick-fox"),
        ('text|cut:" "', "thequickfox"),
        ("text|wordcount", 3),
        ("text|truncatechars:5", "the …"),
        ("text|truncatewords:2", "the quick …"),
        ("text|length", 13),
        ("text|first", "t"),
        ("n|ljust:3", "3  "),
        ("n|rjust:3", "  3"),
        ("n|center:3", " 3 "),
        ("html|striptags", "x"),
        ("text|urlencode", "the%20quick%20fox"),
        ('"a/b"|urlencode:""', "a%2Fb"),
        ("list|length", 3),
        ("list|first", "a"),
        ("list|last", "c"),
        ('list|join:"-"', "a-b-c"),
        ("nothing|default:5", 5),
        ("nothing|default_if_none:n", 3),
        ("n|default:5", 3),
        ("n|add:1", 4),
        ("n|add:'4'", 7),
        ("ratio|add:1", 2.5),
        ("price|add:1", Decimal("1235.567")),
        ("price|add:0.5", Decimal("1235.067")),
        ("ratio|add:price", Decimal("1236.067")),
        ("text|add:'!'", "the quick fox!"),
        ("text|add:1", ""),
        ("nothing|add:1", ""),
        ("now|add:span == now", False),
        ("now|add:span > now", True),
        ("n|divisibleby:3", True),
        ("n|divisibleby:0", False),
        ("text|divisibleby:2", False),
        ("price|floatformat", "1234.6"),
        ("price|floatformat:2", "1234.57"),
        ("price|floatformat:0", "1235"),
        ("text|floatformat", ""),
        ("nothing|floatformat", ""),
        ("n|yesno", "yes"),
        ('nothing|yesno:"on,off,unset"', "unset"),
        ("n|pluralize", "s"),
        ("1|pluralize", ""),
        ('n|pluralize:"y,ies"', "ies"),
        ("'1'|pluralize", ""),
        ("2048|filesizeformat", "2.0\xa0KB"),
        ("1|filesizeformat", "1\xa0byte"),
        ('now|date:"Y-m-d"', "2025-03-30"),
        ('now|time:"H:i"', "12:15"),
        ("text|date", ""),
        ("nothing|timesince", ""),
        ("now|add:span|timeuntil", "1\xa0day"),
        ("now|timesince:text", ""),
        ("nothing|upper", ""),
        ("nothing|length", 0),
        ("nothing|first", ""),
        ('nothing|join:","', None),
    ],
)
def test_value_of_filter(evaluate: Callable[..., Any], text: str, value: object) -> None:
    assert evaluate(text, state=STATE) == value


def test_time_since_counts_from_the_time_of_the_scope(
    evaluate: Callable[..., Any], now: Any
) -> None:
    state = {"then": now - timedelta(hours=2)}
    assert evaluate("then|timesince", state=state) == "2\xa0hours"


@each(
    "text",
    [
        "long|upper",
        "text|cut:long",
        'many|join:","',
        "lines|linenumbers",
        "long|make_list",
        "many|dictsort:'a'",
        "many|add:many",
        "text|stringformat:'99999d'",
        "text|stringformat:'(a)s'",
        "text|stringformat:long",
        "text|wordwrap:0",
        "huge|get_digit:1",
        "huge|pluralize",
        "huge|stringformat:'d'",
        "huge|add:1",
        "huge|upper",
        "giant|add:1",
        "giant|floatformat:2",
        "small|floatformat:2",
        "giant|filesizeformat",
        "text|ljust:10001",
        "text|center:-99999999999",
        'text|rjust:"many"',
        "text|truncatechars:nothing",
        'price|floatformat:"999"',
        'price|floatformat:"2x"',
        "now|date:long",
        "9999999999|add:huge",
    ],
)
def test_what_is_out_of_bounds_is_an_error(evaluate: Callable[..., Any], text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, state=STATE)
    assert caught.value.source == text
    assert caught.value.length


def test_result_out_of_bounds_is_an_error(evaluate: Callable[..., Any]) -> None:
    nines = {"a": 10**100 - 1, "t": "x" * 9_000, "l": list(range(900)), "u": "ü" * 5_000}
    for text in ("a|add:a", "t|add:t", "l|add:l", "u|urlencode", 'l|join:"0123456789abcdef"'):
        with pytest.raises(ExpressionError, match=r"too long|too large|at most"):
            evaluate(text, state=nines)


def test_length_of_long_values_can_be_asked_for(evaluate: Callable[..., Any]) -> None:
    assert evaluate("long|length", state=STATE) == 10_001
    assert evaluate("many|length > 1000", state=STATE) is True
    assert evaluate("many|last", state=STATE) == 1_000


@each("name", sorted(FILTERS))
def test_filter_gives_a_value_or_an_expression_error_for_any_input(
    render: Callable[..., str], name: str
) -> None:
    """It meets every kind of value, and every kind of argument."""
    state = STATE | {"dict": {"a": 1}, "nan": float("nan"), "inf": Decimal("Infinity"), "t": True}
    arguments = [":2", ":text", ":nothing", ":list", ":nan"]
    if FILTERS[name].takes == "nothing":
        arguments = [""]
    for text in (
        f"{value}|{name}{argument}" for value in (*state, "now") for argument in arguments
    ):
        with contextlib.suppress(ExpressionError):
            assert len(render(f"{{{{ {text} }}}}", html=True, state=state)) <= 20_000, text
