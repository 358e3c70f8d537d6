"""A site on each of the three databases, made once in a test session and emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol_core.testing.helpers import temporary_registry
from tests.databases import Database
from tests.databases import scratch_database as open_scratch_database
from tests.effects.actions import ACTIONS, TRIGGERS
from tests.processes.site import Site

DATABASES = [
    pytest.param(Database.SQLITE_FILE, marks=pytest.mark.sqlite_file, id="sqlite_file"),
    pytest.param(Database.POSTGRESQL, marks=pytest.mark.postgresql, id="postgresql"),
    pytest.param(Database.MARIADB, marks=pytest.mark.mariadb, id="mariadb"),
]


@pytest.fixture(scope="session", params=DATABASES)
def migrated_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("processes")
    with open_scratch_database(request.param, folder, label="processes") as scratch:
        site = Site(scratch)
        site.migrate()
        yield site


@pytest.fixture
def site(migrated_site: Site, django_db_blocker: Any) -> Iterator[Site]:
    """The site, without flows and runs; the ORM of the test uses its database."""
    with django_db_blocker.unblock(), migrated_site.connected():
        migrated_site.clear()
        with temporary_registry(*ACTIONS, triggers=TRIGGERS, plugin="effects"):
            try:
                yield migrated_site
            finally:
                migrated_site.end_processes()
