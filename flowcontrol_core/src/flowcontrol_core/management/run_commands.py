"""The operator actions on the command line: for one run, and in bulk. They come from the table."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from argparse import ArgumentTypeError
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.management import CommandError, CommandParser
from django.utils import timezone

from flowcontrol_core.engine.codec import decode
from flowcontrol_core.errors import StateError
from flowcontrol_core.management.progress import Progress
from flowcontrol_core.models import BulkOperation, Flow, FlowRun, Outcome, Status
from flowcontrol_core.runs.operations.bulk import start_bulk_operation
from flowcontrol_core.runs.operations.operator_actions import (
    OPERATOR_ACTIONS,
    Argument,
    ArgumentKind,
    OperatorAction,
    perform,
)
from flowcontrol_core.suggest import did_you_mean

#: Seconds until the state of a bulk operation is read again.
_POLL = 0.5
_BY_SLUG = {action.slug: action for action in OPERATOR_ACTIONS.values()}


def add_run_arguments(parser: CommandParser, action: OperatorAction) -> None:
    """Declare what an operator action takes on one run."""
    parser.add_argument("run", metavar="RUN", help="the number or UUID of the run")
    _add_who_and_why(parser)
    for argument in action.arguments:
        if argument.for_one:
            _add_argument(parser, argument, argument.help, required=argument.required)


def add_bulk_arguments(parser: CommandParser) -> None:
    """Declare what a bulk operation takes: the action, and which runs."""
    slugs = ", ".join(_BY_SLUG)
    parser.add_argument("action", metavar="ACTION", choices=_BY_SLUG, help=slugs)
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
    text = "wait for its end, with its progress on a terminal; Ctrl-C ends the waiting only"
    parser.add_argument("--wait", action="store_true", help=text)
    _add_who_and_why(parser)
    for argument in _bulk_arguments().values():
        actions = [each.slug for each in _BY_SLUG.values() if argument in each.arguments]
        _add_argument(parser, argument, f"{', '.join(actions)}: {argument.label}", required=False)


def _bulk_arguments() -> dict[str, Argument]:
    return {
        argument.name: argument
        for action in OPERATOR_ACTIONS.values()
        for argument in action.arguments
        if argument.for_many
    }


def _add_who_and_why(parser: CommandParser) -> None:
    parser.add_argument("--reason", default="", help="why, for the history of the run")
    parser.add_argument("--by", default=operator(), help="who, for the history of the run")


def _add_argument(
    parser: CommandParser, argument: Argument, text: object, *, required: bool
) -> None:
    option, help_text = f"--{argument.name.replace('_', '-')}", str(text or argument.label)
    kind = _OPTIONS_BY_KIND[argument.kind]
    parser.add_argument(option, required=required, help=help_text, **kind)


def operate(action: OperatorAction, options: dict[str, Any]) -> FlowRun:
    """Do an operator action to the run with this number or UUID; return it as it then stands.

    Raises CommandError where there is none, FlowcontrolError where the action is not possible.
    """
    run = find_run(options["run"])
    names = [each.name for each in action.arguments if each.for_one]
    row = perform(
        action.name, run, by=options["by"], reason=options["reason"], **_given(options, names)
    )
    row.refresh_from_db()
    return row


def start_bulk(options: dict[str, Any]) -> BulkOperation:
    """Start a bulk operation.

    Raises CommandError for an unknown flow, and FlowcontrolError where nothing chooses runs.
    """
    if options["flow"]:
        known_flows([options["flow"]])
    filters = {
        "flow__key": options["flow"],
        "status__in": options["status"],
        "outcome__in": options["outcome"],
    }
    return start_bulk_operation(
        _BY_SLUG[options["action"]].name,
        {name: value for name, value in filters.items() if value},
        arguments=_given(options, _bulk_arguments()),
        by=options["by"],
        reason=options["reason"],
    )


def _pause() -> None:
    time.sleep(_POLL)


def wait_for_end(operation: BulkOperation, progress: Progress) -> str:
    """Show the progress of a bulk operation until it has finished; return what to say."""
    while True:
        operation.refresh_from_db()
        text = f"{operation.done} done, {operation.refused} refused"
        text += f", {operation.failed} failed" if operation.failed else ""
        if operation.finished_at is not None:
            break
        progress.show(text, operation.processed, operation.total)
        _pause()
    progress.close()
    how = f"was stopped by {operation.stopped_by}" if operation.stopped_by else "has finished"
    return f"Bulk operation {operation.pk} {how}: {text}."


def _given(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}


def find_run(name: str) -> FlowRun:
    """Return the run with this number or UUID; raises CommandError."""
    is_number = name.isascii() and name.isdigit()
    try:
        wanted = {"pk": int(name)} if is_number else {"uuid": uuid.UUID(name)}
    except ValueError:
        raise CommandError(
            f"{name!r} is not a run: give its number, which the admin shows, or its UUID."
        ) from None
    run = FlowRun.objects.filter(**wanted).first()
    if run is None:
        raise CommandError(f"There is no run {name}. Its number is shown in the admin.")
    return run


def operator() -> str:
    """Return who types this, for the history of the run."""
    try:
        return f"{getpass.getuser()} (manage.py)"
    except (KeyError, ImportError, OSError):
        # A user without an entry in the system's list, as in a container.
        return "manage.py"


def _read_values(text: str) -> Any:
    """Read keys of a state, typed values as in an exported state: ``{"$decimal": "1.50"}``."""
    try:
        return {key: decode(value) for key, value in json.loads(text).items()}
    except (AttributeError, RecursionError, StateError, ValueError) as error:
        example = '{"key": 1}'
        raise ArgumentTypeError(f"{text!r} is not a JSON object such as {example}.") from error


def _read_time(text: str) -> datetime:
    """Read a date with a time, in the site's zone where it names none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        example = "2026-01-31T09:00"
        raise ArgumentTypeError(f"{text!r} is not a time such as {example}.") from error
    return time if timezone.is_aware(time) else timezone.make_aware(time)


#: What argparse needs for an option, by the kind of its argument.
_OPTIONS_BY_KIND: dict[ArgumentKind, dict[str, Any]] = {
    "flag": {"action": "store_true", "default": None},
    "values": {"metavar": "JSON", "type": _read_values},
    "step": {"metavar": "ID"},
    "time": {"metavar": "TIME", "type": _read_time},
}


def known_flows(keys: Sequence[str]) -> dict[str, Flow]:
    """Return the flows of the keys; raises CommandError, which helps with the unknown ones."""
    found = Flow.objects.in_bulk(keys, field_name="key")
    unknown = [key for key in keys if key not in found]
    if unknown:
        raise CommandError(_unknown(unknown))
    return found


def _unknown(keys: Sequence[str]) -> str:
    known = list(Flow.objects.order_by("key").values_list("key", flat=True))
    sentences = []
    for key in keys:
        hint = did_you_mean(key, known, f"Known are {_listed(known)}.")
        sentences.append(f"No flow has the key {key!r}. {hint}")
    return " ".join(sentences)


def _listed(keys: Sequence[str]) -> str:
    if not keys:
        return "none"
    return ", ".join(keys[:20]) + (", ..." if len(keys) > 20 else "")
