"""Column types that behave alike on all databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
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


#: The zones of connections that need nothing; ``None``: without USE_TZ.
_UNCHANGED = (UTC, None)


class UtcDateTimeField(models.DateTimeField):  # type: ignore[type-arg]
    """A time that is stored in UTC, whatever ``DATABASES[...]["TIME_ZONE"]`` says.

    Where a database knows no zones Django stores local times of that one: in the hour that comes
    twice each autumn they cannot be told apart, and the database's own time is another one.
    """

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        if not prepared:
            value = self.get_prep_value(value)
        is_local = connection.timezone not in _UNCHANGED
        if value is not None and is_local and not connection.features.supports_timezones:
            # Django then takes the zone away, and leaves the time of UTC.
            value = value.astimezone(UTC).replace(tzinfo=connection.timezone)
        return connection.ops.adapt_datetimefield_value(value)

    def get_db_converters(self, connection: BaseDatabaseWrapper) -> list[Callable[..., Any]]:
        if connection.timezone in _UNCHANGED or connection.features.supports_timezones:
            return []
        return [_read_as_utc]


def _read_as_utc(value: datetime | None, *_: object) -> datetime | None:
    return value and value.replace(tzinfo=UTC)


class JsonField(models.JSONField):
    """JSON of any depth, on MariaDB too: its own type refuses what is nested beyond 32 levels."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "longtext" if connection.vendor == "mysql" else super().db_type(connection)

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        return None if connection.vendor == "mysql" else super().db_check(connection)
