"""Filters and functions of plugins, and those of template libraries that a project opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from django import template
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils.safestring import mark_safe
from pytest_django import Settings

from flowcontrol.expressions import ExpressionFilter, ExpressionFunction
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.checks import check_filters
from flowcontrol_core.errors import ExpressionError, UnknownFilterError
from flowcontrol_core.expressions import compile_expression
from flowcontrol_core.expressions.extensions import opened_filters
from tests.cases import each

HUMANIZE = "django.contrib.humanize.templatetags.humanize"


def spoil(items: list[Any]) -> list[Any]:
    items.clear()
    return items


def fail(value: Any) -> Any:
    raise ValueError(f"no {value}")


ADDED = (
    ExpressionFilter("echo", lambda value: value),
    ExpressionFilter("repeat", lambda text, times=2: text * times),
    ExpressionFilter("glue", lambda first, second: f"{first}{second}"),
    ExpressionFilter("spoil", spoil),
    ExpressionFilter("fail", fail),
    ExpressionFilter("users", lambda _value: User.objects.all()),
    ExpressionFilter("user", lambda _value: User(username="ann")),
    ExpressionFilter("bold", lambda text: mark_safe(f"<b>{text}</b>")),
    ExpressionFunction("pair", lambda first, second=None: [first, second]),
    ExpressionFunction("broken", fail),
)
STATE: dict[str, Any] = {"name": "Ann", "list": [1, 2], "long": "x" * 10_001, "n": 3}


@pytest.fixture
def added() -> Iterator[None]:
    with registry.temporary(filters=ADDED):
        yield


@each(
    ("text", "value"),
    [
        ("name|echo", "Ann"),
        ("name|repeat", "AnnAnn"),
        ("name|repeat:3|lower", "annannann"),
        ("name|glue:(n + 1)", "Ann4"),
        ("name|glue:missing", "AnnNone"),
        ("name|repeat:missing", "AnnAnn"),
        ("list|spoil|length", 0),
        ("pair(1)", [1, None]),
        ("pair(name|lower, list[0])[1]", 1),
        ("pair(pair(n)[0], n * 2)", [3, 6]),
        ("n in pair(3, 4)", True),
        ("name|user", None),
        ("name|test.repeat:3|lower", "annannann"),
        ("test.pair(1, n)[1]", 3),
    ],
)
def test_filters_and_functions_of_a_plugin_are_used(
    added: None, evaluate: Callable[..., Any], text: str, value: object
) -> None:
    assert evaluate(text, state=STATE) == value
    assert STATE["list"] == [1, 2]


@each(
    ("text", "marked", "words"),
    [
        ("name|fail", "fail", 'The filter "fail" failed: ValueError: no Ann'),
        ("broken(n)", "broken", 'The function "broken" failed: ValueError: no 3'),
        ("long|echo", "echo", "too long"),
        ("name|repeat:9999", "repeat", "too long"),
        ("name|users", "users", "None"),
        ("pair(long)", "pair", "too long"),
    ],
)
def test_what_they_do_wrong_is_an_error_with_the_place(
    added: None, evaluate: Callable[..., Any], text: str, marked: str, words: str
) -> None:
    if words == "None":
        assert evaluate(text, state=STATE) is None
        return
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, state=STATE)
    error = caught.value
    assert text[error.position :].startswith(marked)
    assert words in error.message


def test_they_get_what_an_expression_may_see_of_an_object(
    added: None, evaluate: Callable[..., Any], settings: Settings
) -> None:
    payload = {"user": User(pk=7, username="ann"), "session": Session(session_key="LIVE")}
    assert evaluate("payload.user|glue:''", payload=payload) == "7"
    assert evaluate("payload.session|glue:payload.session", payload=payload) == "sessionsession"
    assert "LIVE" not in str(evaluate("pair([payload.session])", payload=payload))
    settings.FLOWCONTROL = {"EXPRESSION_FIELDS": {"auth.user": ["username"]}}
    assert evaluate("payload.user|glue:''", payload=payload) == "ann"


def test_html_of_a_plugin_is_marked_as_such_by_the_plugin(
    added: None, render: Callable[..., str]
) -> None:
    text = "{{ name|bold }}{{ name|glue:mark }}"
    state = {"name": "<i>", "mark": "&"}
    assert render(text, html=True, state=state) == "<b><i></b>&lt;i&gt;&amp;"


@each(
    ("text", "key"),
    [
        ("name|gone", "|gone"),
        ("1 + gone(2)", "gone()"),
        ("name|gone:gone2()", "|gone"),
        ("name|gone.away", "|gone.away"),
        ("gone.away(1)", "gone.away()"),
        ("name|" + "x" * 200, "|" + "x" * 149),
    ],
)
def test_a_missing_one_has_a_key_that_runs_can_wait_for(text: str, key: str) -> None:
    with pytest.raises(UnknownFilterError) as caught:
        compile_expression(text)
    assert caught.value.key == key
    assert "install the plugin" in caught.value.message
    assert not registry.knows(key)
    if len(key) > 50:
        return
    offered: Any = ExpressionFilter if key.startswith("|") else ExpressionFunction
    plugin, _, name = key.strip("|()").rpartition(".")
    with registry.temporary(filters=[offered(name, str.upper)], plugin=plugin or "test"):
        assert registry.knows(key)
    assert not registry.knows(key)


def test_a_name_that_two_plugins_have_belongs_to_neither(evaluate: Callable[..., Any]) -> None:
    mine = ExpressionFilter("echo", lambda value: f"mine: {value}")
    with registry.temporary(filters=[mine], plugin="aaa"):
        assert evaluate("'x'|echo") == "mine: x"
        with registry.temporary(filters=ADDED):
            with pytest.raises(UnknownFilterError, match=r"one you mean: aaa\.echo, test\.echo"):
                compile_expression("'x'|echo")
            assert evaluate("'x'|aaa.echo|test.echo") == "mine: x"


def test_filters_of_a_template_library_are_opened_one_by_one(
    settings: Settings, evaluate: Callable[..., Any]
) -> None:
    settings.FLOWCONTROL = {"EXPRESSION_FILTERS": {HUMANIZE: ["intcomma", "ordinal"]}}
    assert evaluate("n|intcomma", state={"n": 1234567}) == "1,234,567"
    assert evaluate("n|ordinal", state={"n": 3}) == "3rd"
    with pytest.raises(UnknownFilterError, match="naturaltime"):
        compile_expression("now|naturaltime")
    assert opened_filters().faults == ()
    assert check_filters() == []


def test_a_filter_of_a_library_is_told_of_escaping_and_gets_local_time(
    settings: Settings, render: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = template.Library()
    library.filter("hour", lambda at: at.hour, expects_localtime=True)
    library.filter("escaped", lambda _, autoescape: autoescape, needs_autoescape=True)
    module = ModuleType("fake_library")
    module.register = library  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "fake_library", module)
    settings.FLOWCONTROL = {"EXPRESSION_FILTERS": {"fake_library": ["hour", "escaped"]}}
    settings.TIME_ZONE = "Europe/Berlin"
    at = datetime(2025, 1, 1, 12, tzinfo=UTC)
    assert render("{{ at|hour }} {{ at|escaped }}", state={"at": at}) == "13 False"
    assert render("{{ at|escaped }}", html=True, state={"at": at}) == "True"


@each(
    ("opened", "words"),
    [
        ({"no.such.library": ["a"]}, "No module named"),
        ({"math": ["sqrt"]}, "no `register = template.Library()`"),
        ({HUMANIZE: ["intcoma"]}, "Did you mean “intcomma”?"),
        ({"django.template.defaultfilters": ["lower"]}, "a name that is taken"),
        ({"django.template.defaultfilters": ["safe"]}, "a name that is taken"),
    ],
)
def test_what_cannot_be_opened_is_a_warning_and_harms_no_other(
    settings: Settings, opened: dict[str, list[str]], words: str
) -> None:
    settings.FLOWCONTROL = {"EXPRESSION_FILTERS": {**opened, HUMANIZE + "": ["ordinal"]} | opened}
    (warning,) = check_filters()
    assert warning.id == "flowcontrol.W007"
    assert words in warning.msg
    compile_expression("n|abs")


@each(
    ("text", "value"),
    [
        ("-3|abs", 3),
        ("(0 - total)|abs", Decimal("9.995")),
        ("(hours(0) - hours(2))|abs == hours(2)", True),
        ("total|round:2", Decimal("10.00")),
        ("total|round", Decimal(10)),
        ("2.5|round", Decimal(3)),
        ("3|round:1", 3),
        ("min(n, total)", 3),
        ("max(n, total)", Decimal("9.995")),
        ("now + days(1) > now", True),
        ("days(0.5) == hours(12) and hours(1) == minutes(60)", True),
    ],
)
def test_filters_and_functions_of_the_builtin_plugin(
    evaluate: Callable[..., Any], text: str, value: object
) -> None:
    result = evaluate(text, state={"n": 3, "total": Decimal("9.995")})
    assert result == value
    assert type(result) is type(value)


@each("text", ["name|abs", "True|round", "n|round:-1", "n|round:21", "days(name)", "min(n, name)"])
def test_what_they_cannot_do_is_an_error(evaluate: Callable[..., Any], text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(text, state=STATE)
