"""Progress on a terminal, on standard error; nothing where that is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.management import run_commands
from flowcontrol_core.management.progress import Progress
from flowcontrol_core.models import BulkOperation, FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.operations.bulk import stop_bulk_operation
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow, run_due


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_drawn_over_the_last_one_and_removed() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show("10 done", 10, 20)
    progress.show("9 done")
    progress.close()
    progress.close()
    bar = f"[{'#' * 15}{'.' * 15}] "
    drawn = terminal.getvalue().split("\r")
    assert drawn == ["", f"{bar}10 done", f"9 done{' ' * 34}", " " * 6, ""]


def test_where_there_is_no_terminal_nothing_is_drawn() -> None:
    file = io.StringIO()
    Progress(file).show("10 done", 10, 20)
    assert file.getvalue() == ""


def call(*words: str, terminal: io.StringIO) -> str:
    out = io.StringIO()
    call_command("flowcontrol", *words, stdout=out, stderr=terminal)
    return out.getvalue()


@pytest.fixture
def runs(db: None) -> list[FlowRun]:
    publish_flow(flow(step("test.mark")), key="flow")
    return [create_flowrun("flow") for _ in range(3)]


@pytest.mark.parametrize("terminal", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_a_bulk_operation_is_waited_for(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO
) -> None:
    monkeypatch.setattr(run_commands, "_pause", run_due)
    said = call("bulk", "cancel", "--flow", "flow", "--wait", terminal=terminal)
    operation = BulkOperation.objects.get()
    assert f"Bulk operation {operation.pk} has finished: 3 done, 0 refused." in said
    assert ("0 done, 0 refused" in terminal.getvalue()) == terminal.isatty()


def test_waiting_ends_with_an_operation_that_is_stopped_and_with_an_interruption(
    runs: list[FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        stop_bulk_operation(BulkOperation.objects.get().pk, by="root")

    monkeypatch.setattr(run_commands, "_pause", stop)
    said = call("bulk", "cancel", "--flow", "flow", "--wait", terminal=Terminal())
    assert "was stopped by root: 0 done, 0 refused." in said

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_commands, "_pause", interrupt)
    said = call("bulk", "cancel", "--flow", "flow", "--wait", terminal=Terminal())
    newest = BulkOperation.objects.latest("pk")
    assert f"Bulk operation {newest.pk} continues." in said
    assert newest.finished_at is None


def test_an_import_and_pruning_show_how_far_they_are(
    runs: list[FlowRun], tmp_path: Path, settings: Any
) -> None:
    file = tmp_path / "flows.yaml"
    file.write_text(export_flows([runs[0].flow]))
    terminal = Terminal()
    call("import", str(file), terminal=terminal)
    assert "Importing ..." in terminal.getvalue()
    run_due()
    settings.FLOWCONTROL = {**settings.FLOWCONTROL, "RETENTION_RUNS": 0}
    terminal = Terminal()
    assert "runs 3" in call("prune", terminal=terminal)
    assert "rows deleted ..." in terminal.getvalue()
