"""Measures how fast the engine is: each figure beside what the plain ORM needs, in one run.

``make bench`` runs it on SQLite in memory; FLOWCONTROL_TEST_DATABASE=postgresql or mariadb chooses
another database. Absolute figures move with the machine; counts and ratios do not.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Set Django up with the settings of the tests, and measure."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    import_module("measures").measure_all(import_module("many").measure_many)


if __name__ == "__main__":
    main()
