"""The filters expressions know: an allow-list of Django's, with bounded values, arguments, results.

Where they differ from Django's: nothing depends on the active language but the names of months and
days (``date``) and the words of ``timesince``; ``add`` adds Decimals and floats without cutting
them off; None counts as an empty text; ``timesince`` counts from the scope's ``now``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.template import defaultfilters as django_filters

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError, gettext
from flowcontrol_core.expressions.coercion import (
    as_decimal,
    as_local,
    as_number,
    as_text,
    bounded_list,
    bounded_number,
    bounded_text,
    whole_number,
)
from flowcontrol_core.expressions.spans import too_large

# (value, argument or None, now) -> result
Apply = Callable[[Any, Any, datetime], Any]
Takes = Literal["nothing", "maybe", "argument"]

_FLOAT_FORMAT = re.compile(r"(-?[0-9]{1,2})?(g?)u?|ug")
_SIZE_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: what it does to a value, and whether it takes an argument."""

    name: str
    apply: Apply
    takes: Takes = "nothing"
    example: str = ""
    html_only: bool = False
    # What it does instead in an HTML template.
    apply_html: Apply | None = None


def _of_text(function: Callable[..., Any]) -> Apply:
    """Wrap a filter that takes a text only."""
    return lambda value, _argument, _now: _result(function(as_text(value)))


def _of_text_with_text(function: Callable[..., Any]) -> Apply:
    """Wrap a filter that takes a text, and a text as its argument."""
    return lambda value, argument, _now: _result(function(as_text(value), as_text(argument)))


def _of_text_with_number(function: Callable[..., Any]) -> Apply:
    """Wrap a filter that takes a text, and a width or count as its argument."""

    def apply(value: Any, argument: Any, _now: datetime) -> Any:
        number = whole_number(argument, bounds.FILTER_CHARACTERS)
        return _result(function(as_text(value), number))

    return apply


def _result(value: Any) -> Any:
    return bounded_text(value) if isinstance(value, str) else value


def _default(value: Any, argument: Any, _now: datetime) -> Any:
    return value or argument


def _default_if_none(value: Any, argument: Any, _now: datetime) -> Any:
    return argument if value is None else value


def _length(value: Any, _argument: Any, _now: datetime) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict | set | frozenset) else 0


def _item(index: int) -> Apply:
    return lambda value, _argument, _now: (
        value[index] if isinstance(value, str | list | tuple) and value else ""
    )


def _join(*, autoescape: bool) -> Apply:
    def join(value: Any, argument: Any, _now: datetime) -> Any:
        if not isinstance(value, list | tuple):
            return _result(as_text(value))
        texts = [as_text(item) for item in bounded_list(value)]
        glue = as_text(argument)
        length = sum(map(len, texts)) + len(glue) * len(texts)
        if length > bounds.FILTER_CHARACTERS:
            message = gettext(
                "The joined text has about %(n)s characters; at most %(limit)s are possible."
            )
            raise too_large(message, length, bounds.FILTER_CHARACTERS)
        return _result(django_filters.join(texts, glue, autoescape=autoescape))

    return join


def _add(value: Any, argument: Any, _now: datetime) -> Any:
    """Add numbers, texts, lists, and durations to times; an empty text for anything else."""
    first, second = as_number(value), as_number(argument)
    if first is not None and second is not None:
        return _sum(first, second)
    if isinstance(value, str) and isinstance(argument, str):
        return bounded_text(as_text(value) + as_text(argument))
    if isinstance(value, list) and isinstance(argument, list):
        return bounded_list(value + argument)
    if isinstance(value, date | timedelta) and isinstance(argument, timedelta):
        return value + argument
    return ""


def _sum(first: float | Decimal, second: float | Decimal) -> Any:
    if isinstance(first, Decimal) and isinstance(second, float):
        second = Decimal(str(second))
    elif isinstance(first, float) and isinstance(second, Decimal):
        first = Decimal(str(first))
    return bounded_number(first + second)  # type: ignore[operator]  # never Decimal and float


def _divisible_by(value: Any, argument: Any, _now: datetime) -> bool:
    number, divisor = as_number(value), as_number(argument)
    if number is None or not divisor:
        return False
    return int(number) % int(divisor) == 0


def _float_format(value: Any, argument: Any, _now: datetime) -> str:
    number = as_decimal(value)
    if number is None:
        return ""
    written = "-1" if argument is None else as_text(argument)
    if not (match := _FLOAT_FORMAT.fullmatch(written)):
        message = gettext('"%(digits)s" is not a number of digits; write floatformat:2')
        raise ExpressionError(message % {"digits": written})
    grouping = "g" if "g" in written else ""
    # "u" is Django's "unlocalised".
    return str(django_filters.floatformat(number, f"{match[1] or -1}{grouping}u"))


