"""The settings of the campaign and of its processes."""

from __future__ import annotations

from tests.processes.settings import *  # noqa: F403
