"""Column types that behave alike on all databases."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.lookups import Exact, In

from flowcontrol_core import bounds
from flowcontrol_core.texts import BEYOND_THREE_BYTES, UNSTORABLE, storable_text

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class KeyField(models.CharField):  # type: ignore[type-arg]
    """Text that is compared byte by byte, so that equal texts are the same and a prefix is a range.

    MariaDB's default collation holds ``abc``, ``ABC`` and ``abc `` for equal; those of PostgreSQL
    sort by language, where what begins alike need not stand together.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            # The plain binary one ignores spaces at the end.
            is_mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        elif connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


@KeyField.register_lookup
class _KeyExact(Exact):
    """Nothing has a key that no database stores: drivers refuse to ask for it, each in its way."""

    def as_sql(self, *arguments: Any, **options: Any) -> Any:
        key = self.rhs
        if isinstance(key, str) and not key.isidentifier() and UNSTORABLE.search(key):
            raise EmptyResultSet
        return super().as_sql(*arguments, **options)


@KeyField.register_lookup
class _KeyIn(In):
    """Asks for the keys that there can be."""

    def get_prep_lookup(self) -> Any:
        keys = super().get_prep_lookup()
        is_list = isinstance(keys, list | tuple | set | frozenset)
        return [key for key in keys if not UNSTORABLE.search(str(key))] if is_list else keys


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


class _StorableText:
    """Stores texts for people as the database can: without what it refuses, and no longer."""

    max_length: int | None

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)  # type: ignore[misc]
        if not isinstance(value, str):
            return value
        if (
            value.isascii()
            and "\x00" not in value
            and len(value) <= (self.max_length or len(value))
        ):
            return value
        text = storable_text(value, self.max_length)
        if BEYOND_THREE_BYTES.search(text) and not holds_all_characters(connection):
            return BEYOND_THREE_BYTES.sub("?", text)
        return text


class ShortTextField(_StorableText, models.CharField):  # type: ignore[type-arg]
    """A line of text for people, of which the database stores what it can."""


class LongTextField(_StorableText, models.TextField):  # type: ignore[type-arg]
    """A text for people, of which the database stores what it can."""


#: By database: whether it holds all characters. A conversion of its tables needs a new start.
_holds_all: dict[tuple[str, str], bool] = {}
_CHARACTER_SETS = (
    "SELECT @@character_set_client, character_set_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = %s AND column_name = %s"
)


def holds_all_characters(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a database stores all characters: MariaDB's utf8mb3 has none of four bytes."""
    if connection.vendor != "mysql":
        return True
    key = connection.alias, str(connection.settings_dict["NAME"])
    if key not in _holds_all:
        with connection.cursor() as cursor:
            cursor.execute(_CHARACTER_SETS, ["flowcontrol_core_flowrun", "object_text"])
            found = cursor.fetchone()
        if found is None:
            # Nothing is migrated yet.
            return True
        _holds_all[key] = all(name == "utf8mb4" for name in found)
    return _holds_all[key]


class DamagedJson(dict[str, Any]):
    """Stands for JSON that is nested too deeply to be read; it is never to be written back."""


class JsonField(models.JSONField):
    """JSON, on MariaDB too: its own type refuses what is nested beyond 32 levels.

    What another program has nested beyond JSON_DEPTH levels is read as ``DamagedJson``: it would
    exhaust the interpreter, in one row for all that are read with it.
    """

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        # Most columns of most rows are empty.
        if value == "{}":
            return {}
        if value == "[]":
            return []
        # A text has at least as many characters as it has levels.
        if isinstance(value, str) and len(value) > bounds.JSON_DEPTH and _is_too_deep(value):
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
