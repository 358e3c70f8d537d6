"""The installed plugins as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from flowcontrol_core.plugins.reports import PluginReport

_HEAD = ("NAME", "STATUS", "DISTRIBUTION", "VERSION", "ACTIONS", "TRIGGERS")


def plugin_table(reports: Sequence[PluginReport], *, details: bool = False) -> str:
    """Return a row for each plugin; below it the reason and the remedy, where there are any.

    With ``details`` the keys of actions and triggers and the traceback are written as well.
    """
    if not reports:
        return "No plugin is installed.\n"
    rows = [_HEAD, *(_row(report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_line(_HEAD, widths)]
    for report, row in zip(reports, rows[1:], strict=True):
        lines.append(_line(row, widths))
        lines += [f"    {line}" for line in _below(report, details=details)]
    return "\n".join(lines) + "\n"


def _row(report: PluginReport) -> tuple[str, ...]:
    counts = (str(len(report.actions)), str(len(report.triggers)))
    origin = (report.distribution or "-", report.version or "-")
    return (report.name, report.status.value, *origin, *counts)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _below(report: PluginReport, *, details: bool) -> list[str]:
    lines = [report.reason] if report.reason else []
    lines += [f"Remedy: {report.remedy}"] if report.remedy else []
    if details:
        lines += [f"action {key}" for key in report.actions]
        lines += [f"trigger {key}" for key in report.triggers]
        lines += [f"filter {key}" for key in report.filters]
        lines += report.traceback.splitlines()
    return lines
