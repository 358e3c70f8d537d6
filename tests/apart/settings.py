"""The settings of the site: two databases of one kind, and the router between them."""

from __future__ import annotations

import os

from tests.databases import chosen_database, database_settings
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, FLOWCONTROL

DATABASES["flowcontrol"] = database_settings(
    chosen_database(), os.environ["FLOWCONTROL_TEST_SECOND_DATABASE_NAME"]
)
DATABASE_ROUTERS = ["tests.apart.routers.FlowcontrolRouter"]
FLOWCONTROL["DISPATCH"] = "inline"
