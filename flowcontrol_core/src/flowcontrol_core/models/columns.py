"""Column types that behave alike on all databases."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


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


class JsonField(models.JSONField):
    """JSON of any depth, on MariaDB too: its own type refuses what is nested beyond 32 levels."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "longtext" if connection.vendor == "mysql" else super().db_type(connection)

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        return None if connection.vendor == "mysql" else super().db_check(connection)
