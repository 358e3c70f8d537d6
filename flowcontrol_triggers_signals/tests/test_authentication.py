"""Logging in: the payload names the user and the client, never a password."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate, user_logged_in, user_login_failed
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from flowcontrol.models import FlowRun

from .conftest import Listen, fired, payloads

pytestmark = pytest.mark.django_db
PASSWORD = "open sesame"


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


def log_in(password: str) -> None:
    data = {"username": "ada", "password": password}
    Client(REMOTE_ADDR="192.0.2.7").post("/admin/login/", data)


def test_logging_in_fires_with_the_user(listen: Listen, user: User) -> None:
    listen("auth.logged_in", condition="object.username == payload.username")
    log_in(PASSWORD)
    run = FlowRun.objects.get()
    assert (run.object_key, run.trigger) == (str(user.pk), "signals.auth.logged_in")
    assert payloads() == [{"username": "ada", "ip_address": "192.0.2.7"}]


def test_failed_login_fires_without_an_object(listen: Listen, user: User) -> None:
    listen("auth.login_failed")
    listen("auth.logged_in")
    log_in("wrong")
    assert fired() == ["auth.login_failed"]
    assert FlowRun.objects.get().object_key is None
    assert payloads() == [{"username": "ada", "ip_address": "192.0.2.7"}]


def test_credentials_are_in_no_payload(listen: Listen) -> None:
    listen("auth.login_failed")
    authenticate(None, username="eve", password="very secret", pin="1234", otp="5678")
    assert payloads() == [{"username": "eve", "ip_address": ""}]


def test_credentials_without_a_name_are_no_error(listen: Listen) -> None:
    listen("auth.login_failed")
    user_login_failed.send(__name__, credentials={"saml": "ticket"}, request=None)
    assert payloads() == [{"username": "", "ip_address": ""}]


def test_name_that_no_database_can_store_is_made_storable(listen: Listen) -> None:
    listen("auth.login_failed")
    request = RequestFactory().post("/")
    name = "a\x00\ud800" + "x" * 500
    user_login_failed.send(__name__, credentials={"username": name}, request=request)
    (payload,) = payloads()
    assert payload["username"].startswith("a?xx")
    assert len(payload["username"]) < 151


def test_login_without_a_request_is_no_error(listen: Listen, user: Any) -> None:
    listen("auth.logged_in")
    user_logged_in.send(type(user), user=user, request=None)
    assert payloads() == [{"username": "ada", "ip_address": ""}]
