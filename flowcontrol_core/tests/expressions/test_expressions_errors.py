"""Errors of expressions: each marks its place and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Scope, compile_expression, compile_template
from tests.cases import each

NOW = datetime(2025, 3, 30, 12, 15, tzinfo=UTC)


def error_of(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    return caught.value


@each(
    ("text", "marked", "words"),
    [
        ("a = 3", "=", '"=="'),
        ("a=3", "=", '"=="'),
        ("a === 3", "===", '"=="'),
        ("a <> 3", "<>", '"!="'),
        ("a => 3", "=>", '">="'),
        ("a && b", "&&", '"and"'),
        ("a || b", "||", '"or"'),
        ("!a", "!", '"not"'),
        ("a ** 2", "**", "no powers"),
        ("a ^ 2", "^", "no powers"),
        ("a // 2", "//", 'Write one "/"'),
        ("a +", "", "ends too early"),
        ("+ a", "+", "A value was expected"),
        ("- 1 2", "2", "An operator may be missing"),
        ("1_000_", "1_000_", "not a number"),
        ("items[0", "[", 'Add a "]"'),
        ("items[]", "]", "A value was expected"),
        ("items[0].", ".", "one dot"),
        ("items[0]._a", "._a", "underscore"),
        ("items]", "]", "never opened"),
        ("['a' 'b']", "[", 'Add a "]"'),
        ("[1, 2", "[", 'Add a "]"'),
        ("(1, 2)", "(", 'Add a ")"'),
        ("_('a')", "_", "not translated"),
        ("dayz(3", "dayz", 'no function "dayz"'),
        ("days(3", "(", 'Add a ")"'),
        ("days()", "days", "days(number)"),
        ("days(1, 2)", "days", "days(number)"),
        ("name|first[0]", "[", "An operator may be missing"),
        ("a ? b", "?", "yesno"),
        ("{{ a }}", "{", "names stand alone"),
        ("name|lowr", "lowr", "Did you mean “lower”?"),
        ("name|zzz", "zzz", "Possible are: abs, add, addslashes, capfirst"),
        ("name|join", "join", "needs an argument"),
        ("name|lower:1", "lower", "takes no argument"),
        ("name|escape", "escape", "for HTML only"),
        ('a == "abc', '"abc', "not closed"),
        ("a == 'abc", "'abc", "not closed"),
        ("a.b. == 1", "a.b.", "one dot"),
        ("5a == 1", "5a", "cannot begin with a digit"),
        ("a == 1.2.3", "1.2.3", "not a number"),
        ("a == 1e999", "1e999", "too large"),
        ("a == true", "true", '"True"'),
        ("a is null", "null", '"None"'),
        ("a b", "b", "An operator may be missing"),
        ("a not b", "not", "An operator may be missing"),
        ("object.save()", "object.save", "cannot be called"),
        ("state.__class__", "state.__class__", "underscore"),
        ("a and", "", "ends too early"),
        ("and a", "and", "A value was expected"),
        ("(a", "(", "not closed"),
        ("a)", ")", "never opened"),
        ("a|", "", "name of a filter"),
        ("a|default:", ":", "Write a value after"),
        ("a @ b", "@", "Remove it"),
    ],
)
def test_error_marks_the_place_and_says_what_to_do(text: str, marked: str, words: str) -> None:
    error = error_of(text)
    assert error.source == text
    assert text[error.position : error.position + error.length] == marked
    assert words in error.message


def test_empty_expression_is_refused() -> None:
    assert "empty" in error_of("  ").message


def test_too_long_expression_is_refused() -> None:
    compile_expression("a" * 1_000)
    error = error_of("a" * 1_001)
    assert "1,000" in error.message
    assert (error.position, error.length) == (1_000, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not " * 2_000 + "a", "8,001 characters"),
        ("not " * 60 + "a", "more than 50 levels"),
        ("(" * 400 + "a" + ")" * 400, "more than 50 levels"),
        ("1" + "<1" * 400, "More than 200 operators"),
        ("(" * 9 + "1" + ("+1" * 49 + ")") * 9, "More than 200 operators"),
    ],
    ids=["2000 nots", "60 nots", "brackets", "comparisons", "rows in brackets"],
)
def test_too_deep_expression_is_refused(text: str, words: str) -> None:
    assert words in error_of(text).message


def test_long_row_of_conditions_is_not_deep(evaluate: Callable[..., Any]) -> None:
    assert evaluate(" or ".join(["a"] * 150 + ["b"]), state={"b": 1})
    assert evaluate(" or ".join(["a==1"] * 124)) is False
    assert evaluate("1" + "+1" * 199) == 200
    assert evaluate("|".join(["b", *["upper"] * 150]), state={"b": "x"}) == "X"


def test_error_of_a_filter_marks_the_filter(evaluate: Callable[..., Any]) -> None:
    text = 'a == 1 or name|ljust:"x"'
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, state={"name": "Ann"})
    error = caught.value
    assert text[error.position :].startswith("ljust")
    assert "whole number" in error.message


def test_error_in_a_template_is_placed_in_the_whole_template() -> None:
    text = "Dear {{ object.name }},\n{% if a = 3 %}x{% endif %}"
    with pytest.raises(ExpressionError) as caught:
        compile_template(text)
    assert caught.value.source == text
    assert caught.value.position == text.index("=")


@given(st.text(alphabet="ab1. |:()\"'<>=!-notiandr_{}%#\\\né", max_size=60))
@example("\\")
def test_any_text_compiles_or_is_an_expression_error(text: str) -> None:
    """Whatever is typed, nothing but an ExpressionError with a place inside the text."""
    for compile_text in (compile_expression, compile_template):
        error = _error_of_running(compile_text, text)
        if error is not None:
            assert error.message
            assert 0 <= error.position <= len(text)
            assert error.position + error.length <= len(text)


def _error_of_running(compile_text: Callable[[str], Any], text: str) -> ExpressionError | None:
    scope = Scope(state={"a": 1, "b": "x"}, now=NOW)
    try:
        compiled = compile_text(text)
        compiled.evaluate(scope)
    except ExpressionError as error:
        return error
    return None
