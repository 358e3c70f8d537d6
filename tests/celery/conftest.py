"""A site on PostgreSQL with Celery workers, on each broker with a queue of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol_core.testing.helpers import temporary_registry
from tests.celery.site import CelerySite
from tests.databases import Database
from tests.databases import scratch_database as open_scratch_database
from tests.effects.actions import ACTIONS, TRIGGERS
from tests.services import RABBITMQ_URL, REDIS_URL


@pytest.fixture(scope="session")
def migrated_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CelerySite]:
    folder = tmp_path_factory.mktemp("celery")
    with open_scratch_database(Database.POSTGRESQL, folder, label="celery") as scratch:
        site = CelerySite(scratch)
        site.use("memory://")
        site.migrate()
        yield site


@pytest.fixture(params=["rabbitmq", "redis"])
def site(
    request: pytest.FixtureRequest, migrated_site: CelerySite, django_db_blocker: Any
) -> Iterator[CelerySite]:
    """The site, without flows and runs; the ORM of the test uses its database."""
    migrated_site.use({"rabbitmq": RABBITMQ_URL, "redis": REDIS_URL}[request.param])
    with django_db_blocker.unblock(), migrated_site.connected():
        migrated_site.clear()
        with temporary_registry(*ACTIONS, triggers=TRIGGERS, plugin="effects"):
            try:
                yield migrated_site
            finally:
                migrated_site.end_processes()
                migrated_site.close()
