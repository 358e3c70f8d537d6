"""The campaign on one database: a process whose default database it is. See ``chaos.__main__``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from django.core.management import call_command

from chaos.hosts import end_on_signals, kill_descendants
from chaos.servers import DATABASES, NAME, RabbitMQ, Redis, Servers
from tests.databases import Database, ScratchDatabase


def main(arguments: Sequence[str]) -> None:
    """Cause the faults, and write each result as a line of JSON to standard output."""
    options = _parser().parse_args(arguments)
    end_on_signals()
    try:
        with Servers() as servers:
            if {"F14", "F28"} & set(options.only.split(",")):
                servers.expect(Redis, RabbitMQ)
            cause_faults(options, _database(options, servers), servers)
    finally:
        # A signal may come when a process has begun that is not known yet.
        kill_descendants()


def _database(options: Namespace, servers: Servers) -> ScratchDatabase:
    """Return the database, on a server of the campaign's own where no other is named."""
    database = Database(options.database)
    if not options.name:
        os.environ |= servers.get(DATABASES[database]).access()
    scratch = ScratchDatabase(database=database, name=options.name or NAME)
    settings = {"DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]}
    os.environ |= scratch.environment | settings
    return scratch


def cause_faults(options: Namespace, scratch: ScratchDatabase, servers: Servers) -> None:
    # What prepares a Django process has to come before what uses its models.
    importlib.import_module("chaos.nursery")
    from chaos.camp import Camp, Dose  # noqa: PLC0415
    from chaos.registry import FAULTS  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, verbosity=0)
    dose = Dose(options.dose, scratch.database)
    for number in options.only.split(","):
        entry = FAULTS[number]
        if scratch.database not in entry.databases:
            continue
        # Each fault has its chances to itself: ``--only`` repeats what the whole campaign did.
        camp = Camp(scratch, dose, seed=f"{options.seed}:{number}", servers=servers)
        result = entry.run(camp)
        sys.stdout.write(f"{json.dumps(result.as_dict())}\n")
        sys.stdout.flush()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m chaos.campaign")
    for name in ("--database", "--dose", "--only", "--seed"):
        parser.add_argument(name, required=True)
    parser.add_argument("--name", default="", help="the database, on the server that is set up")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
