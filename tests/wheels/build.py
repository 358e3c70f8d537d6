"""Builds the wheels of all distributions: `python -m tests.wheels.build <folder>`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.databases import ROOT

DISTRIBUTIONS = (
    "flowcontrol_core",
    "flowcontrol_admin",
    "flowcontrol_actions_builtin",
    "flowcontrol_triggers_signals",
    "plugins_example/flowcontrol_example_sms",
    "plugins_example/flowcontrol_example_audit",
)
# The standard interface of a build backend: it answers with the name of the file.
CALL_BUILD_BACKEND = (
    "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
)


def build_wheel(source: Path, target: Path) -> Path:
    """Build the wheel of the project in `source` into the folder `target`; its path.

    The build backend is called as installed, without an environment of its own: nothing is
    downloaded. Raises CalledProcessError, with the output in its notes, when the build fails.
    """
    command = [sys.executable, "-c", CALL_BUILD_BACKEND, str(target)]
    finished = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    try:
        finished.check_returncode()
    except subprocess.CalledProcessError as error:
        error.add_note(finished.stdout + finished.stderr)
        raise
    return target / finished.stdout.strip().splitlines()[-1]


def build_all(target: Path) -> dict[str, Path]:
    """Build every distribution into `target`; the wheels' paths by the package's name."""
    target.mkdir(parents=True, exist_ok=True)
    return {Path(name).name: build_wheel(ROOT / name, target) for name in DISTRIBUTIONS}


if __name__ == "__main__":
    for wheel in build_all(Path(sys.argv[1]).resolve()).values():
        print(wheel.name)
