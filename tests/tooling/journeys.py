"""How many files and functions of the project one call passes through, counted while it runs.

``python -m tests.tooling.journeys`` prints the counts; ``-v`` also names them. Each journey
is counted when it is made for the second time in a process, so that caches are filled.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from tests.databases import ROOT

#: The folders with the sources of the distributions whose functions count.
SOURCES = tuple(f"{path}{os.sep}" for path in sorted(ROOT.glob("flowcontrol_*/src")))
#: What comprehensions and the like are called: they belong to the function around them.
_PARTS = frozenset({"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<module>"})


@dataclass(slots=True)
class Journey:
    """The functions that were entered, by file, each counted once; and calls of a few of them."""

    functions: set[tuple[str, str]] = field(default_factory=set)
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        return sorted({name for name, _ in self.functions})

    def enter(self, code: CodeType) -> None:
        """Note that a function was entered, if it is one of the project's."""
        path = code.co_filename
        if not path.startswith(SOURCES):
            return
        name = Path(path).relative_to(ROOT).as_posix()
        self.functions.add((name, code.co_qualname))
        key = f"{Path(name).stem}.{code.co_qualname}"
        self.calls[key] = self.calls.get(key, 0) + 1


@contextmanager
def followed() -> Iterator[Journey]:
    """Follow what this thread does."""
    journey = Journey()

    def profile(frame: Any, event: str, _: object) -> None:
        if event == "call":
            journey.enter(frame.f_code)

    sys.setprofile(profile)
    try:
        yield journey
    finally:
        sys.setprofile(None)
