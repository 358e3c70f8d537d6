"""No tenant sees another one's flows, triggers, workers and leases, nor its clock.

With the package django-tenants, a schema for each; and with a router, a database for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import ROOT, Database, ScratchDatabase, scratch_database
from tests.docs.pages import DOCS, blocks
from tests.tenants.scenarios import OF_SCHEMAS, SCENARIOS, TENANTS


@dataclass(frozen=True, kw_only=True)
class TenantsDatabase(ScratchDatabase):
    """A database whose processes serve tenants of one kind; ``others`` are those of the tenants."""

    kind: str
    others: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        named = zip(TENANTS, self.others, strict=False)
        return super().environment | {
            "DJANGO_SETTINGS_MODULE": f"tests.tenants.{self.kind}_settings",
            "FLOWCONTROL_TEST_TENANTS": ",".join(f"{alias}={name}" for alias, name in named),
        }

    def do(self, scenario: str) -> None:
        self.python("-m", "tests.tenants.scenarios", self.kind, scenario)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantsDatabase]:
    pytest.importorskip("django_tenants")
    folder = tmp_path_factory.mktemp("schemas")
    with scratch_database(Database.POSTGRESQL, folder, label="schemas") as scratch:
        found = TenantsDatabase(database=scratch.database, name=scratch.name, kind="schemas")
        found.do("prepare")
        yield found


#: Where the code of the guide is executed.
PLACES = (
    "router.py",
    "celery_signals.py",
    "shops/management/commands/work_for_all.py",
)


def test_the_code_of_the_guide_is_what_is_tried_here() -> None:
    guide = DOCS / "how-to" / "serve-tenants.md"
    tried = [(ROOT / "tests" / "tenants" / place).read_text(encoding="utf-8") for place in PLACES]
    python = [block.text for block in blocks(guide.read_text(encoding="utf-8"), "python")]
    long = [text for text in python if "def " in text]
    assert len(long) == 3
    assert [text for text in long if not any(text in code for code in tried)] == []


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.parametrize("scenario", [each.__name__ for each in OF_SCHEMAS])
def test_a_tenant_with_a_schema(schemas: TenantsDatabase, scenario: str) -> None:
    schemas.do(scenario)


@pytest.fixture(scope="module")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TenantsDatabase]:
    kind: Database = request.param
    folder: Path = tmp_path_factory.mktemp("databases")
    with (
        scratch_database(kind, folder, label="tenant_a") as a,
        scratch_database(kind, folder, label="tenant_b") as b,
        scratch_database(kind, folder, label="tenants") as scratch,
    ):
        found = TenantsDatabase(
            database=kind, name=scratch.name, kind="databases", others=(a.name, b.name)
        )
        found.do("prepare")
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [each.__name__ for each in SCENARIOS])
@pytest.mark.parametrize(
    "databases",
    [
        pytest.param(Database.SQLITE_FILE, marks=pytest.mark.sqlite_file),
        pytest.param(Database.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(Database.MARIADB, marks=pytest.mark.mariadb),
    ],
    indirect=True,
)
def test_a_tenant_with_a_database(databases: TenantsDatabase, scenario: str) -> None:
    databases.do(scenario)
