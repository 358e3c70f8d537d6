"""The fault campaign.

    python -m chaos --dose ci|full --database sqlite|postgresql|mariadb|all --only F1,F7 --seed N

It ends with a table and with status 1 if a promise was broken, or if the negative control stayed
green. Databases and brokers are servers of the campaign's own, which it starts, stops and kills.
Where a database's programs are not installed, the server that the tests use has to do, to which
nothing worse happens than that it hangs up; where that does not answer either, its part of the
table is left out. With ``FLOWCONTROL_REQUIRE_SERVICES=1`` whatever is missing is a failure.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from chaos.hosts import end_on_signals
from chaos.results import Result, markdown, table
from chaos.servers import DATABASES
from tests.databases import Database, scratch_database
from tests.services import why_unreachable

FAULTS = tuple(f"F{number}" for number in range(1, 29))
NAMES = {
    "sqlite": Database.SQLITE_FILE,
    "postgresql": Database.POSTGRESQL,
    "mariadb": Database.MARIADB,
}


def main() -> int:
    """Run the campaign; 0 if everything was as promised."""
    options = parse(sys.argv[1:])
    end_on_signals()
    os.environ["DJANGO_SETTINGS_MODULE"] = ENVIRONMENT["DJANGO_SETTINGS_MODULE"]
    say(f"dose {options.dose}, seed {options.seed}")
    results: list[Result] = []
    missing = 0
    for name, database in NAMES.items():
        if options.database not in ("all", name):
            continue
        if problem := why_not(database):
            missing += 1
            say(f"left out: {problem}")
            continue
        results += campaign(database, options)
    say(f"\n{table(results)}\n")
    if options.report:
        page = markdown(results, dose=options.dose, seed=options.seed)
        options.report.write_text(page, encoding="utf-8")
    bad = [result for result in results if not result.is_as_promised]
    required = os.environ.get("FLOWCONTROL_REQUIRE_SERVICES") == "1"
    say(f"seed {options.seed}: {len(results) - len(bad)} as promised, {len(bad)} not")
    return 1 if bad or not results or (missing and required) else 0


def parse(arguments: list[str]) -> Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = ArgumentParser(prog="python -m chaos", description="Cause faults; see who loses.")
    parser.add_argument("--dose", choices=["ci", "full"], default="ci")
    parser.add_argument("--database", choices=[*NAMES, "all"], default="all")
    parser.add_argument("--only", default=",".join(FAULTS), help="faults, such as F1,F7")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--report", type=Path, help="write the table as Markdown to this file")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.only.split(",")) - set(FAULTS))
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    return options


def campaign(database: Database, options: Namespace) -> list[Result]:
    """Cause the faults on a new database: on a server of the campaign's own if it can have one."""
    if database in DATABASES and not DATABASES[database].why_not():
        return run(database, "", os.environ | ENVIRONMENT, options)
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_database(database, Path(folder), label="chaos") as scratch,
    ):
        environment = scratch.environment | ENVIRONMENT | OF_OTHERS
        return run(database, scratch.name, environment, options)


def why_not(database: Database) -> str | None:
    """Return why there can be no campaign on a database."""
    if database not in DATABASES or not DATABASES[database].why_not():
        return None
    return why_unreachable(database)


def run(
    database: Database, name: str, environment: dict[str, str], options: Namespace
) -> list[Result]:
    """Cause the faults in a process whose default database it is; nothing outlives that."""
    arguments = {
        "database": str(database),
        "name": name,
        "dose": options.dose,
        "only": options.only,
        "seed": str(options.seed),
    }
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "chaos.campaign"),
            *(f"--{name}={value}" for name, value in arguments.items()),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        results = list(read_results(process))
    except BaseException:
        process.terminate()
        raise
    finally:
        status = process.wait()
    if status:
        raise SystemExit(f"The campaign on {database} ended with {status}.")
    return results


#: What the proxy is to understand must not be encrypted.
ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "chaos.settings", "PGSSLMODE": "disable"}
#: On a server that is never killed, nothing has to wait for its disk.
OF_OTHERS = {"PGOPTIONS": "-c synchronous_commit=off"}


def read_results(process: subprocess.Popen[str]) -> Iterator[Result]:
    """Return the results as they come, and say so."""
    assert process.stdout is not None
    for line in process.stdout:
        result = Result(**json.loads(line))
        say(f"{result.fault:4} {result.database:11} {result.verdict:10} {result.seconds:5.1f} s")
        yield result


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
