"""The operator actions on the command line: for one run, and in bulk. They come from the table."""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management import CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from flowcontrol_core.engine.codec import decode
from flowcontrol_core.errors import FlowcontrolError, StateError
from flowcontrol_core.health import database_issue
from flowcontrol_core.models import Flow, FlowRun, Outcome, Status
from flowcontrol_core.runs.operations.bulk import start_bulk_operation
from flowcontrol_core.runs.operations.operator_actions import (
    OPERATOR_ACTIONS,
    Argument,
    OperatorAction,
    perform,
)
from flowcontrol_core.suggest import did_you_mean

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
    if argument.kind == "flag":
        parser.add_argument(option, action="store_true", default=None, help=help_text)
    elif argument.kind == "values":
        parser.add_argument(
            option, metavar="JSON", type=_read_values, required=required, help=help_text
        )
    else:
        parser.add_argument(option, metavar="ID", required=required, help=help_text)


def operate(action: OperatorAction, options: dict[str, Any]) -> FlowRun:
    """Do an operator action to the run with this number or UUID; return it as it then stands.

    Raises CommandError where there is none, or the action is not possible for it.
    """
    run = find_run(options["run"])
    given = {each.name: options[each.name] for each in action.arguments if each.for_one}
    arguments = {name: value for name, value in given.items() if value is not None}
    with refusing():
        row = perform(action.name, run, by=options["by"], reason=options["reason"], **arguments)
    row.refresh_from_db()
    return row


def start_bulk(options: dict[str, Any]) -> str:
    """Start a bulk operation; return what to say. Raises CommandError where nothing chooses runs.

    So it does for an unknown flow, of which no run would be found.
    """
    if options["flow"]:
        known_flows([options["flow"]])
    filters = {
        "flow__key": options["flow"],
        "status__in": options["status"],
        "outcome__in": options["outcome"],
    }
    given = {name: options[name] for name in _bulk_arguments()}
    with refusing():
        operation = start_bulk_operation(
            _BY_SLUG[options["action"]].name,
            {name: value for name, value in filters.items() if value},
            arguments={name: value for name, value in given.items() if value is not None},
            by=options["by"],
            reason=options["reason"],
        )
    return f"Bulk operation {operation.pk} was created; the workers do it in chunks."


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what is not possible into an error of the command."""
    try:
        yield
    except FlowcontrolError as error:
        raise CommandError(str(error)) from error


@contextmanager
def needing_database() -> Iterator[None]:
    """Turn the errors of a database that is away, or has no tables, into one of the command."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        issue = database_issue(error)
        raise CommandError(f"{issue.message} {issue.remedy}") from error


def find_run(name: str) -> FlowRun:
    """Return the run with this number or UUID; raises CommandError."""
    wanted = {"pk": int(name)} if name.isascii() and name.isdigit() else {"uuid": _uuid(name)}
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


def _uuid(name: str) -> uuid.UUID:
    try:
        return uuid.UUID(name)
    except ValueError:
        raise CommandError(
            f"{name!r} is not a run: give its number, as the admin shows it, or its UUID."
        ) from None


def _read_values(text: str) -> Any:
    """Read keys of a state, typed values as in an exported state: ``{"$decimal": "1.50"}``."""
    try:
        return {key: decode(value) for key, value in json.loads(text).items()}
    except (AttributeError, StateError, ValueError) as error:
        raise CommandError(f"{text!r} is not a JSON object: {error}") from error


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
