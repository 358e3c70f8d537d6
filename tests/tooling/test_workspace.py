"""Every distribution is known to every tool."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from tests.cases import each
from tests.databases import ROOT
from tests.wheels.build import DISTRIBUTIONS


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def distributions_on_disk() -> set[str]:
    found = [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("plugins_example/*/pyproject.toml")]
    return {path.parent.relative_to(ROOT).as_posix() for path in found}


def test_workspace_has_every_distribution() -> None:
    members = read_toml(ROOT / "hatch.toml")["envs"]["default"]["workspace"]["members"]
    assert set(members) == distributions_on_disk()


def test_wheels_are_built_of_every_distribution() -> None:
    assert set(DISTRIBUTIONS) == distributions_on_disk()


def test_changed_manifest_of_any_distribution_renews_the_environments() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = makefile.partition("DISTRIBUTIONS :=")[2].partition("\n\n")[0].split("\nHATCH")[0]
    assert set(declared.replace("\\\n", " ").split()) == distributions_on_disk()


def test_tests_of_every_distribution_are_collected() -> None:
    paths = read_toml(ROOT / "pyproject.toml")["tool"]["pytest"]["ini_options"]["testpaths"]
    assert {f"{name}/tests" for name in distributions_on_disk()} <= set(paths)


def classified(name: str, topic: str) -> set[str]:
    """The versions that the classifiers of a distribution name."""
    classifiers = read_toml(ROOT / name / "pyproject.toml")["project"]["classifiers"]
    found = (re.fullmatch(rf"{topic} :: (\d+\.\d+)", line) for line in classifiers)
    return {match[1] for match in found if match}


@each("name", DISTRIBUTIONS)
def test_distributions_name_what_they_are_tested_with(name: str) -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pairs = re.findall(r'"(\d+\.\d+) (\d+\.\d+)"', script)
    oldest = re.findall(r"export DJANGO=(\S+)", script)
    assert classified(name, "Framework :: Django") == {*oldest, *(django for _, django in pairs)}
    assert classified(name, "Programming Language :: Python") == {
        "3.11",
        *(python for python, _ in pairs),
    }


@each("name", DISTRIBUTIONS)
def test_distributions_say_where_to_find_more(name: str) -> None:
    urls = read_toml(ROOT / name / "pyproject.toml")["project"]["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert urls["Source"].endswith(f"/{name}")


@each("name", DISTRIBUTIONS)
def test_contracts_cover_every_package(name: str) -> None:
    contracts = read_toml(ROOT / "pyproject.toml")["tool"]["importlinter"]
    packages = {path.parent.name for path in (ROOT / name / "src").glob("*/py.typed")}
    assert packages
    assert packages <= set(contracts["root_packages"])
