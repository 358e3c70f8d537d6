"""How long the source is: lines that are neither blank, comment nor docstring.

``python -m tests.tooling.lines`` counts those of the core, the admin and what is built in.
Migrations do not count: they are generated.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.databases import ROOT
from tests.tooling.sources import modules, parse, read

DISTRIBUTIONS = (
    "flowcontrol_core",
    "flowcontrol_admin",
    "flowcontrol_actions_builtin",
    "flowcontrol_triggers_signals",
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def count_lines(path: Path) -> int:
    """Return the number of lines of one module that count."""
    documentation = set(_lines_of_docstrings(parse(path)))
    return sum(
        number not in documentation and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(read(path).splitlines(), start=1)
    )


def _lines_of_docstrings(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            yield from range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def count_distribution(name: str) -> int:
    """Return the number of lines of a distribution's source that count."""
    return sum(count_lines(path) for path in modules(ROOT / name / "src"))


def main() -> None:
    counts = {name: count_distribution(name) for name in DISTRIBUTIONS}
    for name, number in counts.items():
        print(f"{number:7,} {name}")
    print(f"{sum(counts.values()):7,} together")


if __name__ == "__main__":
    main()
