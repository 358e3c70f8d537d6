"""The check of names at publish."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from pytest_django import Settings

from flowcontrol_core.expressions import check_names, compile_expression, compile_template
from tests.cases import each


@pytest.fixture(autouse=True)
def _listed_users(settings: Settings) -> None:
    settings.FLOWCONTROL = {"EXPRESSION_FIELDS": {"auth.user": ["username", "date_joined"]}}


@each(
    ("text", "words"),
    [
        ("object.object_reprr", "Did you mean “object_repr”?"),
        ("obj.object_reprr", "obj.object_reprr"),
        ("object.zzz", "is not a field of admin.logentry."),
        ("object.user.usernam", "Did you mean “username”?"),
        ("object.user.password", "hidden"),
        ("object.user.email", 'EXPRESSION_FIELDS"] for "auth.user"'),
        ("object.user.groups", "only fields and relations to one object"),
        ("object.user.logentry", "only fields and relations to one object"),
        ("object.user.username.upper", 'not visible of "username"'),
        ("object.user.date_joined.yeer", "Possible are: date, day, hour"),
        ("object.content_type.model", "Possible are: id, pk"),
        ("object.save", "is not a field"),
        ("object.user_id.x", "not visible"),
    ],
)
def test_unknown_or_hidden_field_is_reported(text: str, words: str) -> None:
    (problem,) = check_names(compile_expression(text), model=LogEntry)
    assert words in problem
    assert text in problem


@each(
    "text",
    [
        "object",
        "object.pk",
        "object.object_repr",
        "object.get_action_flag_display",
        "object.user",
        "object.user_id",
        "object.user.pk",
        "object.user.username",
        "object.user.date_joined.year",
        "object.content_type",
        "object.content_type.pk",
        "state.anything and something",
        "now.hour > 3 and payload.x.y",
    ],
)
def test_known_name_is_not_reported(text: str) -> None:
    assert check_names(compile_expression(text), model=LogEntry) == []


def test_names_of_a_template_are_checked_too() -> None:
    compiled = compile_template("{% for a in object.userr %}{{ a.b }}{% endfor %}{{ trys }}")
    problems = check_names(compiled, model=LogEntry, state_names=["tries"])
    assert len(problems) == 2
    assert "Did you mean “user”?" in problems[0]
    assert "Did you mean “tries”?" in problems[1]


def test_state_is_checked_only_if_its_names_are_known() -> None:
    compiled = compile_expression("state.trys == 1 and tries == objekt.total")
    assert check_names(compiled, model=User) == []
    problems = check_names(compiled, model=User, state_names=["tries"])
    assert [problem.split('"')[1] for problem in problems] == ["objekt", "trys"]
    assert "Did you mean “object”?" in problems[0]
    assert "Did you mean “tries”?" in problems[1]


def test_fields_are_not_checked_without_a_model() -> None:
    assert check_names(compile_expression("object.zzz"), model=None) == []


def test_hidden_names_are_never_suggested() -> None:
    (problem,) = check_names(compile_expression("object.emial"), model=User)
    assert "email" not in problem
