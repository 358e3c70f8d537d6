"""The triggers of logging in: their payload names the user and the client, never a password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from flowcontrol.registry import Trigger
from flowcontrol_triggers_signals.payloads import plain_text

MAX_NAME = 150
_PAYLOAD = {
    "username": _("the name that was entered"),
    "ip_address": _("the address of the client; empty without a request"),
}

logged_in = Trigger(
    name="auth.logged_in",
    label=_("User logged in"),
    description=_("After a user has logged in."),
    model=settings.AUTH_USER_MODEL.lower(),
    payload=_PAYLOAD,
)
login_failed = Trigger(
    name="auth.login_failed",
    label=_("Login failed"),
    description=_("After an attempt to log in has failed. The run has no object."),
    payload=_PAYLOAD,
)


def connect() -> None:
    """Connect both to Django's signals."""
    uid = "flowcontrol_triggers_signals.authentication"
    user_logged_in.connect(_on_logged_in, weak=False, dispatch_uid=uid)
    user_login_failed.connect(_on_login_failed, weak=False, dispatch_uid=uid)


def _on_logged_in(*, user: Any, request: HttpRequest | None = None, **_: Any) -> None:
    logged_in.fire(user, _payload(user.get_username(), request))


def _on_login_failed(
    *, credentials: Mapping[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    # The credentials may hold any secret of the backend: only the name is taken from them.
    name = credentials.get(get_user_model().USERNAME_FIELD, credentials.get("username", ""))
    login_failed.fire(payload=_payload(name, request))


def _payload(name: Any, request: HttpRequest | None) -> dict[str, str]:
    address = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    return {"username": plain_text(name, MAX_NAME), "ip_address": plain_text(address, MAX_NAME)}
