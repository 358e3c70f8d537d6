"""Whatever Django's engine accepts means the same here, but for what the reference lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.template import defaultfilters
from django.utils import translation

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.arithmetic import RULES, Operand
from flowcontrol_core.expressions.django_filters import DJANGO_FILTERS, LEFT_OUT
from flowcontrol_core.expressions.extensions import extensions
from flowcontrol_core.expressions.parser import ExpressionParser
from tests.docs.pages import codes, read, rows, sections

from . import corpus
from .corpus import FILTERS, HTML_FILTERS, DjangoFailedError, Generator, are_equal

EXPRESSIONS = 800
TEMPLATES = 300

#: Where in the corpus a difference of the reference can be met.
DIFFERENCES = {
    "`add` keeps fractions": r"(half|ratio|price|2\.5)\|add:",
    "None in a text": r"{[{%].*\b(nothing|None)\b",
    "what is missing, in a text": r"{[{%].*\b(missing|people\.9|nowhere)\b",
    "dates do not depend on the language": r"{[{%].*\b(day|at|at\.date)\b",
    "pairs, keys and values are lists": r"{[{%].*address\.(items|keys|values)",
    "an error in a condition": r"minus\|get_digit:2",
}


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return sections(read("reference/expressions.md"))


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en-us"):
        yield


def _compare(text: str, django: Any, ours: Any) -> str:
    """Return the difference that a text meets; fail where that is none of the reference."""
    if are_equal(django, ours):
        return ""
    for difference, pattern in DIFFERENCES.items():
        if re.search(pattern, text, re.DOTALL):
            return difference
    raise AssertionError(f"{text!r} is {django!r} in Django, but here it is {ours!r}.")


def test_generated_expressions_mean_what_they_mean_in_django() -> None:
    met: Counter[str] = Counter()
    for text in dict.fromkeys(Generator(8, FILTERS).expressions(EXPRESSIONS)):
        try:
            django = corpus.by_django(text)
        except DjangoFailedError:
            met["Django failed"] += 1
            assert not isinstance(corpus.by_us(text), BaseException) or corpus.by_us(text).source
            continue
        met[_compare(text, django, corpus.by_us(text))] += 1
    assert met[""] >= 600
    assert met.total() - met[""] < EXPRESSIONS / 20


@pytest.mark.parametrize("html", [False, True])
def test_generated_templates_mean_what_they_mean_in_django(html: bool) -> None:
    met: Counter[str] = Counter()
    filters = FILTERS | HTML_FILTERS if html else FILTERS
    for text in dict.fromkeys(Generator(8, filters).templates(TEMPLATES)):
        try:
            django = corpus.rendered_by_django(text, html=html)
        except DjangoFailedError:
            continue
        met[_compare(text, django, corpus.rendered_by_us(text, html=html))] += 1
    assert met[""] >= 200


def test_each_filter_escapes_as_it_does_in_django() -> None:
    compared = 0
    for name, (operands, arguments) in (FILTERS | HTML_FILTERS).items():
        for operand in operands:
            for argument in arguments:
                call = f"{operand}|{name}" + (f":{argument}" if argument else "")
                text = f"{{{{ {call} }}}}"
                try:
                    django = corpus.rendered_by_django(text, html=True)
                except DjangoFailedError:
                    continue
                _compare(text, django, corpus.rendered_by_us(text, html=True))
                compared += 1
    assert compared > 500


def test_the_corpus_is_the_same_each_time_and_has_every_filter() -> None:
    first, second = ([*Generator(8, FILTERS).expressions(EXPRESSIONS)] for _ in range(2))
    assert first == second
    assert {name for name in DJANGO_FILTERS if not DJANGO_FILTERS[name].html_only} == set(FILTERS)
    assert {name for name in DJANGO_FILTERS if DJANGO_FILTERS[name].html_only} == set(HTML_FILTERS)


def test_every_filter_of_django_is_taken_or_left_out_with_a_reason(
    reference: dict[str, str],
) -> None:
    """One that a later Django brings needs a decision here."""
    present = set(defaultfilters.register.filters)
    assert set(DJANGO_FILTERS) | set(LEFT_OUT) == present
    assert not set(DJANGO_FILTERS) & set(LEFT_OUT)
    table = {row[0].strip("`"): row[1] for row in rows(reference["Filters left out"])}
    assert table == {name: str(reason) for name, reason in LEFT_OUT.items()}
    everywhere, html = [codes(row[0]) for row in rows(reference["Filters"])]
    assert everywhere == {name for name, found in DJANGO_FILTERS.items() if not found.html_only}
    assert html == {name for name, found in DJANGO_FILTERS.items() if found.html_only}


def _written(cell: str) -> str:
    return cell.strip("`").replace("\\|", "|")


def _shown(decide: Any, text: str) -> str:
    """Return a result as the reference writes it."""
    try:
        result = decide(text)
    except DjangoFailedError:
        return "error"
    return "error" if isinstance(result, ExpressionError) else repr(result)


def test_every_documented_difference_is_one(reference: dict[str, str]) -> None:
    table = _rows(reference["Differences from Django"])
    assert {row[0] for row in table} >= set(DIFFERENCES)
    with translation.override("de"):
        for what, cell, django, ours, why in table:
            text = _written(cell)
            is_template = "{" in text
            by_django = _render_django if is_template else corpus.by_django
            by_us = _render_us if is_template else corpus.by_us
            assert _shown(by_django, text) == django.strip("`"), what
            assert _shown(by_us, text) == ours.strip("`"), what
            assert why


def _render_django(text: str) -> str:
    return corpus.rendered_by_django(text, html=False)


def _render_us(text: str) -> Any:
    return corpus.rendered_by_us(text, html=False)


def _rows(section: str) -> list[list[str]]:
    """Return the rows of a table whose cells may hold an escaped bar."""
    hidden = rows(section.replace("\\|", "\0"))
    return [[cell.replace("\0", "\\|") for cell in row] for row in hidden]


def test_the_table_of_arithmetic_is_that_of_the_reference(reference: dict[str, str]) -> None:
    kinds = {
        "number": Operand.NUMBER,
        "text": Operand.TEXT,
        "date": Operand.DATE,
        "time": Operand.DATETIME,
        "duration": Operand.DURATION,
    }
    documented = {
        (sign, kinds[left], kinds[right])
        for signs, left, right, _result in rows(reference["Arithmetic"])
        for sign in codes(signs)
    }
    assert documented == set(RULES)


def test_every_way_to_write_a_value_and_every_function_compiles(
    reference: dict[str, str],
) -> None:
    for name in ("Values", "Functions"):
        for row in _rows(reference[name]):
            for text in re.findall(r"`([^`]+)`", row[0]):
                ExpressionParser(text).parse_expression()
    functions = codes("".join(row[0] for row in rows(reference["Functions"])))
    assert {text.partition("(")[0] for text in functions} == set(extensions.function_names())
    builtin = codes("".join(row[0] for row in rows(reference["Filters of the built-in plugin"])))
    known = {*extensions.filter_names(html=True)} - set(DJANGO_FILTERS)
    assert {text.partition(":")[0] for text in builtin} == known
