"""The faults by their numbers."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from chaos.camp import Camp
from chaos.results import Figures, Result
from tests.databases import Database

Fault = Callable[[Camp, Figures], None]
EVERYWHERE = (Database.SQLITE_FILE, Database.POSTGRESQL, Database.MARIADB)
SERVERS = (Database.POSTGRESQL, Database.MARIADB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A fault: on which databases, in which dose, and whether it is a negative control."""

    number: str
    title: str
    cause: Fault
    databases: tuple[Database, ...]
    control: bool

    def run(self, camp: Camp) -> Result:
        """Cause it on an empty site, and give what came of it."""
        figures = Figures()
        camp.clear()
        begun = monotonic()
        try:
            self.cause(camp, figures)
        except Exception as error:  # noqa: BLE001 - one fault does not keep the others from it
            figures.broken = [f"{type(error).__name__}: {str(error)[:300]}"]
            traceback.print_exc()
        finally:
            if figures.is_red and not self.control:
                camp.show_outputs()
            camp.end_processes()
        return Result.of(
            figures,
            fault=self.number,
            title=self.title,
            database=camp.scratch.database.removesuffix("_file"),
            seconds=monotonic() - begun,
            control=self.control,
        )


FAULTS: dict[str, Entry] = {}


def fault(
    number: str,
    title: str,
    *,
    databases: tuple[Database, ...] = EVERYWHERE,
    control: bool = False,
) -> Callable[[Fault], Fault]:
    """Enter a function into the table of faults."""

    def enter(cause: Fault) -> Fault:
        FAULTS[number] = Entry(
            number=number,
            title=title,
            cause=cause,
            databases=databases,
            control=control,
        )
        return cause

    return enter
