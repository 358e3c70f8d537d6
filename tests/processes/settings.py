"""The settings of the processes that tests start."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS += ["tests.effects"]
FLOWCONTROL = json.loads(os.environ.get("FLOWCONTROL_TEST_SETTINGS", "{}"))
