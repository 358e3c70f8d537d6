"""The sources that the tests of names, words and texts read, each parsed once."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.databases import ROOT

#: The folders of the sources of all distributions.
SOURCES = sorted([*ROOT.glob("flowcontrol_*/src"), *ROOT.glob("plugins_example/*/src")])
#: The one import of settings that is not of ``flowcontrol``: another distribution, which has a
#: package of that name, may have overwritten it.
IN_SETTINGS = "from flowcontrol_core import plugin_apps"


@cache
def modules(folder: Path) -> tuple[Path, ...]:
    """Return the modules below a folder, without migrations: those are generated."""
    found = sorted(folder.rglob("*.py"))
    return tuple(path for path in found if "migrations" not in path.parts)


@cache
def read(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(read(path), str(path))


def at(path: Path, line: int) -> str:
    """Return a place in a file, as editors and terminals link it."""
    return f"{path.relative_to(ROOT)}:{line}"
