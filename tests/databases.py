"""The databases that the tests run on: which one, where, and how it is reached.

`FLOWCONTROL_TEST_DATABASE` chooses the database of a test run; CONTRIBUTING.md lists every variable.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any


class Database(StrEnum):
    """The values of `FLOWCONTROL_TEST_DATABASE`."""

    SQLITE = "sqlite"  # in memory
    SQLITE_FILE = "sqlite_file"
    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"


SQLITE_OPTIONS: dict[str, Any] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}
SQLITE_FILE_OPTIONS: dict[str, Any] = {
    **SQLITE_OPTIONS,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def chosen_database() -> Database:
    """The database of this test run.

    Raises ValueError for a name that is none of `Database`.
    """
    return Database(os.environ.get("FLOWCONTROL_TEST_DATABASE") or Database.SQLITE)


def database_settings(database: Database, name: str | None = None) -> dict[str, Any]:
    """One entry of Django's `DATABASES`.

    `name` is a database on the server, or the path of a SQLite file. Without it, the server's
    default one, beside which Django creates its `test_` database.
    """
    match database:
        case Database.SQLITE:
            return _sqlite(name or ":memory:", SQLITE_OPTIONS, test_name=None)
        case Database.SQLITE_FILE:
            path = name or "flowcontrol.sqlite3"
            return _sqlite(path, SQLITE_FILE_OPTIONS, test_name=f"test_{path}")
        case Database.POSTGRESQL:
            return _postgresql(name)
        case Database.MARIADB:
            return _mariadb(name)


def _sqlite(name: str, options: dict[str, Any], test_name: str | None) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "OPTIONS": options,
        "TEST": {"NAME": test_name},
    }


def _postgresql(name: str | None) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("FLOWCONTROL_POSTGRESQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("FLOWCONTROL_POSTGRESQL_PORT", "5432"),
        "USER": os.environ.get("FLOWCONTROL_POSTGRESQL_USER", "postgres"),
        "PASSWORD": os.environ.get("FLOWCONTROL_POSTGRESQL_PASSWORD", ""),
        "NAME": name or "flowcontrol",
    }


def _mariadb(name: str | None) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": os.environ.get("FLOWCONTROL_MARIADB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("FLOWCONTROL_MARIADB_PORT", "3306"),
        "USER": os.environ.get("FLOWCONTROL_MARIADB_USER", "root"),
        "PASSWORD": os.environ.get("FLOWCONTROL_MARIADB_PASSWORD", ""),
        "NAME": name or "flowcontrol",
        "OPTIONS": {"charset": "utf8mb4", "connect_timeout": 5},
        "TEST": {"CHARSET": "utf8mb4"},
    }
