"""Bait for attacks: a scope full of what they are after, and what tells that it was touched."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Model
from django.utils.functional import SimpleLazyObject

from flowcontrol_core.expressions import Scope

NOW = datetime(2025, 3, 30, 12, 15, tzinfo=UTC)
PASSWORD_HASH = "md5$PASSWORD-HASH"
SESSION_KEY = "LIVE-SESSION-KEY"
SECRETS = (PASSWORD_HASH, "PASSWORD-HASH", SESSION_KEY, "DJANGO-SECRET", "ann@example.com")
#: The columns of the bait that no expression may read, and the methods that none may call.
HIDDEN = {User: ("password", "email"), Session: ("session_key", "session_data")}
METHODS = {
    User: ("delete", "save", "set_password", "email_user", "check_password", "has_perm",
           "get_session_auth_hash", "get_full_name", "get_all_permissions"),
    Session: ("delete", "save", "get_decoded"),
    LogEntry: ("delete", "save", "refresh_from_db", "get_edited_object", "get_change_message"),
}  # fmt: skip
#: What may come out of an expression: nothing of the machine is among it.
PLAIN = (bool, int, float, Decimal, str, type(None), datetime, date, time, timedelta)


class Color(enum.Enum):
    """A member of it is a harmless value."""

    RED = "red"


class Hostile:
    """Whatever is done with it is a call of its code."""

    def __init__(self, touched: list[str]) -> None:
        self.__dict__["touched"] = touched

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            self.touched.append(f"getattr {name}")
        raise AttributeError(name)

    def __call__(self, *_: Any) -> str:
        self.touched.append("call")
        return SESSION_KEY

    def __getitem__(self, key: object) -> str:
        self.touched.append("getitem")
        return SESSION_KEY

    def __iter__(self) -> Iterator[str]:
        self.touched.append("iter")
        return iter([SESSION_KEY])

    def __contains__(self, item: object) -> bool:
        self.touched.append("contains")
        return True


class Bait:
    """A scope, and what attacks have touched."""

    def __init__(self) -> None:
        self.touched: list[str] = []
        user = User.objects.create(username="ann", password=PASSWORD_HASH, email="ann@example.com")
        user.groups.add(Group.objects.create(name="staff"))
        LogEntry.objects.create(
            user=user,
            content_type=ContentType.objects.get_for_model(User),
            object_id=str(user.pk),
            object_repr="ann",
            action_flag=1,
        )
        Session.objects.create(session_key=SESSION_KEY, session_data=PASSWORD_HASH, expire_date=NOW)

    def scope(self) -> Scope:
        """Return a scope whose values no attack has touched."""
        entry = LogEntry.objects.select_related("user").get()
        payload = self._payload(entry.user, Session.objects.get())
        return Scope(obj=entry, state=state(), payload=payload, now=NOW)

    def _payload(self, user: User, session: Session) -> dict[str, Any]:
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        cyclic_too: list[Any] = []
        cyclic_too.append(cyclic_too)
        return {
            "user": user,
            "users": [user],
            "lazy": SimpleLazyObject(lambda: user),
            "queryset": User.objects.all(),
            "manager": User.objects,
            "session": session,
            "sessions": [session],
            "nested": {"session": session},
            "function": self._function,
            "callable": Hostile(self.touched),
            "hostile": Hostile(self.touched),
            "type": Color,
            "enum": Color.RED,
            "module": sys.modules["os"],
            "settings": settings,
            "exception": ValueError("x"),
            "endless": self._endless(),
            "cyclic": cyclic,
            "cyclic_too": cyclic_too,
            "decimal": Decimal("1e90"),
            "number": 10**4_000,
            "list": [1, 2, 3],
            "text_of_mine": type("Text", (str,), {"upper": self._function})("a"),
            "script": "<script>alert(1)</script>",
            "path": "/etc/passwd",
        }

    def _function(self, *_: Any) -> str:
        self.touched.append("function")
        return SESSION_KEY

    def _endless(self) -> Iterator[int]:
        while True:
            self.touched.append("endless")
            yield 1

    @contextmanager
    def watched(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Note each read of a hidden column, each call of a method, and each write."""
        with patch.context() as patches:
            for model, columns in HIDDEN.items():
                for name in columns:
                    patches.setattr(model, name, _Watched(name, self.touched))
            for model, methods in METHODS.items():
                for name in methods:
                    patches.setattr(model, name, self._called(name))
            with connection.execute_wrapper(self._note_writes):
                yield

    def _called(self, name: str) -> Callable[..., None]:
        def method(*_: Any, **__: Any) -> None:
            self.touched.append(f"called {name}")

        return method

    def _note_writes(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if not sql.startswith("SELECT"):
            self.touched.append(sql)
        return execute(sql, *rest)


class _Watched:
    """Stands for a column of a model, and notes who reads it."""

    def __init__(self, name: str, touched: list[str]) -> None:
        self.name, self.touched = name, touched

    def __get__(self, instance: Model | None, owner: type[Model]) -> Any:
        if instance is None:
            return self
        self.touched.append(f"read {owner.__name__}.{self.name}")
        return instance.__dict__[self.name]

    def __set__(self, instance: Model, value: Any) -> None:
        instance.__dict__[self.name] = value


def state() -> dict[str, Any]:
    """Return the state of the scope: small, long, deep and wide values."""
    deep: list[Any] = []
    deep_too: list[Any] = []
    for _level in range(90):
        deep, deep_too = [deep], [deep_too]
    return {
        "name": "name",
        "list": list(range(100)),
        "numbers": list(range(1_000)),
        "items": [{"name": "pen"}],
        "bomb": "x" * 1_000,
        "long": "y" * 20_000,
        "needle": "y" * 9_999 + "z",
        "tags": "<a>" * 3_000,
        "brackets": ("<" * 49 + "a" + ">" * 49) * 90,
        "big": [list(range(5_000))],
        "big_too": [list(range(5_000))],
        "deep": deep,
        "deep_too": deep_too,
    }


def is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether a value is data; a model object itself is what an action is handed."""
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(item, depth + 1) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(item, depth + 1) for item in value)
    return isinstance(value, (*PLAIN, Model))
