"""Whether an app's tables are as its models need them: which of its migrations are not applied.

A plugin that was installed or upgraded without ``migrate`` is not at fault, and neither are the
runs that reach it: they wait for its migrations.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final, NamedTuple, TypeAlias

from django.apps import AppConfig, apps
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate

from flowcontrol_core.errors import UnmigratedError, causes, raise_interruption

#: A migration: the label of its app, and its name.
_Key: TypeAlias = tuple[str, str]
#: What PostgreSQL, MariaDB and SQLite say of a table or a column that does not exist.
_SQLSTATES: Final = frozenset({"42P01", "42703"})
_MARIADB: Final = frozenset({1054, 1146})
_SQLITE: Final = re.compile(r"no such (table|column)|has no column named")
#: A column without its table, as MariaDB and SQLite name those that are written.
_COLUMN: Final = re.compile(r"(?:unknown column|no such column:) '?(\w+)(?!\w*\.)", re.IGNORECASE)
#: The time in seconds for which an app that was found migrated is not asked about again.
_KNOWN_FOR: Final = 5.0
_SHOWN: Final = 3


class Unmigrated(NamedTuple):
    """The migrations of an app that are not applied to a database that its models are written to.

    ``app`` is the label of the app, ``database`` an alias.
    """

    app: str
    database: str
    migrations: tuple[str, ...]

    @property
    def command(self) -> str:
        """Return what applies them."""
        option = "" if self.database == DEFAULT_DB_ALIAS else f" --database={self.database}"
        return f"manage.py migrate {self.app}{option}"

    @property
    def names(self) -> str:
        """Return the names of the first of them."""
        more = ", …" if len(self.migrations) > _SHOWN else ""
        return ", ".join(self.migrations[:_SHOWN]) + more

    @property
    def error(self) -> UnmigratedError:
        """Return the error that says so."""
        return UnmigratedError(self.app, self.names, self.command)


def app_of(module: str) -> str:
    """Return the label of the app that a module belongs to; empty for a module of no app."""
    config = apps.get_containing_app_config(module)
    return config.label if config else ""


def find_unmigrated(labels: Iterable[str]) -> dict[str, Unmigrated]:
    """Return, by their labels, the apps with migrations that are not applied.

    Asks each database once that they are written to; what it raises is raised on. Apps without
    migrations are not asked about, and neither are those that are not installed.
    """
    asked: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for label in dict.fromkeys(labels):
        config = apps.app_configs.get(label)
        if config is not None and (names := _on_disk(config)):
            for database in _databases(config):
                asked[database][label] = names
    found: dict[str, Unmigrated] = {}
    for database, names_by_app in asked.items():
        applied = _applied(database)
        for label, names in names_by_app.items():
            if missing := _missing(label, names, applied):
                found.setdefault(label, Unmigrated(label, database, missing))
    return found


def _applied(database: str) -> Mapping[_Key, Any]:
    """Return the applied migrations; where that fails, a transaction around it is as before."""
    wrapper = connections[database]
    with transaction.atomic(using=database) if wrapper.in_atomic_block else nullcontext():
        return MigrationRecorder(wrapper).applied_migrations()


def require_migrated(code: object) -> None:
    """Raise UnmigratedError where the app of an action or a trigger has unapplied migrations.

    ``code`` is an instance or a class of a plugin. Where the database does not answer, nothing is
    raised: whatever needs it says so.
    """
    label = app_of((code if isinstance(code, type) else type(code)).__module__)
    # Without the tables of the core there would be no step to ask for.
    if label not in ("", "flowcontrol_core") and (found := _unmigrated_lately(label)):
        raise found.error


def explain(error: BaseException, module: str = "") -> UnmigratedError | None:
    """Return an error that names unapplied migrations, where they are why another was raised.

    They are those of an app with a table that the database has missed, or a column of it, or, for
    any error of a database, of the app of the module. The database is asked only then, and not
    inside of what the error has rolled back.
    """
    errors = [each for each in causes(error) if isinstance(each, DatabaseError)]
    labels = [label for each in errors for label in (app_of(module), *_apps_named(each)) if label]
    try:
        found = [*find_unmigrated(labels).values()] if labels else []
        return found[0].error if found else None
    except BaseException as problem:  # noqa: BLE001 - then the error stands for itself
        raise_interruption(problem)
        return None


def connect() -> None:
    """Notice when this process migrates."""
    post_migrate.connect(_forget, dispatch_uid="flowcontrol.tables")


def _apps_named(error: DatabaseError) -> Iterator[str]:
    """Yield the apps with tables that an error names which is about what does not exist."""
    state = getattr(error.__cause__, "sqlstate", None)
    number = error.args[0] if error.args else None
    text = str(error)
    if state in _SQLSTATES or number in _MARIADB or _SQLITE.search(text):
        words, column = {*re.findall(r"\w+", text)}, _COLUMN.search(text)
        for config in apps.get_app_configs():
            for model in config.get_models(include_auto_created=True):
                # Such a name may be a schema and a table, in quotes.
                table = re.findall(r"\w+", model._meta.db_table)[-1:]
                columns = (field.column for field in model._meta.local_concrete_fields)
                if words.issuperset(table) or (column and column[1] in columns):
                    yield config.label


#: Until when, in monotonic time, an app counts as migrated: by its label, and by the aliases, names
#: and schemas of the databases that it is written to.
_migrated: dict[tuple[str, ...], float] = {}


def _forget(**_: Any) -> None:
    _migrated.clear()


def _unmigrated_lately(label: str) -> Unmigrated | None:
    try:
        key = (label, *map(_shown_by, sorted(_databases(apps.app_configs[label]))))
        if _migrated.get(key, 0.0) > time.monotonic():
            return None
        found = find_unmigrated([label]).get(label)
    except BaseException as error:  # noqa: BLE001 - a plugin's code, and any database
        raise_interruption(error)
        return None
    if found is None:
        _migrated[key] = time.monotonic() + _KNOWN_FOR
    return found


def _shown_by(alias: str) -> str:
    """Return whose tables the connection of an alias shows."""
    database: Any = connections[alias]
    return f"{alias} {database.settings_dict['NAME']} {getattr(database, 'schema_name', '')}"


def _databases(config: AppConfig) -> frozenset[str]:
    """Return the aliases of the databases that the models of an app are written to."""
    models = [model for model in config.get_models() if model._meta.managed]
    written = {(router.db_for_write(model), model) for model in models}
    allowed = {alias for alias, model in written if router.allow_migrate_model(alias, model)}
    if not models and router.allow_migrate(DEFAULT_DB_ALIAS, config.label):
        allowed = {DEFAULT_DB_ALIAS}
    return frozenset(allowed & {*connections.settings})


def _on_disk(config: AppConfig) -> tuple[str, ...]:
    """Return the names of the migrations of an app; none where it has none, or does without."""
    name, _explicit = MigrationLoader.migrations_module(config.label)
    if name is None:
        return ()
    try:
        found = [*iter_modules(getattr(import_module(name), "__path__", ()))]
    except BaseException as error:  # noqa: BLE001 - there is none, or a plugin's code is broken
        raise_interruption(error)
        return ()
    return tuple(each.name for each in found if not each.ispkg and each.name[0] not in "_~")


def _missing(label: str, names: Iterable[str], applied: Mapping[_Key, Any]) -> tuple[str, ...]:
    """Return the migrations that are to be applied, those that were squashed as Django does it."""
    if all((label, name) in applied for name in names):
        return ()
    package, _explicit = MigrationLoader.migrations_module(label)
    replaces = {(label, name): _replaced_by(f"{package}.{name}") for name in names}

    def is_applied(key: _Key) -> bool:
        replaced = replaces.get(key)
        return key in applied or (bool(replaced) and all(map(is_applied, replaced or ())))

    def is_begun(key: _Key) -> bool:
        return key in applied or any(map(is_begun, replaces.get(key, ())))

    settled: set[_Key] = set()
    for key, replaced in replaces.items():
        if is_applied(key):
            settled.update(replaced)
        elif replaced:
            # Django applies the rest of those that it replaces, or itself where none is applied.
            settled.update([key] if is_begun(key) else replaced)
    return tuple(key[1] for key in replaces if not is_applied(key) and key not in settled)


def _replaced_by(module: str) -> list[_Key]:
    """Return the migrations that the one in a module was squashed from."""
    try:
        return [tuple(key) for key in import_module(module).Migration.replaces]
    except BaseException as error:  # noqa: BLE001 - a plugin's code: `migrate` says what is wrong
        raise_interruption(error)
        return []
