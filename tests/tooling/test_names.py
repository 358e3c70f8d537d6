"""A name of the core stands for one thing, and each module has its place in the architecture."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.databases import ROOT
from tests.tooling.sources import at, modules, parse

CORE = ROOT / "flowcontrol_core/src/flowcontrol_core"

#: The core, bottom up.
PLAN = {
    "errors", "bounds", "texts", "tables", "redaction", "conf", "suggest", "zones", "document",
    "engine", "expressions", "actions", "plugins", "models", "migrations", "flows", "runs",
    "health", "management", "checks", "tasks", "apps", "testing",
}  # fmt: skip
#: The rooms of `runs`, bottom up, and what is in them.
ROOMS = {
    "store": {
        "connection", "guard", "sessions", "process", "clock", "needs", "rollback", "rows",
        "objects", "compiled",
    },
    "queue": {"release", "claim", "handouts", "heartbeat", "limits", "inbox", "outbox", "workers"},
    "execution": {
        "activation", "coroutines", "driver", "batch", "checkpoint", "admission", "failures",
        "sweep", "start", "uncalled", "dry_run",
    },
    "triggers": {"listeners", "match", "result", "fire"},
    "operations": {
        "operator_actions", "interventions", "bulk", "bulk_starts", "retention", "run_info",
    },
}  # fmt: skip

#: Modules that end in -ing, and why.
GERUNDS = {"testing": "what projects test with, as in Django's and Python's own names"}
#: Names of modules that stand for two things, and why.
MODULES_OF_ONE_NAME: dict[str, str] = {}
#: Names of classes that stand for two things, and why.
CLASSES_OF_ONE_NAME: dict[str, str] = {}
#: Classes inside of others, which Django and the actions ask for by these names.
NESTED = {"Meta", "Config", "Media"}


def contents(folder: Path) -> set[str]:
    """Return the names of the modules and packages in a folder."""
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def names_of_modules() -> Iterator[tuple[str, str]]:
    for path in modules(CORE):
        package = path.stem == "__init__"
        yield (path.parent if package else path).stem, path.relative_to(CORE).as_posix()


def names_of_classes() -> Iterator[tuple[str, str]]:
    for path in modules(CORE):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef) and node.name not in NESTED:
                yield node.name, at(path, node.lineno)


def used_twice(names: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names that stand for two things, each with its places."""
    places = defaultdict(list)
    for name, place in names:
        places[name.lstrip("_")].append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def test_modules_of_the_core_are_those_of_the_plan() -> None:
    assert contents(CORE) == PLAN


def test_runs_has_its_five_rooms_and_each_its_modules() -> None:
    assert contents(CORE / "runs") == set(ROOMS)
    assert {room: contents(CORE / "runs" / room) for room in ROOMS} == ROOMS


def test_modules_are_nouns() -> None:
    gerunds = {name: place for name, place in names_of_modules() if name.endswith("ing")}
    assert gerunds.keys() == GERUNDS.keys(), gerunds


def test_a_name_of_a_module_stands_for_one_thing() -> None:
    twice = used_twice(names_of_modules())
    assert twice.keys() == MODULES_OF_ONE_NAME.keys(), twice


def test_a_name_of_a_class_stands_for_one_thing() -> None:
    twice = used_twice(names_of_classes())
    assert twice.keys() == CLASSES_OF_ONE_NAME.keys(), twice
