"""Column types that behave alike on all databases."""

from __future__ import annotations

import re
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol_core import bounds

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class KeyField(models.CharField):  # type: ignore[type-arg]
    """Text that is compared byte by byte, on MariaDB too.

    Its default collation there holds ``abc``, ``ABC`` and ``abc `` for equal.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            # The plain binary one ignores spaces at the end.
            is_mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return parameters


class DamagedJson(dict[str, Any]):
    """Stands for JSON that is nested too deeply to be read; it is never to be written back."""


class JsonField(models.JSONField):
    """JSON, on MariaDB too: its own type refuses what is nested beyond 32 levels.

    What another program has nested beyond JSON_DEPTH levels is read as ``DamagedJson``: it would
    exhaust the interpreter, in one row for all that are read with it.
    """

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if isinstance(value, str) and _is_too_deep(value):
            return DamagedJson()
        return super().from_db_value(value, expression, connection)

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "longtext" if connection.vendor == "mysql" else super().db_type(connection)

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        return None if connection.vendor == "mysql" else super().db_check(connection)


def _is_too_deep(text: str) -> bool:
    """Return whether JSON is nested too deeply; as a rule it is seen at once that it is not."""
    if text.count("[") + text.count("{") <= bounds.JSON_DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(text):
        bracket = found[0]
        if bracket in "[{":
            depth += 1
        elif bracket in "]}":
            depth -= 1
        if depth > bounds.JSON_DEPTH:
            return True
    return False
