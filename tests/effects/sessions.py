"""Actions that break the database session that they are called in, as careless code does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from django import forms
from django.db import Error, connection, transaction

from flowcontrol.base import BaseAction, Effects, RunContext
from tests.effects.actions import LabelForm, record

_READ_ONLY = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def close() -> None:
    connection.close()


def kill() -> None:
    """Have the server end the session; on SQLite there is none."""
    sql = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }
    execute(sql[connection.vendor])


def kill_quietly() -> None:
    with suppress(Error):
        kill()


def switch_autocommit_off() -> None:
    transaction.set_autocommit(False)


def begin() -> None:
    execute("BEGIN")


def commit() -> None:
    execute("COMMIT")


def leave_open() -> None:
    transaction.atomic().__enter__()


def set_read_only() -> None:
    execute(_READ_ONLY[connection.vendor])


def leave() -> None:
    sys.exit(1)


def be_cancelled() -> None:
    raise asyncio.CancelledError


BREAKS: dict[str, Callable[[], None]] = {
    work.__name__: work
    for work in (
        *(close, kill, kill_quietly, switch_autocommit_off, begin, commit),
        *(leave_open, set_read_only, leave, be_cancelled),
    )
}


#: The label of what a step writes after it has broken its session.
LEFT = "left"


class BreakForm(LabelForm):
    """``how`` is a key of BREAKS; ``always``: at each attempt, not only at the first."""

    how = forms.CharField()
    always = forms.BooleanField(required=False)


class BreakOutside(BaseAction):
    """Breaks its session in a call that reaches the world outside."""

    name: ClassVar[str] = "break_outside"
    effects: ClassVar[Effects] = Effects.EXTERNAL
    Config = BreakForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        record(run, obj, config.label)
        if run.attempt == 1 or config.always:
            BREAKS[config.how]()
            with suppress(Error):
                record(run, obj, LEFT)


class BreakInside(BreakOutside):
    """Breaks its session in the transaction of the checkpoint."""

    name = "break_inside"
    effects = Effects.DATABASE


class BreakMemory(BaseAction):
    """Breaks its session in a call that is to use the state only."""

    name = "break_memory"
    effects = Effects.NONE
    Config = BreakForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        if run.attempt == 1 or config.always:
            BREAKS[config.how]()


BREAKING = (BreakOutside, BreakInside, BreakMemory)
