"""The databases that the tests run on: which one, where, and how it is reached.

`FLOWCONTROL_TEST_DATABASE` chooses the database of a test run; CONTRIBUTING.md lists all variables.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.db.utils import ConnectionHandler

ROOT = Path(__file__).resolve().parent.parent


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
            path = Path(name or "flowcontrol.sqlite3")
            test_name = str(path.with_name(f"test_{path.name}"))
            return _sqlite(str(path), SQLITE_FILE_OPTIONS, test_name)
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


@contextmanager
def connect_to_server(database: Database) -> Iterator[Any]:
    """Open a plain driver connection, in autocommit, to none of the databases in particular.

    Raises django.db.utils.Error or ImproperlyConfigured when that is not possible.
    """
    settings = database_settings(database) | {"NAME": ""}
    if database is Database.POSTGRESQL:
        settings["NAME"] = "postgres"
    wrapper = ConnectionHandler({"default": {}, "server": settings})["server"]
    # Past Django's own connect(): pytest-django guards it, and this is no test's database access.
    with wrapper.wrap_database_errors:
        connection = wrapper.get_new_connection(wrapper.get_connection_params())
    if database is Database.POSTGRESQL:
        connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


@dataclass(frozen=True, kw_only=True)
class ScratchDatabase:
    """An empty database of its own, for a test that runs several processes on it."""

    database: Database
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which a process with `tests.settings` uses this database."""
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "FLOWCONTROL_TEST_DATABASE": self.database,
            "FLOWCONTROL_TEST_DATABASE_NAME": self.name,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python on this database and wait for it.

        Raises CalledProcessError, with the output in its notes, when it fails.
        """
        finished = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            finished.check_returncode()
        except subprocess.CalledProcessError as error:
            error.add_note(finished.stdout + finished.stderr)
            raise
        return finished

    def migrate(self) -> None:
        """Create the tables, those of the test apps too."""
        self.python("-m", "django", "migrate", "--run-syncdb", "--verbosity=0")


@contextmanager
def scratch_database(
    database: Database, folder: Path, *, label: str = "scratch"
) -> Iterator[ScratchDatabase]:
    """Create a database, and drop it at the end. `folder` is for the file of a SQLite one.

    `label` is part of its name, so that a test run can have several.
    """
    if database is Database.SQLITE_FILE:
        yield ScratchDatabase(database=database, name=str(folder / f"{label}.sqlite3"))
        return
    name = f"flowcontrol_{label}_{os.getpid()}"
    _execute_on_server(database, f"DROP DATABASE IF EXISTS {name}")
    _execute_on_server(database, f"CREATE DATABASE {name} {_CREATE_OPTIONS[database]}")
    try:
        yield ScratchDatabase(database=database, name=name)
    finally:
        _execute_on_server(database, f"DROP DATABASE {name} {_DROP_OPTIONS[database]}")


# Processes that a test killed may still be connected when their database is dropped.
_DROP_OPTIONS = {Database.POSTGRESQL: "WITH (FORCE)", Database.MARIADB: ""}
_CREATE_OPTIONS = {Database.POSTGRESQL: "", Database.MARIADB: "CHARACTER SET utf8mb4"}


def _execute_on_server(database: Database, statement: str) -> None:
    with connect_to_server(database) as server:
        server.cursor().execute(statement)
