"""What shows how the product is used imports its public names only."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.cases import each
from tests.databases import ROOT
from tests.tooling.sources import IN_SETTINGS, at, parse

FOLDERS = ("demo", "benchmarks", "plugins_example/*/src")
USERS = [path for folder in FOLDERS for path in sorted(ROOT.glob(f"{folder}/**/*.py"))]
INSIDE = ("flowcontrol_core", "flowcontrol_admin.")


def imported(node: ast.AST) -> list[str]:
    """Return the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


@each("path", USERS)
def test_demo_benchmarks_and_examples_use_public_names_only(path: Path) -> None:
    inside = [
        at(path, getattr(node, "lineno", 1))
        for node in ast.walk(parse(path))
        for module in imported(node)
        if module.startswith(INSIDE) and ast.unparse(node) != IN_SETTINGS
    ]
    assert not inside


def test_each_of_them_is_read() -> None:
    assert len(USERS) > 20
