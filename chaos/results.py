"""What a fault did, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Figures:
    """What was counted while a fault was in force.

    ``lost`` are runs or effects that are missing, ``duplicated`` database effects that are there
    more than once, ``keys`` external steps whose idempotency key changed, ``broken`` the other
    promises that did not hold, in words.
    """

    runs: int = 0
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    keys: int = 0
    broken: list[str] = field(default_factory=list)
    note: str = ""

    def promise(self, holds: object, otherwise: str) -> None:
        """Take note of a promise that does not hold."""
        if not holds:
            self.broken.append(otherwise)

    @property
    def is_red(self) -> bool:
        return bool(self.lost or self.duplicated or self.keys or self.broken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table; ``control`` marks a fault that has to be seen to break promises."""

    fault: str
    title: str
    database: str
    runs: int
    kills: int
    lost: int
    duplicated: int
    keys: int
    seconds: float
    red: bool
    control: bool
    note: str

    @classmethod
    def of(
        cls,
        figures: Figures,
        *,
        fault: str,
        title: str,
        database: str,
        seconds: float,
        control: bool,
    ) -> Result:
        return cls(
            fault=fault,
            title=title,
            database=database,
            runs=figures.runs,
            kills=figures.kills,
            lost=figures.lost,
            duplicated=figures.duplicated,
            keys=figures.keys,
            seconds=round(seconds, 1),
            # What a control has to show is not that something else goes wrong.
            red=figures.duplicated > 0 if control else figures.is_red,
            control=control,
            note="; ".join([*figures.broken, *filter(None, [figures.note])]),
        )

    @property
    def is_as_promised(self) -> bool:
        """Return whether the promises held, or for a negative control: whether they did not."""
        return self.red == self.control

    @property
    def verdict(self) -> str:
        if self.control:
            return "red, as it must be" if self.red else "GREEN WITHOUT PROTECTION"
        return "BROKEN" if self.red else "held"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_HEADS = ("fault", "what happens", "database", "runs", "kills", "lost", "twice", "keys changed")
HEADS = (*_HEADS, "seconds", "verdict", "note")


def _cells(result: Result) -> tuple[str, ...]:
    numbers = (result.runs, result.kills, result.lost, result.duplicated, result.keys)
    return (
        result.fault,
        result.title,
        result.database,
        *map(str, numbers),
        f"{result.seconds:.1f}",
        result.verdict,
        " ".join(result.note.split()),
    )


def table(results: Iterable[Result]) -> str:
    """Return the table for a terminal."""
    rows = [HEADS, *map(_cells, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in rows
    )


INTRODUCTION = """\
# Fault report

What the fault campaign found when this table was last made: `make chaos ARGS="--report {path}"`.

Each line is one fault on one database, with real worker processes. `lost` are runs that did not
end as they should and effects that are missing, `twice` are database effects that were there more
than once, `keys changed` external steps whose idempotency key was not the same at each attempt.
`kills` are the processes that were killed or stopped, or the commits that were spoiled, or the
outages of a broker or a second database and the messages that were lost, or the steps that a time
limit interrupted. Databases and brokers are servers of the
campaign's own, which are really stopped and killed; where one could not be had, the note says so. A
fault of which any is not 0, or whose other promises did not hold, is
`BROKEN`. F7 is the negative control: without its protection the same storm has to do harm.
"""
REPORT = "docs/reference/fault-report.md"


def markdown(results: Iterable[Result], *, dose: str, seed: int) -> str:
    """Return the table as a page of the documentation."""
    rows = [HEADS, tuple("---" for _ in HEADS), *map(_cells, results)]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    about = f"Dose: {dose}. Seed: {seed}."
    return "\n".join([INTRODUCTION.format(path=REPORT), about, "", *lines, ""])
