"""The verbs of an operator on the command line."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.core.management import CommandError
from django.db import DatabaseError, InterfaceError

from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.health import database_issue
from flowcontrol_core.models import FlowRun


class Verb(Protocol):
    """One of ``runtime.verbs``."""

    def __call__(self, run: FlowRun, /, *, by: str, reason: str) -> FlowRun: ...


def operate(verb: Verb, name: str, *, by: str, reason: str) -> FlowRun:
    """Do something to the run with this number or UUID, and give it as it then stands.

    Raises CommandError where there is none, or the verb is not possible for it.
    """
    run = find_run(name)
    with refusing():
        verb(run, by=by, reason=reason)
    run.refresh_from_db()
    return run


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
        trouble = database_issue(error)
        raise CommandError(f"{trouble.message} {trouble.advice}") from error


def find_run(name: str) -> FlowRun:
    """Give the run with this number or UUID; raises CommandError."""
    wanted = {"pk": int(name)} if name.isascii() and name.isdigit() else {"uuid": _uuid(name)}
    run = FlowRun.objects.filter(**wanted).first()
    if run is None:
        raise CommandError(f"There is no run {name}. Look for its number in the admin.")
    return run


def operator() -> str:
    """Name who types this, for the history of the run."""
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
            f"{name!r} is no run: give its number, as the admin shows it, or its UUID."
        ) from None
