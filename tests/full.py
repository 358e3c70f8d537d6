"""The full test run: what needs a database on each kind of it, then every test once.

Databases that do not answer are left out, or, with `FLOWCONTROL_REQUIRE_SERVICES=1`, are a failure.
What has to run alone comes last, so that pytest's summary of it ends the output.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.databases import Database
from tests.services import why_unreachable

SERVERS = (Database.POSTGRESQL, Database.MARIADB)
#: Each process of the tests has a database of its own.
PARALLEL = ("-n", "auto", "--maxprocesses", "8", "--dist", "worksteal")


def main(arguments: list[str]) -> int:
    """Run the tests with pytest's `arguments`; 0 if all passed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    # A list, not a generator: one failure does not keep the others from being seen.
    failed = [name for name in (*SERVERS, Database.SQLITE_FILE) if not passes_on(name, arguments)]
    for name in failed:
        print(f"FAILED on {name}, see above")
    # What --memory runs has passed on a SQLite file.
    others = [
        run_pytest(Database.SQLITE, [part, "--quiet", *PARALLEL, *arguments])
        for part in ("--unit", "--heavy")
    ]
    alone = run_pytest(Database.SQLITE, ["--alone", *arguments])
    return alone or int(any(others) or bool(failed))


def passes_on(database: Database, arguments: list[str]) -> bool:
    """Whether the tests that are to pass on every database pass on this one."""
    problem = why_unreachable(database) if database in SERVERS else None
    if problem:
        print(f"Nothing is tested on {database}: {problem}", flush=True)
        return os.environ.get("FLOWCONTROL_REQUIRE_SERVICES") != "1"
    print(f"What is to pass on every database, on {database}", flush=True)
    return run_pytest(database, ["--database", "--quiet", *PARALLEL, *arguments]) == 0


def run_pytest(database: Database, arguments: list[str]) -> int:
    """Run pytest with this database as the default one; its exit status."""
    environment = os.environ | {"FLOWCONTROL_TEST_DATABASE": database}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
