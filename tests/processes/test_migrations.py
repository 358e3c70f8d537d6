"""A worker that runs while the tables of a plugin are made."""

from __future__ import annotations

import pytest

from flowcontrol_core.models import FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from flowcontrol_example_audit.models import AuditEntry
from tests.processes.site import Site

pytestmark = pytest.mark.slow

APP = "flowcontrol_example_audit"


def migrate(site: Site, *arguments: str) -> None:
    """Run `manage.py migrate` for the app, with its checks, as an operator does."""
    process = site.start("-m", "django", "migrate", "--verbosity=0", APP, *arguments)
    assert process.exit_status() == 0, process.output


def test_runs_continue_in_a_running_worker_after_the_migration(site: Site) -> None:
    publish_flow(flow(step("audit.record", text="Hello"), step("effects.write", label="after")))
    migrate(site, "zero")
    try:
        for _ in range(3):
            create_flowrun("flow")
        [worker] = site.start_workers(1)
        site.wait_for_status(Status.BLOCKED, 3, worker)
        assert set(FlowRun.objects.values_list("reason_code", flat=True)) == {"missing_migration"}
    finally:
        migrate(site)
    site.wait_until_done(worker)
    assert set(FlowRun.objects.values_list("outcome", flat=True)) == {Outcome.COMPLETE}
    assert AuditEntry.objects.count() == 3
    assert set(site.effects().values()) == {1}
    AuditEntry.objects.all().delete()
