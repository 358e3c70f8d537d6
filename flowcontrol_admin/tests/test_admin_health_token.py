"""A probe without a login reads health.json with the token of the settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from flowcontrol_admin import health

from .conftest import url

TOKEN = "a long and random text: 0123456789"
pytestmark = pytest.mark.django_db


@pytest.fixture
def token(settings: Settings) -> str:
    settings.FLOWCONTROL = {"HEALTH_TOKEN": TOKEN}
    return TOKEN


def ask(authorization: str | None, method: str = "get", name: str = "flow_health_json") -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return getattr(Client(enforce_csrf_checks=True), method)(url(name), headers=headers)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_is_enough_to_read_health(token: str, scheme: str) -> None:
    response = ask(f"{scheme} {token}")
    assert response.status_code in (200, 503)
    assert set(response.json()) >= {"issues"}
    assert "no-store" in response["Cache-Control"]
    assert ask(f"{scheme} {token}", "head").status_code == response.status_code


@pytest.mark.parametrize(
    "given", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 40, "x" * 100_000]
)
def test_another_token_is_refused_and_not_sent_to_the_login(token: str, given: str) -> None:
    assert ask(f"Bearer {given}".encode().decode("latin-1")).status_code == 403


@pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "Bearer", f"Token {TOKEN}"])
def test_without_a_token_the_address_asks_for_the_login(
    token: str, authorization: str | None
) -> None:
    response = ask(authorization)
    if authorization == "Bearer":
        assert response.status_code == 403
    else:
        assert response.status_code == 302
        assert "/login/" in response["Location"]


@pytest.mark.parametrize("given", ["Bearer ", "Bearer x", "Bearer None"])
def test_without_the_setting_no_token_is_right(given: str) -> None:
    assert ask(given).status_code == 302


def test_the_token_opens_nothing_else(token: str) -> None:
    for name in ("flow_health", "flow_changelist", "flow_plugins", "flowrun_changelist"):
        assert ask(f"Bearer {token}", name=name).status_code == 302
    assert ask(f"Bearer {token}", "post").status_code == 403


def test_the_token_is_enough_where_a_middleware_asks_for_the_login(
    token: str, settings: Settings
) -> None:
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    assert ask(f"Bearer {token}").status_code in (200, 503)
    assert ask(None).status_code == 302


def test_the_comparison_takes_the_same_time_wherever_they_differ(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(health, "constant_time_compare", compare)
    assert ask("Bearer x").status_code == 403
    assert compared == [("x", TOKEN)]
