"""F21: operators, workers and time do anything in any order, and a small model says what is right.

The machine is that of the core's own tests; here it has its dose, on each database.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from chaos.camp import Camp
from chaos.registry import fault
from chaos.results import Figures
from tests.databases import ROOT

MACHINE = "flowcontrol_core/tests/runs/test_state_machine.py"
_COUNT = re.compile(r"(\d+) steps of (\d+) runs")


@fault("F21", "all operator actions at random, against a model")
def do_anything(camp: Camp, figures: Figures) -> None:
    steps = camp.dose.pick(10_000, 250, 250)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "FLOWCONTROL_TEST_DATABASE": camp.scratch.database,
        "FLOWCONTROL_TEST_DATABASE_NAME": f"{camp.scratch.name}_machine",
        "FLOWCONTROL_STATE_STEPS": str(steps),
    }
    seed = camp.random.randrange(1_000_000)
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", MACHINE, "-q", "-s", "-p", "no:randomly"),
            f"--hypothesis-seed={seed}",
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = _COUNT.search(finished.stdout)
    figures.promise(
        finished.returncode == 0, f"--hypothesis-seed={seed}: {finished.stdout[-3000:]}"
    )
    figures.promise(found and int(found[1]) >= steps, "too few steps were tried")
    if found:
        figures.runs = int(found[2])
        figures.note = f"{found[1]} steps"
