"""The fault campaign in the dose of CI: every promise holds, and the negative control is red."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chaos.__main__ import FAULTS, parse
from chaos.results import Figures, Result, markdown, table
from tests.databases import ROOT

DATABASES = [
    pytest.param("sqlite", marks=pytest.mark.sqlite_file),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "FLOWCONTROL_FULL"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("database", DATABASES)
def test_promises_are_kept_under_every_fault(database: str) -> None:
    finished = campaign("--database", database)
    assert finished.returncode == 0, finished.stdout
    assert " 0 not" in finished.stdout
    assert "red, as it must be" in finished.stdout


def result(figures: Figures | None = None, *, control: bool = False) -> Result:
    return Result.of(
        figures or Figures(runs=10),
        fault="F1",
        title="a fault",
        database="sqlite",
        seconds=1.25,
        control=control,
    )


@pytest.mark.parametrize("figures", [Figures(lost=1), Figures(duplicated=1), Figures(keys=1)])
def test_one_broken_promise_is_too_many(figures: Figures) -> None:
    broken = result(figures)
    assert (broken.is_as_promised, broken.verdict) == (False, "BROKEN")


def test_broken_promises_in_words_count_too() -> None:
    figures = Figures()
    figures.promise(["one"], "none of one")
    assert not figures.is_red
    figures.promise(not [4], "4 effects too many")
    assert figures.is_red


def test_control_that_stays_green_is_a_failure() -> None:
    green, red = result(control=True), result(Figures(duplicated=2), control=True)
    assert (green.is_as_promised, green.verdict) == (False, "GREEN WITHOUT PROTECTION")
    assert (red.is_as_promised, red.verdict) == (True, "red, as it must be")


def test_a_failure_of_another_kind_does_not_make_a_control_red() -> None:
    assert not result(Figures(lost=5), control=True).is_as_promised


def lines_with(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def test_tables_have_a_line_for_each_result() -> None:
    results = [result(), result(Figures(runs=10, lost=3))]
    assert len(lines_with(table(results), "sqlite")) == 2
    page = markdown(results, dose="ci", seed=7)
    assert page.startswith("# Fault report\n")
    assert "Dose: ci. Seed: 7." in page
    assert "| F1 | a fault | sqlite | 10 | 0 | 3 | 0 | 0 | 1.2 | BROKEN |  |" in page


def test_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--only", "F1,F7"]).only == "F1,F7"
    assert {"F1", "F28"} <= set(FAULTS)
    with pytest.raises(SystemExit):
        parse(["--only", "F1,F99"])
    assert "no such fault: F99" in capsys.readouterr().err
