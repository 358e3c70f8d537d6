"""The pages about the architecture name packages, modules and answers that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import flowcontrol_core
from flowcontrol_core.engine.cursor import PHASES
from flowcontrol_core.runs.execution.failures import Signal, StopKind
from tests.cases import each
from tests.databases import ROOT
from tests.docs.pages import DOCS, codes, names, read, sections

CORE = Path(flowcontrol_core.__file__).parent
ARCHITECTURE = sections(read("explanation/architecture.md"))
EXECUTION = sections(read("explanation/execution.md"))
#: Where a path that is written on a page may begin.
ROOTS = (
    CORE,
    CORE / "runs",
    CORE.parent,
    ROOT,
    *(ROOT / name / "src" for name in ("flowcontrol_admin", "flowcontrol_triggers_signals")),
)


def modules_in(folder: Path) -> set[str]:
    """Return the packages and modules of a package."""
    found = {path.stem for path in folder.glob("[a-z]*.py")}
    return found | {path.parent.name for path in folder.glob("[a-z]*/__init__.py")}


def test_every_package_of_the_core_has_its_line_in_the_order_of_the_contract() -> None:
    written = names(ARCHITECTURE["The core, from the bottom up"])
    assert set(written) == modules_in(CORE) - {"migrations"}
    place = {name: number for number, layer in enumerate(layers("")) for name in layer}
    assert [place[name] for name in written] == sorted(place[name] for name in written)


def test_every_room_of_runs_has_its_line_in_the_order_of_the_contract() -> None:
    written = names(ARCHITECTURE["The rooms of runs"])
    assert set(written) == modules_in(CORE / "runs")
    assert written == [name for layer in layers(".runs") for name in layer]


def layers(package: str) -> list[list[str]]:
    """Return the layers of the contract of a package, the lowest first."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (
        each
        for each in tools["importlinter"]["contracts"]
        if each.get("containers") == [f"flowcontrol_core{package}"]
    )
    return [re.findall(r"\w+", layer) for layer in reversed(contract["layers"])]


@each("page", [*sorted((DOCS / "explanation").rglob("*.md")), DOCS.parent / "README.md"])
def test_files_that_a_page_names_exist(page: Path) -> None:
    paths = {
        code
        for code in codes(
            re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        )
        if re.fullmatch(r"[\w/]+/(\w+\.py)?", code)
    }
    missing = {path for path in paths if not any(exists(root, path) for root in ROOTS)}
    assert missing == set()


def exists(root: Path, path: str) -> bool:
    """Return whether a path exists below a folder, or in the package of that name."""
    package, _, rest = path.partition("/")
    return (root / path).exists() or (root / package / "src" / package / rest).exists()


def test_the_order_of_reading_has_every_module_of_execution() -> None:
    written = names(EXECUTION["The files, in the order of reading"])
    own = [path.removeprefix("execution/").removesuffix(".py") for path in written]
    assert set(own) >= modules_in(CORE / "runs" / "execution")
    order = [name for layer in layers(".runs.execution") for name in layer]
    assert [name for name in own if name in order] == order


def test_every_kind_of_stop_and_every_other_answer_is_explained() -> None:
    answers = names(EXECUTION["How an activation stops"])
    kinds = [kind.name for kind in StopKind] + [signal.name for signal in Signal]
    assert answers[: len(kinds)] == kinds


def test_every_phase_of_a_frame_is_explained() -> None:
    assert names(EXECUTION["Program and cursor"]) == list(PHASES)
