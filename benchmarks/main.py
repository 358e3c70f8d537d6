"""Measures the speed of the engine, with the plain ORM for comparison in the same run.

``make bench`` runs it on SQLite in memory; FLOWCONTROL_TEST_DATABASE=postgresql or mariadb chooses
another database. Absolute figures depend on the machine; counts and ratios do not.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Set up Django with the settings of the tests, and measure."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    # Modules that use models can be imported only now.
    large_table = import_module("large_table")
    import_module("workloads").measure_all(large_table.measure_large_table)


if __name__ == "__main__":
    main()
