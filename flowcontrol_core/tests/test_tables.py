"""Which migrations are not applied: read from the disk and the database, squashed ones too."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, ProgrammingError, router
from django.db.migrations.recorder import MigrationRecorder

from flowcontrol_core import tables
from flowcontrol_core.errors import ExpressionError, UnmigratedError
from tests.shop.models import Customer

Migrations = Callable[..., None]
MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    replaces = {replaces!r}
"""


@pytest.fixture
def disk(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Migrations:
    """Make migrations of the app ``shop``: by name, each with those that it replaces."""

    def write(**replaces: list[str]) -> None:
        folder = tmp_path / "shop_migrations"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "_helpers.py").write_text("raise RuntimeError")
        for name, replaced in replaces.items():
            keys = [("shop", each) for each in replaced]
            (folder / f"{name}.py").write_text(MIGRATION.format(replaces=keys))
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.startswith("shop_migrations")]:
            monkeypatch.delitem(sys.modules, name)
        settings.MIGRATION_MODULES = {"shop": "shop_migrations"}

    return write


@pytest.fixture
def apply(monkeypatch: pytest.MonkeyPatch) -> Migrations:
    """Have the database answer that these migrations of ``shop`` are applied."""

    def record(*names: str) -> None:
        tables._forget()
        applied = {("shop", name): None for name in names}
        monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda _self: applied)

    return record


def missing() -> tuple[str, ...]:
    found = tables.find_unmigrated(["shop"])
    return found["shop"].migrations if found else ()


def test_an_app_without_migrations_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_self: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(MigrationRecorder, "applied_migrations", ask)
    assert tables.find_unmigrated(["shop", "not_installed", ""]) == {}
    tables.require_migrated(Customer)


def test_what_is_not_applied_is_named_in_order(disk: Migrations, apply: Migrations) -> None:
    disk(m1=[], m2=[], m3=[])
    for applied, expected in (
        ([], ("m1", "m2", "m3")),
        (["m1"], ("m2", "m3")),
        (["m1", "m2", "m3", "of_an_older_version"], ()),
    ):
        apply(*applied)
        assert missing() == expected


def test_squashed_migrations_count_as_django_counts_them(
    disk: Migrations, apply: Migrations
) -> None:
    disk(m1=[], m2=[], s1=["m1", "m2"], s2=["s1"], m3=[])
    for applied, expected in (
        (["m1", "m2", "m3"], ()),
        (["s1", "m3"], ()),
        (["s2", "m3"], ()),
        (["m1", "m2"], ("m3",)),
        (["m1", "m3"], ("m2",)),
    ):
        apply(*applied)
        assert missing() == expected, applied
    apply()
    assert {"s2", "m3"} <= {*missing()}


def test_an_app_that_does_without_migrations_has_none(settings: Any, apply: Migrations) -> None:
    apply()
    settings.MIGRATION_MODULES = {"shop": None}
    assert missing() == ()


def test_a_migration_that_cannot_be_imported_is_named(
    disk: Migrations, apply: Migrations, tmp_path: Path
) -> None:
    disk(m1=[])
    (tmp_path / "shop_migrations" / "m2.py").write_text("raise RuntimeError")
    apply("m1")
    assert missing() == ("m2",)


def test_the_database_is_that_of_the_models(
    disk: Migrations, apply: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(m1=[])
    apply()
    assert tables.find_unmigrated(["shop"])["shop"].command == "manage.py migrate shop"
    monkeypatch.setattr(router, "allow_migrate_model", lambda _alias, _model: False)
    assert missing() == ()
    elsewhere = tables.Unmigrated("shop", "archive", ("m1", "m2", "m3", "m4"))
    assert elsewhere.command == "manage.py migrate shop --database=archive"
    assert elsewhere.names == "m1, m2, m3, …"


def test_code_of_an_unmigrated_app_is_refused(disk: Migrations, apply: Migrations) -> None:
    disk(m1=[])
    apply()
    for code in (Customer, Customer()):
        with pytest.raises(UnmigratedError, match=r"shop are not applied \(m1\). Run `manage"):
            tables.require_migrated(code)
    apply("m1")
    tables.require_migrated(Customer)


def test_what_is_migrated_is_not_asked_about_again_for_some_seconds(
    disk: Migrations, apply: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(m1=[])
    apply("m1")
    tables.require_migrated(Customer)
    monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda _self: {})
    tables.require_migrated(Customer)
    monkeypatch.setattr(tables, "_KNOWN_FOR", 0.0)
    tables._forget()
    for _ in range(2):
        with pytest.raises(UnmigratedError):
            tables.require_migrated(Customer)


def test_an_error_is_explained_by_the_table_that_it_names(
    disk: Migrations, apply: Migrations
) -> None:
    disk(m1=[])
    apply()
    table = Customer._meta.db_table
    about = (
        DatabaseError(f"no such table: {table}"),
        DatabaseError(f"no such column: {table}.age"),
        DatabaseError(f"table {table} has no column named age"),
        ProgrammingError(1146, f"Table 'site.{table}' doesn't exist"),
        DatabaseError(1054, f"Unknown column '{table}.age' in 'SELECT'"),
        DatabaseError(1054, "Unknown column 'api_token' in 'INSERT INTO'"),
        DatabaseError("no such column: api_token"),
    )
    for error in about:
        found = tables.explain(error)
        assert found is not None, error
        assert found.app == "shop"
    wrapped = ExpressionError("object.age")
    wrapped.__cause__ = about[0]
    assert tables.explain(wrapped) is not None
    for other in (
        DatabaseError(f"no such table: {table}_of_another"),
        DatabaseError(1054, "Unknown column 'no_column_of_ours' in 'SET'"),
        DatabaseError("no such column: other_table.api_token"),
        DatabaseError(f"UNIQUE constraint failed: {table}.name"),
        ValueError(f"no such table: {table}"),
    ):
        assert tables.explain(other) is None, other
    # Of its own app, any error may come from it.
    assert tables.explain(DatabaseError("anything"), Customer.__module__) is not None
    apply("m1")
    assert tables.explain(about[0]) is None
