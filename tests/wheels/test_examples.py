"""The tests of the example plugins pass outside of this repository: an author copies the folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.wheels.build import build_wheel

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

_OF_THESE_TESTS = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")


@pytest.mark.parametrize("name", ["flowcontrol_example_sms", "flowcontrol_example_audit"])
def test_example_passes_its_tests_outside_of_the_repository(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "dist")
    shutil.copytree(ROOT / "plugins_example" / name, copy, ignore=ignored)
    wheels = [build_wheel(ROOT / "flowcontrol_core", tmp_path), build_wheel(copy, tmp_path)]
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    requirements = [str(wheels[0]), f"{wheels[1]}[test]"]
    _run(tmp_path, "-m", "pip", "install", "--quiet", *requirements)
    assert " passed" in _run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy))


def _run(folder: Path, *arguments: str) -> str:
    """Run the Python of the environment and return its output; fail the test if it fails."""
    finished = subprocess.run(
        [folder / "venv" / "bin" / "python", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in _OF_THESE_TESTS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout
