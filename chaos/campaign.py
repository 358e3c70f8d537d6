"""The campaign on one database: a process whose default database it is. See ``chaos.__main__``."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from django.core.management import call_command

from tests.databases import Database, ScratchDatabase


def main(arguments: Sequence[str]) -> None:
    """Cause the faults, and write each result as a line of JSON to standard output."""
    options = _parser().parse_args(arguments)
    # What prepares a Django process has to come before what uses its models.
    importlib.import_module("chaos.nursery")
    from chaos.camp import Camp, Dose  # noqa: PLC0415
    from chaos.registry import FAULTS  # noqa: PLC0415

    database = Database(options.database)
    call_command("migrate", run_syncdb=True, verbosity=0)
    scratch = ScratchDatabase(database=database, name=options.name)
    dose = Dose(options.dose, database)
    for number in options.only.split(","):
        entry = FAULTS[number]
        if database not in entry.databases:
            continue
        # Each fault has its chances to itself: ``--only`` repeats what the whole campaign did.
        camp = Camp(scratch, dose, seed=f"{options.seed}:{number}")
        result = entry.run(camp)
        sys.stdout.write(f"{json.dumps(result.as_dict())}\n")
        sys.stdout.flush()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m chaos.campaign")
    for name in ("--database", "--name", "--dose", "--only", "--seed"):
        parser.add_argument(name, required=True)
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
