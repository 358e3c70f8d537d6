"""The settings of a site with a database for each tenant, and a router that chooses it."""

from __future__ import annotations

import os

from tests.databases import chosen_database, database_settings
from tests.settings import *  # noqa: F403

_NAMES = dict(part.split("=") for part in os.environ["FLOWCONTROL_TEST_TENANTS"].split(","))
DATABASES = {
    alias: database_settings(chosen_database(), name)
    for alias, name in {"default": os.environ["FLOWCONTROL_TEST_DATABASE_NAME"], **_NAMES}.items()
}
DATABASE_ROUTERS = ["tests.tenants.router.TenantRouter"]
ALLOWED_HOSTS = [".localhost"]
