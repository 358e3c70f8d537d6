"""A database that hangs up is no fault of the runs that were being executed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection

from flowcontrol_core.models import Status
from flowcontrol_core.runs.store.connection import is_lost_connection, is_transient

from .conftest import (
    Lab,
    customers,
    fresh,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db
with_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="It has no session that could be lost"
)


def postgresql_error(state: str | None) -> OperationalError:
    """Return an error as Django raises it for one of psycopg's, after which it has reconnected."""
    error = OperationalError("terminating connection due to administrator command")
    error.__cause__ = type("AdminShutdown", (Exception,), {"sqlstate": state})()
    return error


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P03", "08006", "25P03", None])
def test_a_server_that_has_hung_up_is_known_by_its_code(state: str | None) -> None:
    assert is_lost_connection(postgresql_error(state))


@pytest.mark.parametrize("state", ["40P01", "53200", "57014"])
def test_other_operational_errors_are_not_about_the_connection(state: str) -> None:
    assert not is_lost_connection(postgresql_error(state))
    assert not is_lost_connection(OperationalError("no such table"))


@pytest.mark.parametrize(
    "message",
    [
        "canceling statement due to lock timeout",
        "Lock wait timeout exceeded; try restarting transaction",
        "database is locked",
    ],
)
def test_a_lock_that_was_not_given_in_time_is_asked_for_again(message: str) -> None:
    assert is_transient(OperationalError(message))


@with_a_server
@pytest.mark.django_db(transaction=True)
def test_a_run_whose_server_hung_up_continues_later(lab: Lab) -> None:
    with pytest.MonkeyPatch.context() as away:

        def hang_up(run: object, obj: object) -> None:
            away.setattr(connection, "get_new_connection", refuse_connection)
            end_session()

        lab.on("hang up", hang_up)
        run = start(send("hang up"), write("b"))
        with pytest.raises(OperationalError, match="connection refused"):
            sweep()
    assert fresh(run).status == Status.RUNNING
    lab.behaviours.clear()
    # It is given back, and tried again soon.
    assert sweep() == 0
    lab.clock.advance(seconds=5)
    sweep()
    assert fresh(run).status == Status.DONE
    assert customers() == ["b"]


@with_a_server
@pytest.mark.django_db(transaction=True)
def test_a_server_that_hangs_up_once_costs_the_step_nothing(lab: Lab) -> None:
    def hang_up(run: object, obj: object) -> None:
        if len(lab.keys) == 1:
            end_session()

    lab.on("hang up", hang_up)
    run = start(send("hang up"), write("b"))
    sweep()
    assert fresh(run).outcome == "complete"
    first, again, *_ = lab.keys
    assert first == again
    assert lab.calls.count("hang up") == 2


def end_session() -> None:
    """Lose the session, as the driver says it where an administrator has ended it."""
    connection.connection.close()
    raise postgresql_error("57P01")


def refuse_connection(*_: Any) -> Any:
    raise OperationalError("connection refused")


@pytest.mark.parametrize("kind", [think, write, send])
def test_such_an_error_is_the_steps_while_the_engine_can_work_on(lab: Lab, kind: Any) -> None:
    """It came from another database, or from what the action talks to itself."""

    def hang_up(run: object, obj: object) -> None:
        raise postgresql_error("57P01")

    lab.on("hang up", hang_up)
    run = start(kind("hang up"))
    sweep()
    assert (fresh(run).outcome, fresh(run).reason_code) == ("errored", "step_failed")
