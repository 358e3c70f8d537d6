"""Flows to and from files, on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.core.management import CommandError

from flowcontrol_core import bounds
from flowcontrol_core.errors import DocumentError, FlowcontrolError, PublishError
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.flows.imports import ImportResult, Report, import_flows
from flowcontrol_core.management.run_commands import known_flows, operator
from flowcontrol_core.models import Flow


def exported(keys: Sequence[str], *, drafts: bool = False) -> str:
    """Return the flows of the keys, or all, as YAML; raises CommandError for unknown keys."""
    if not keys:
        return export_flows(Flow.objects.order_by("key"), drafts=drafts)
    found = known_flows(keys)
    return export_flows([found[key] for key in dict.fromkeys(keys)], drafts=drafts)


def imported(name: str, *, publish: bool, activate: bool, report: Report) -> list[ImportResult]:
    """Import the flows of a file (``-``: standard input), all or none.

    Raises CommandError, which names every problem.
    """
    content = _read(name)
    try:
        return import_flows(
            content, by=operator(), publish=publish, activate=activate, report=report
        )
    except DocumentError as error:
        what = "could not be published" if isinstance(error, PublishError) else "is not valid"
        problems = "".join(f"\n  {problem}" for problem in error.problems)
        raise CommandError(f"{name} {what}, nothing was imported:{problems}") from error
    except FlowcontrolError as error:
        raise CommandError(f"Nothing was imported: {error}") from error


def import_report(result: ImportResult) -> Iterator[str]:
    """Yield lines about the import of one flow, and what is left to do."""
    done = ["created" if result.created else "changed"]
    done += [f"published as version {result.published.number}"] if result.published else []
    done += ["activated"] if result.activated else []
    yield f"{result.flow.key}: {', '.join(done)}"
    for plugin in result.missing:
        yield f"  install the plugin {plugin}, which it needs"
    for line in (*result.withheld, *result.notes):
        yield f"  {line}"


def _read(name: str) -> str | bytes:
    """Return the content of a file, as far as it is needed to see that it is too large."""
    most = bounds.FILE_BYTES + 1
    try:
        if name == "-":
            return sys.stdin.buffer.read(most)
        with Path(name).open("rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CommandError(f"{name!r} cannot be read: {why}.") from error
