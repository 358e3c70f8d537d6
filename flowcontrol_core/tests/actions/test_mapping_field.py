"""The field for assignments: lines ``key: expression``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ValidationError

from flowcontrol.forms import MappingField
from flowcontrol_core.actions.config import bind, initial_values, read_config, to_stored
from flowcontrol_core.bounds import MAPPING_LINES
from flowcontrol_core.expressions import Scope
from tests.cases import each

NOW = datetime(2024, 6, 3, 10, tzinfo=UTC)


class Form(forms.Form):
    output = MappingField(required=False)


class Lazy(Scope):
    """A scope whose object must not be loaded."""

    @property
    def obj(self) -> Any:
        raise AssertionError("the object was loaded")

    def __init__(self, **state: Any) -> None:
        self.state, self.now, self.payload, self.variables = state, NOW, None, {}


def stored(text: str) -> dict[str, Any]:
    form = Form({"output": text})
    assert form.is_valid(), form.errors
    return to_stored(form)


def bound(scope: Scope, **expressions: str) -> Any:
    lines = "\n".join(f"{key}: {expression}" for key, expression in expressions.items())
    return bind(Form, read_config(Form, stored(lines), UTC)).at(scope)


def test_it_is_stored_as_an_object_and_edited_as_lines() -> None:
    kept = stored("a: 1\n\n  b :state.x|default:'p: q'\r\n")
    assert kept == {"output": {"a": "1", "b": "state.x|default:'p: q'"}}
    assert initial_values(Form, kept, UTC) == {"output": "a: 1\nb: state.x|default:'p: q'"}
    assert read_config(Form, kept, UTC) == kept


def test_the_action_gets_a_function_and_gives_it_further_names() -> None:
    config = bound(Lazy(m=1, result={"n": 9}), a="result.n|add:m", b="m")
    assert config.output(result={"n": 2}) == {"a": 3, "b": 1}
    assert config.output() == {"a": 10, "b": 1}
    assert config.source("output") == {"a": "result.n|add:m", "b": "m"}


def test_without_lines_there_are_no_values() -> None:
    assert bound(Lazy()).output() == {}
    config: Any = bind(Form, read_config(Form, {}, UTC)).at(Lazy())
    assert config.output() == {}


@each(
    ("text", "said"),
    [
        ("a", "Line 1: write a key, a colon and an expression."),
        ("a: 1\nb:", "Line 2: write a key"),
        (": 1", "Line 1: “” is not a key"),
        ("a b: 1", "Line 1: “a b” is not a key"),
        ("1a: 1", "is not a key"),
        ("_a: 1", "is not a key"),
        (f"{'a' * 101}: 1", "is not a key"),
        ("now: 1", "“now” has a meaning of its own"),
        ("a: 1\n\na: 2", "Line 3: the key “a” stands in another line too."),
        ("a: 1\nb: x ==", "Line 2: "),
        ("a: x|nosuch", "(at character 3: 'nosuch')"),
        (f"a: {'x' * 1001}", "Line 1: the expression is too long."),
        ("a: 50 50%", "Line 1: "),
        ("\n".join(f"a{n}: 1" for n in range(MAPPING_LINES + 1)), "more than 100 lines"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MappingField().clean(text)
    assert said in caught.value.messages[0]


def test_a_stored_value_that_is_none_is_refused_not_raised() -> None:
    form = Form({"output": ["x"]})
    assert form.errors["output"]
