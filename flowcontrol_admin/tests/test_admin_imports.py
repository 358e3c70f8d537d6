"""What a process that shows no page imports of the pages: Django imports all model admins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: What may be imported: the app, the model admins, and what those of projects inherit from.
LIGHT = {
    "flowcontrol_admin",
    "flowcontrol_admin.admin",
    "flowcontrol_admin.apps",
    "flowcontrol_admin.lists",
    "flowcontrol_admin.mixins",
    "flowcontrol_admin.protection",
    # Django imports all template tags for its checks.
    "flowcontrol_admin.run_texts",
    "flowcontrol_admin.templatetags",
    "flowcontrol_admin.templatetags.flowcontrol_badges",
    "flowcontrol_admin.templatetags.flowcontrol_times",
}
WORK = """
import sys
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
executor.migrate(executor.loader.graph.leaf_nodes())
from flowcontrol.engine import create_flowrun
from flowcontrol.testing import flow, publish_flow, step
run = create_flowrun(publish_flow(flow(step("builtin.update_state", state={"n": 1}))))
call_command("flowcontrol", *sys.argv[1:])
run.refresh_from_db()
assert run.outcome == "complete", run.outcome
print("imported", *(name for name in sys.modules if name.startswith("flowcontrol_admin")))
"""


@pytest.mark.parametrize("command", [("run",), ("worker", "--once")])
def test_a_worker_of_a_site_with_the_admin_imports_no_page(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK, *command],
        env={**os.environ, "FLOWCONTROL_TEST_DATABASE": "sqlite"},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = done.stdout.rpartition("imported ")[2].split()
    assert "flowcontrol_admin.admin" in imported, done.stderr
    assert set(imported) <= LIGHT