def _date_format(function: Callable[..., Any]) -> Apply:
    def apply(value: Any, argument: Any, _now: datetime) -> str:
        local = as_local(value)
        written = None if argument is None else as_text(argument)
        if written is not None and len(written) > bounds.DATE_FORMAT_CHARACTERS:
            message = gettext("The format has %(n)s characters; at most %(limit)s are possible.")
            raise too_large(message, len(written), bounds.DATE_FORMAT_CHARACTERS)
        return "" if local is None else str(function(local, written))

    return apply


def _time_span(function: Callable[..., Any]) -> Apply:
    def apply(value: Any, argument: Any, now: datetime) -> str:
        since = now if argument is None else argument
        if not isinstance(value, date) or not isinstance(since, date):
            return ""
        return str(function(value, since))

    return apply


def _yes_no(value: Any, argument: Any, _now: datetime) -> Any:
    return _result(django_filters.yesno(value, as_text(argument) or "yes,no,maybe"))


def _pluralize(value: Any, argument: Any, _now: datetime) -> str:
    ending = "s" if argument is None else as_text(argument)
    if isinstance(value, str | int | float | Decimal):
        value = as_decimal(value) or 0
    elif not isinstance(value, list | tuple | dict):
        return ""
    return str(django_filters.pluralize(value, ending))


def _file_size(value: Any, _argument: Any, _now: datetime) -> str:
    size = int(as_decimal(value) or 0)
    # Each unit is 1,024 times, ten bits, the one before it.
    power = min(max(size.bit_length() - 1, 0) // 10, len(_SIZE_UNITS) - 1)
    if power == 0:
        return f"{size} byte{'' if abs(size) == 1 else 's'}"
    return f"{size / 1024**power:.1f} {_SIZE_UNITS[power]}"


def _url_encode(value: Any, argument: Any, _now: datetime) -> Any:
    if argument is None:
        return _result(django_filters.urlencode(as_text(value)))
    # Django means a plain text by "safe": the characters that are left as they are.
    return _result(django_filters.urlencode(as_text(value), as_text(argument)))  # type: ignore[arg-type]


# The names of functions of django.template.defaultfilters.
_TEXT_FILTERS = ("capfirst", "lower", "slugify", "striptags", "title", "upper", "wordcount")
_WIDTH_FILTERS = ("center", "ljust", "rjust", "truncatechars", "truncatewords")
_OTHER_FILTERS = (
    Filter("add", _add, "argument", "state.tries|add:1"),
    Filter("cut", _of_text_with_text(django_filters.cut), "argument", 'name|cut:" "'),
    Filter("date", _date_format(django_filters.date), "maybe"),
    Filter("default", _default, "argument", 'name|default:"unknown"'),
    Filter("default_if_none", _default_if_none, "argument", "count|default_if_none:0"),
    Filter("divisibleby", _divisible_by, "argument", "count|divisibleby:2"),
    Filter("escape", _of_text(django_filters.escape_filter), html_only=True),
    Filter("filesizeformat", _file_size),
    Filter("first", _item(0)),
    Filter("floatformat", _float_format, "maybe"),
    Filter(
        "join",
        _join(autoescape=False),
        "argument",
        'names|join:", "',
        apply_html=_join(autoescape=True),
    ),
    Filter("last", _item(-1)),
    Filter("length", _length),
    Filter("linebreaksbr", _of_text(django_filters.linebreaksbr), html_only=True),
    Filter("pluralize", _pluralize, "maybe"),
    Filter("time", _date_format(django_filters.time), "maybe"),
    Filter("timesince", _time_span(django_filters.timesince_filter), "maybe"),
    Filter("timeuntil", _time_span(django_filters.timeuntil_filter), "maybe"),
    Filter("urlencode", _url_encode, "maybe"),
    Filter("yesno", _yes_no, "maybe"),
)


def _all_filters() -> Iterator[Filter]:
    for name in _TEXT_FILTERS:
        yield Filter(name, _of_text(getattr(django_filters, name)))
    for name in _WIDTH_FILTERS:
        apply = _of_text_with_number(getattr(django_filters, name))
        yield Filter(name, apply, "argument", f"name|{name}:20")
    yield from _OTHER_FILTERS


FILTERS: dict[str, Filter] = {found.name: found for found in _all_filters()}
