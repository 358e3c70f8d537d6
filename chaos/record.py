"""Records rows of the present version for F20: ``python -m chaos.record 1.0``."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from django.core.management import call_command

from chaos.servers import Servers
from tests.databases import Database, ScratchDatabase, scratch_database


def main(version: str) -> None:
    """Write the file of a version, with a database that is made for it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "chaos.settings"
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_database(Database.SQLITE_FILE, Path(folder), label="record") as scratch,
    ):
        arguments = [sys.executable, "-m", "chaos.record", version, scratch.name]
        settings = {"DJANGO_SETTINGS_MODULE": "chaos.settings"}
        subprocess.run(arguments, env=scratch.environment | settings, check=True)


def record(version: str, name: str) -> None:
    """Write the file of a version, in a process whose default database is empty."""
    importlib.import_module("chaos.nursery")
    # What prepares a Django process has to come before what uses its models.
    from chaos import recorded  # noqa: PLC0415
    from chaos.camp import Camp, Dose  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, verbosity=0)
    scratch = ScratchDatabase(database=Database.SQLITE_FILE, name=name)
    with Servers() as servers:
        camp = Camp(scratch, Dose("ci", Database.SQLITE_FILE), seed="", servers=servers)
        try:
            text = recorded.record(camp)
        finally:
            camp.end_processes()
    recorded.FOLDER.mkdir(exist_ok=True)
    (recorded.FOLDER / f"{version}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        record(*sys.argv[1:])
