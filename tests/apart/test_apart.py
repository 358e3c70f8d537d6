"""``flowcontrol_core`` in a database of its own, with a router, on each of the databases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import ScratchDatabase
from tests.databases import scratch_database as open_scratch_database


@dataclass(frozen=True, kw_only=True)
class TwoDatabases(ScratchDatabase):
    """A database for the site, and a second one for Flowcontrol."""

    second: str

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {
            "DJANGO_SETTINGS_MODULE": "tests.apart.settings",
            "FLOWCONTROL_TEST_SECOND_DATABASE_NAME": self.second,
        }

    def migrate(self) -> None:
        for alias in ("flowcontrol", "default"):
            arguments = ("migrate", f"--database={alias}", "--run-syncdb", "--verbosity=0")
            self.python("-m", "django", *arguments)


@pytest.mark.slow
def test_a_site_works_whose_flows_are_in_a_database_of_their_own(
    scratch_database: ScratchDatabase, tmp_path: Path
) -> None:
    kind, name = scratch_database.database, scratch_database.name
    with open_scratch_database(kind, tmp_path, label="second") as second:
        site = TwoDatabases(database=kind, name=name, second=second.name)
        site.migrate()
        site.python("-m", "tests.apart.journey")
