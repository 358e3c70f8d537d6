"""Values in payloads: JSON, bounded, without secrets."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import models
from django.test.utils import isolate_apps

from flowcontrol.redaction import is_secret_field
from flowcontrol.testing import flow, run_flow
from flowcontrol_triggers_signals.fields import compared_fields, shown_fields
from flowcontrol_triggers_signals.model_triggers import describe
from flowcontrol_triggers_signals.payloads import payload_value
from tests.cases import each


class Unprintable:
    def __str__(self) -> str:
        raise ValueError


@each(
    "value",
    [None, True, 7, 0.5, "text", Decimal("1.50"), date(2026, 1, 2), time(3, 4), timedelta(5)],
)
def test_plain_values_stay_what_they_are(value: Any) -> None:
    assert payload_value(value) == value
    assert type(payload_value(value)) is type(value)


KEY = uuid.UUID(int=1)


@each(
    ("value", "expected"),
    [
        (KEY, str(KEY)),
        (b"abc", "(3 bytes)"),
        (memoryview(b"abc"), "(3 bytes)"),
        (float("nan"), "nan"),
        (Decimal("NaN"), "NaN"),
        (time(3, 4, tzinfo=UTC), "03:04:00+00:00"),
        ("x" * 5_000, "x" * 1_000),
        ("a\x00b\ud800", "ab?"),
        ((1, 2), [1, 2]),
        ({"a": {"password": "x", "b": KEY}}, {"a": {"b": str(KEY)}}),
        ([[[[[[1]]]]]], [[[[["[1]"]]]]]),
        (list(range(500)), list(range(100))),
        (Unprintable(), "(Unprintable)"),
    ],
)
def test_other_values_become_json(value: Any, expected: Any) -> None:
    assert payload_value(value) == expected


@each(
    "value",
    [10**5_000, -(10**5_000), datetime(2026, 1, 2, tzinfo=UTC), {1: {2: 3}}, "\ud800"],
)
def test_every_value_it_returns_can_be_fired(value: Any) -> None:
    assert run_flow(flow(), payload={"old": payload_value(value)}).outcome == "complete"


@each(
    "name",
    ["password", "api_token", "secret_answer", "session_data", "key", "api_key", "apiKey", "otp"],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_field(name)


@each("name", ["name", "keyboard", "option", "topic", "keynote", "status"])
def test_other_names_are_not_secrets(name: str) -> None:
    assert not is_secret_field(name)


def test_key_that_is_a_secret_itself_is_not_shown() -> None:
    payload = describe(Session(session_key="hidden", session_data="hidden"), Session)
    assert payload["key"] == ""
    assert "hidden" not in str(payload["fields"])


@isolate_apps("tests.shop")
def test_reference_to_a_secret_key_is_not_shown() -> None:
    class Visit(models.Model):  # noqa: DJ008
        visited = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
        page = models.CharField(max_length=10)

        class Meta:
            app_label = "shop"

    assert [field.name for field in shown_fields(Visit)] == ["id", "page"]


@isolate_apps("tests.shop")
def test_what_every_save_sets_anew_is_not_compared() -> None:
    class Stamped(models.Model):  # noqa: DJ008
        saved_at = models.DateTimeField(auto_now=True)
        made_at = models.DateTimeField(auto_now_add=True)

        class Meta:
            app_label = "shop"

    assert [field.name for field in compared_fields(Stamped)] == ["made_at"]


def test_password_of_a_user_is_not_compared() -> None:
    assert "password" not in [field.name for field in compared_fields(User)]
