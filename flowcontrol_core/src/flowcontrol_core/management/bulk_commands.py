"""A job on the command line: a verb, and which runs it is done to."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import CommandError, CommandParser

from flowcontrol_core.engine.codec import decode
from flowcontrol_core.errors import StateError
from flowcontrol_core.management.files import known_flows
from flowcontrol_core.management.run_commands import operator, refusing
from flowcontrol_core.models import Outcome, Status
from flowcontrol_core.runs.operations.bulk import VERBS, start_bulk_operation

_WORDS = {verb.replace(" ", "-"): verb for verb in VERBS}


def add_job_arguments(parser: CommandParser) -> None:
    """Say which verb, to which runs, why, and who wants it."""
    parser.add_argument("verb", metavar="VERB", choices=_WORDS, help=", ".join(_WORDS))
    parser.add_argument("--flow", metavar="KEY", help="runs of this flow")
    for name, choices in (("status", Status), ("outcome", Outcome)):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar=name[0].upper(),
            choices=choices.values,
            help=f"runs with this {name}, or one of several: {', '.join(choices.values)}",
        )
    parser.add_argument("--step", metavar="ID", help="send, restart: the step to go to")
    text = "restart: on the published version of the flow, not that of the old run"
    parser.add_argument("--current-version", action="store_true", help=text)
    text = 'edit-state: the keys to set, as JSON: {"price": 5}'
    parser.add_argument("--changes", metavar="JSON", type=_read_changes, help=text)
    parser.add_argument("--reason", default="", help="why, for the history of the runs")
    parser.add_argument("--by", default=operator(), help="who, for the history of the runs")


def create_bulk_job(options: dict[str, Any]) -> str:
    """Create a job, and say so; raises CommandError where nothing chooses the runs.

    So it does for an unknown flow, of which no run would be found.
    """
    if options["flow"]:
        known_flows([options["flow"]])
    filters = {
        "flow__key": options["flow"],
        "status__in": options["status"],
        "outcome__in": options["outcome"],
    }
    chosen = {name: value for name, value in filters.items() if value}
    with refusing():
        job = start_bulk_operation(
            _WORDS[options["verb"]],
            chosen,
            arguments=_arguments(options),
            by=options["by"],
            reason=options["reason"],
        )
    return f"Bulk operation {job.pk} was created; the workers do it bit by bit."


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Give what was said for the verb; the job refuses what the verb does not take."""
    names = ("step", "current_version", "changes")
    return {name: options[name] for name in names if options[name]}


def _read_changes(text: str) -> Any:
    """Read keys of a state, typed values as in an exported state: ``{"$decimal": "1.50"}``."""
    try:
        return {key: decode(value) for key, value in json.loads(text).items()}
    except (AttributeError, StateError, ValueError) as error:
        raise CommandError(f"--changes is no JSON object: {error}") from error
