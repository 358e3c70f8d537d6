"""The settings of the processes that tests start."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS += ["tests.effects"]
FLOWCONTROL = json.loads(os.environ.get("FLOWCONTROL_TEST_SETTINGS", "{}"))
if pool := os.environ.get("FLOWCONTROL_TEST_POOL"):
    # A connection that is not there is not waited for: the test is about exact numbers.
    DATABASES["default"]["OPTIONS"] = {
        "pool": {"min_size": 0, "max_size": int(pool), "timeout": 2},
    }
