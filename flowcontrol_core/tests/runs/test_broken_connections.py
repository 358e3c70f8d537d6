"""A step that closes or breaks the engine's own connection: it fails, with the true reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from flowcontrol_core.models import Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from tests.shop.models import Customer

from .conftest import (
    Lab,
    customers,
    fresh,
    publish,
    send,
    start,
    sweep,
    think,
    write,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_connections]


def close(run: Any, obj: Any) -> None:
    connection.close()


def close_and_write(run: Any, obj: Any) -> None:
    connections.close_all()
    Customer.objects.create(name="never")


def close_and_raise(run: Any, obj: Any) -> None:
    connection.close()
    raise ValueError("after it")


def close_driver(run: Any, obj: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("has no session that could be lost")
    connection.connection.close()


def kill(run: Any, obj: Any) -> None:
    """Have the server end the session of this very connection."""
    sql = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }
    if connection.vendor not in sql:
        pytest.skip("has no session that could be lost")
    with connection.cursor() as cursor:
        cursor.execute(sql[connection.vendor])


def kill_and_hide(run: Any, obj: Any) -> None:
    try:
        kill(run, obj)
    except Exception:  # noqa: BLE001 - as an action does that hides everything
        return


BREAKS: list[Callable[..., None]] = [
    close, close_and_write, close_and_raise, close_driver, kill, kill_and_hide,
]  # fmt: skip


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_database_step_that_breaks_its_connection_fails_and_the_others_go_on(
    lab: Lab, breaks: Any
) -> None:
    lab.on("break", breaks)
    flow = publish(write("before"), think(), write("break"), write("after"), key="bad")
    bad = create_flowrun(flow)
    good = create_flowrun(publish(write("good"), key="good"))
    sweep()
    assert (fresh(bad).outcome, fresh(bad).reason_code) == (Outcome.ERRORED, "step_failed")
    assert "connection to the database of the runs" in fresh(bad).reason
    assert "lab.write" in fresh(bad).reason
    assert fresh(good).outcome == Outcome.COMPLETE
    assert sorted(customers()) == ["before", "good"]
    assert lab.calls.count("after") == 0


def test_a_step_that_breaks_its_connection_is_retried_by_its_policy(lab: Lab) -> None:
    lab.on("break", lambda run, obj: connection.close() if run.attempt == 1 else None)
    run = start(write("break", retry={"attempts": 2, "backoff": 1}))
    sweep()
    assert (fresh(run).status, fresh(run).reason_code) == (Status.WAITING, "step_retried")
    lab.clock.advance(seconds=60)
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE


def test_a_connection_that_breaks_once_costs_the_step_nothing(lab: Lab) -> None:
    def break_once(run: Any, obj: Any) -> None:
        if lab.calls.count("break") == 1:
            close_driver(run, obj)
        Customer.objects.create(name="written")

    lab.on("break", break_once)
    run = start(write("break"))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE
    assert customers() == ["written"]


@pytest.mark.parametrize("kind", [think, send])
def test_a_step_outside_of_a_transaction_may_close_the_connection(lab: Lab, kind: Any) -> None:
    lab.on("close", close)
    run = start(write("a"), kind("close"), write("b"))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE
    assert customers() == ["a", "b"]


@pytest.mark.parametrize("coalesce", [0, 1])
def test_a_step_without_effects_that_ends_the_session_of_others_costs_them_nothing(
    lab: Lab, settings: Any, coalesce: float
) -> None:
    """The others are done again, and it is called outside of their transaction: no harm there."""
    if connection.vendor == "sqlite":
        pytest.skip("has no session that could be lost")
    settings.FLOWCONTROL = {**settings.FLOWCONTROL, "COALESCE": coalesce}
    lab.on("break", kill_and_hide)
    run = start(write("before"), think("break"), write("after"))
    sweep()
    assert (fresh(run).outcome, fresh(run).reason) == (Outcome.COMPLETE, "")
    assert sorted(customers()) == ["after", "before"]


def test_a_run_that_is_started_at_once_fails_with_the_reason(lab: Lab) -> None:
    lab.on("close", close)
    run = start_flowrun(publish(write("close")))
    assert fresh(run).outcome == Outcome.ERRORED
    assert "closed the connection" in fresh(run).reason


def test_a_server_that_is_gone_is_no_fault_of_the_step(lab: Lab) -> None:
    """The connection breaks, and no other can be made: the run continues later."""
    with pytest.MonkeyPatch.context() as refuse:

        def go_away(run: Any, obj: Any) -> None:
            close_driver(run, obj)
            refuse.setattr(connection, "get_new_connection", refuse_connection)
            Customer.objects.create(name="never")

        lab.on("leave", go_away)
        run = start(write("leave"))
        with pytest.raises(OperationalError, match="connection refused"):
            sweep()
    assert fresh(run).status == Status.RUNNING
    lab.behaviours.clear()
    # It is given back, and tried again soon.
    assert sweep() == 0
    lab.clock.advance(seconds=5)
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE


def refuse_connection(*_: Any) -> Any:
    raise OperationalError("connection refused")
