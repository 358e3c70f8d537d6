"""Django's own filters as expressions apply them, with bounded values, arguments and results.

Where they differ from Django's: nothing depends on the active language but the names of months and
days (``date``) and the words of ``timesince``; ``add`` adds Decimals and floats without cutting
them off; None counts as an empty text; ``timesince`` counts from the scope's ``now``. A filter of
Django stands in ``DJANGO_FILTERS`` or, with the reason, in ``LEFT_OUT``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.template import defaultfilters
from django.utils.html import conditional_escape
from django.utils.safestring import SafeData, mark_safe
from django.utils.translation import gettext_lazy as _

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
    bounded_tree,
    plain,
    text_of_object,
    whole_number,
)
from flowcontrol_core.expressions.filter_texts import FILTER_TEXTS
from flowcontrol_core.expressions.filters import Apply, Filter, bounded
from flowcontrol_core.expressions.lookup import read_parts
from flowcontrol_core.expressions.spans import too_large

_FLOAT_FORMAT = re.compile(r"(-?[0-9]{1,2})?(g?)u?|ug")
# The formats of stringformat, but for those that name the keys of a dictionary.
_STRING_FORMAT = re.compile(r"[-+ #0]{0,5}[0-9]{0,3}(\.[0-9]{0,3})?[hlL]?[diouxXeEfFgGcrsa]")
_GROUPS = re.compile(r"(?<=\d)(?=(?:\d{3})+(?!\d))")
_SIZE_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


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
        if not isinstance(value, list | tuple | str | Mapping):
            return value
        value = list(value)
        texts = [as_text(item) for item in bounded_list(value)]
        glue = as_text(argument)
        length = sum(map(len, texts)) + len(glue) * len(texts)
        if length > bounds.FILTER_CHARACTERS:
            message = gettext(
                "The joined text has about %(n)s characters; at most %(limit)s are possible."
            )
            raise too_large(message, length, bounds.FILTER_CHARACTERS)
        return _result(defaultfilters.join(texts, glue, autoescape=autoescape))

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
    if isinstance(value, tuple) and isinstance(argument, tuple):
        return bounded_list(value + argument)
    if isinstance(value, date | timedelta) and isinstance(argument, date | timedelta):
        return _moved(value, argument)
    return ""


def _moved(value: Any, argument: Any) -> Any:
    """Add a duration to a time or to another one; an empty text for two times."""
    both_are_times = isinstance(value, date) and isinstance(argument, date)
    return "" if both_are_times else value + argument


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
    # "u" is Django's "unlocalised".
    text = str(defaultfilters.floatformat(number, f"{match[1] or -1}u"))
    if "g" not in written:
        return text
    whole, point, fraction = text.partition(".")
    return f"{_GROUPS.sub(',', whole)}{point}{fraction}"


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
    words = "yes,no,maybe" if argument is None else as_text(argument)
    return _result(defaultfilters.yesno(value, words))


def _pluralize(value: Any, argument: Any, _now: datetime) -> str:
    ending = "s" if argument is None else as_text(argument)
    if isinstance(value, str) and len(value) > bounds.NUMBER_DIGITS:
        return ""
    return str(defaultfilters.pluralize(bounded_number(value), ending))


def _file_size(value: Any, _argument: Any, _now: datetime) -> str:
    size = int(as_decimal(value) or 0)
    # Each unit is 1,024 times, ten bits, the one before it.
    power = min(max(size.bit_length() - 1, 0) // 10, len(_SIZE_UNITS) - 1)
    if power == 0:
        return f"{size}\xa0byte{'' if abs(size) == 1 else 's'}"
    # The space does not break, as in Django.
    return f"{size / 1024**power:.1f}\xa0{_SIZE_UNITS[power]}"


def _url_encode(value: Any, argument: Any, _now: datetime) -> Any:
    if argument is None:
        return _result(defaultfilters.urlencode(as_text(value)))
    # Django means a plain text by "safe": the characters that are left as they are.
    return _result(defaultfilters.urlencode(as_text(value), as_text(argument)))  # type: ignore[arg-type]


def _slice(value: Any, argument: Any, _now: datetime) -> Any:
    if not isinstance(value, str | list | tuple):
        return value
    return defaultfilters.slice_filter(value, as_text(argument))


def _sort(*, reverse: bool) -> Apply:
    """Sort a list by what a dotted name finds in its items; an empty text for anything else."""

    def sort(value: Any, argument: Any, _now: datetime) -> Any:
        if not isinstance(value, list | tuple):
            return ""
        parts = as_text(argument).split(".")
        try:
            return sorted(
                bounded_list(value), key=lambda item: read_parts(item, parts), reverse=reverse
            )
        except TypeError:
            return ""

    return sort


def _string_format(value: Any, argument: Any, _now: datetime) -> Any:
    written = as_text(argument)
    if not _STRING_FORMAT.fullmatch(written):
        message = gettext('"%(format)s" is not a format; write stringformat:"05d"')
        raise ExpressionError(message % {"format": written})
    shown = plain(value, show=text_of_object)
    return _result(defaultfilters.stringformat(bounded_number(shown), written))


def _make_list(value: Any, _argument: Any, _now: datetime) -> Any:
    return bounded_list(list(as_text(value)))


def _get_digit(value: Any, argument: Any, _now: datetime) -> Any:
    return defaultfilters.get_digit(bounded(value), bounded(argument))


def _escape_each(value: Any, _argument: Any, _now: datetime) -> list[str]:
    return [conditional_escape(as_text(item)) for item in bounded_list(list(value))]


def _unordered_list(value: Any, _argument: Any, _now: datetime) -> Any:
    shown = plain(value, show=text_of_object)
    return _result(defaultfilters.unordered_list(bounded_tree(list(shown))))


def _json_script(value: Any, argument: Any, _now: datetime) -> Any:
    element = None if argument is None else as_text(argument)
    (shown,) = bounded_tree([plain(value, show=text_of_object)])
    return _result(defaultfilters.json_script(shown, element))


def _safe_if_safe(apply: Apply) -> Apply:
    """Let a part of what the author of an HTML template has typed be HTML, as in Django."""

    def apply_safely(value: Any, argument: Any, now: datetime) -> Any:
        result = apply(value, argument, now)
        is_safe = isinstance(value, SafeData) and isinstance(result, str)
        return mark_safe(result) if is_safe else result  # noqa: S308  (as safe as the value)

    return apply_safely


def _line_numbers(*, autoescape: bool) -> Apply:
    def number(value: Any, _argument: Any, _now: datetime) -> Any:
        text = as_text(value)
        bounded_list(text.split("\n"))
        return _result(defaultfilters.linenumbers(text, autoescape=autoescape))

    return number


def _html_of_text(name: str) -> Filter:
    return Filter(name, _of_text(_DJANGO[name]), html_only=True)


def _html_of_text_with_number(name: str) -> Filter:
    apply = _of_text_with_number(_DJANGO[name])
    return Filter(name, apply, "argument", f"text|{name}:20", html_only=True)


# Django's own functions, by the names of the filters.
_DJANGO: Mapping[str, Callable[..., Any]] = defaultfilters.register.filters

_TEXT_FILTERS = (
    "addslashes", "capfirst", "escapejs", "iriencode", "lower", "phone2numeric", "slugify",
    "striptags", "title", "upper", "wordcount",
)  # fmt: skip
_WIDTH_FILTERS = ("center", "ljust", "rjust", "truncatechars", "truncatewords", "wordwrap")
_OTHER_FILTERS = (
    Filter("add", _add, "argument", "state.tries|add:1"),
    Filter("cut", _of_text_with_text(defaultfilters.cut), "argument", 'name|cut:" "'),
    Filter("date", _date_format(defaultfilters.date), "maybe"),
    Filter("default", _default, "argument", 'name|default:"unknown"'),
    Filter("default_if_none", _default_if_none, "argument", "count|default_if_none:0"),
    Filter("dictsort", _sort(reverse=False), "argument", 'items|dictsort:"name"'),
    Filter("dictsortreversed", _sort(reverse=True), "argument", 'items|dictsortreversed:"name"'),
    Filter("divisibleby", _divisible_by, "argument", "count|divisibleby:2"),
    Filter("escapeseq", _escape_each, html_only=True),
    Filter("filesizeformat", _file_size),
    Filter("first", _item(0)),
    Filter("floatformat", _float_format, "maybe"),
    Filter("get_digit", _get_digit, "argument", "number|get_digit:1"),
    Filter(
        "join",
        _join(autoescape=False),
        "argument",
        'names|join:", "',
        apply_html=_join(autoescape=True),
    ),
    Filter("json_script", _json_script, "maybe", html_only=True),
    Filter("last", _safe_if_safe(_item(-1))),
    Filter("length", _length),
    Filter(
        "linenumbers",
        _line_numbers(autoescape=False),
        apply_html=_line_numbers(autoescape=True),
    ),
    Filter("make_list", _make_list),
    Filter("pluralize", _pluralize, "maybe"),
    Filter("slice", _safe_if_safe(_slice), "argument", 'items|slice:":3"'),
    Filter("stringformat", _safe_if_safe(_string_format), "argument", 'number|stringformat:"05d"'),
    Filter("time", _date_format(defaultfilters.time), "maybe"),
    Filter("timesince", _time_span(defaultfilters.timesince_filter), "maybe"),
    Filter("timeuntil", _time_span(defaultfilters.timeuntil_filter), "maybe"),
    Filter("unordered_list", _unordered_list, html_only=True),
    Filter("urlencode", _url_encode, "maybe"),
    Filter("yesno", _yes_no, "maybe"),
)
_HTML_TEXT_FILTERS = ("escape", "force_escape", "linebreaks", "linebreaksbr", "urlize")
_HTML_WIDTH_FILTERS = ("truncatechars_html", "truncatewords_html", "urlizetrunc")

#: The filters of Django that expressions do not have, and why; the reference has the same table.
LEFT_OUT = {
    "pprint": _("It shows how Python writes a value; it is for finding faults in templates."),
    "random": _("A condition must have the same result each time that it is evaluated."),
    "safe": _("It turns escaping off, so that a value could bring HTML of its own."),
    "safeseq": _("It turns escaping off, so that a value could bring HTML of its own."),
}


def _all_filters() -> Iterator[Filter]:
    for name in _TEXT_FILTERS:
        yield Filter(name, _of_text(_DJANGO[name]))
    for name in _WIDTH_FILTERS:
        yield Filter(name, _of_text_with_number(_DJANGO[name]), "argument", f"name|{name}:20")
    yield from _OTHER_FILTERS
    yield from map(_html_of_text, _HTML_TEXT_FILTERS)
    yield from map(_html_of_text_with_number, _HTML_WIDTH_FILTERS)


DJANGO_FILTERS: Mapping[str, Filter] = {
    found.name: replace(found, description=FILTER_TEXTS[found.name]) for found in _all_filters()
}
