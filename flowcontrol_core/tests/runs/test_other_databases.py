"""Objects in another database than the runs, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import Flow, FlowRun, Status
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.triggers.fire import trigger_flows
from flowcontrol_core.testing.builder import step
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    ARCHIVE,
    PAID,
    Lab,
    event,
    fresh,
    make_due,
    publish,
    send,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def both(archive: Any) -> tuple[Customer, Customer]:
    """Two customers with the same key: one in the first database, one in the other."""
    Customer.objects.create(pk=9, name="first")
    archive.create(pk=9, name="archived")
    return Customer.objects.get(pk=9), archive.get(pk=9)


@pytest.fixture
def unreachable(archive: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The other database, whose server is down: connecting to it fails as drivers word it."""
    connections[ARCHIVE].close()

    def refuse(*_: Any) -> Any:
        error = OperationalError('connection to server at "10.0.0.9" failed: Connection refused')
        raise error from type("ConnectError", (Exception,), {"sqlstate": None})()

    monkeypatch.setattr(connections[ARCHIVE], "get_new_connection", refuse)
    return Customer.objects.using(ARCHIVE)


class Routed:
    """A router that names a database for writing, and another for reading."""

    def __init__(self, read: str, write: str) -> None:
        self.read, self.write = read, write

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return self.read if model is Customer else None

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return self.write if model is Customer else None


@pytest.fixture
def replica(archive: Any, settings: Any) -> Any:
    """A router that reads customers from the other database, and writes them to the first."""
    settings.DATABASE_ROUTERS = [Routed(read=ARCHIVE, write="default")]
    return archive


def look(run: Any, obj: Any) -> None:
    run.state["names"] = [*run.state.get("names", []), obj.name]


def rename(run: Any, obj: Any) -> None:
    obj.name += "!"
    obj.save()


def executed(flow: Flow, obj: Any) -> FlowRun:
    """Return a run of a flow about an object, after a sweep."""
    run = create_flowrun(flow, obj)
    sweep()
    return fresh(run)


def names() -> list[str]:
    return [Customer.objects.using(alias).get(pk=9).name for alias in ("default", ARCHIVE)]


# --- the object's own database --------------------------------------------------------------


def test_the_object_is_read_and_written_where_it_is(lab: Lab, both: Any) -> None:
    lab.on("look", look)
    lab.on("rename", rename)
    flow = publish(think("look"), send("rename"), write("rename"), think("look"))
    run = executed(flow, both[1])
    assert run.state == {"names": ["archived", "archived!!"]}
    assert names() == ["first", "archived!!"]
    assert (run.object_type, run.object_database) == ("shop.customer", ARCHIVE)


def test_objects_with_the_same_key_in_two_databases_are_read_apart(lab: Lab, both: Any) -> None:
    lab.on("look", look)
    flow = publish(think("look"))
    runs = [create_flowrun(flow, obj) for obj in (*both, *both)]
    sweep()
    assert [fresh(run).state["names"] for run in runs] == [["first"], ["archived"]] * 2


def test_where_no_database_is_remembered_it_is_read_where_it_is_written(
    lab: Lab, both: Any, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [Routed(read="default", write=ARCHIVE)]
    lab.on("look", look)
    run = create_flowrun(publish(think("look")), both[0])
    FlowRun.objects.update(object_database="")
    sweep()
    assert fresh(run).state == {"names": ["archived"]}


def test_the_runs_of_an_object_are_those_of_its_database(lab: Lab, both: Any) -> None:
    flow = publish(think())
    runs = [create_flowrun(flow, obj) for obj in both]
    assert [FlowRun.objects.for_object(obj).get() for obj in both] == runs


def test_limits_per_object_count_the_objects_of_two_databases_apart(lab: Lab, both: Any) -> None:
    flow = publish(think(), object="shop.customer", max_per_object=1)
    assert [executed(flow, obj).outcome for obj in both] == ["complete", "complete"]
    for obj in both:
        with pytest.raises(NotStartedError, match="max_per_object"):
            create_flowrun(flow, obj)


def test_an_event_wakes_the_runs_of_its_object_only(lab: Lab, both: Any) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    flow = publish(think("wait"))
    runs = [create_flowrun(flow, obj) for obj in both]
    sweep()
    event(both[1])
    sweep()
    assert [fresh(run).status for run in runs] == [Status.WAITING, Status.DONE]


def test_an_event_that_came_first_is_found_by_the_run_of_its_object(lab: Lab, both: Any) -> None:
    lab.on("wait", lambda run, obj: run.suspend(trigger="lab.paid"))
    flow = publish(think("wait"))
    runs = [create_flowrun(flow, obj) for obj in both]
    event(both[1])
    sweep()
    sweep()
    assert [fresh(run).status for run in runs] == [Status.WAITING, Status.DONE]


@pytest.mark.parametrize("mode", ["start", "go_to"])
def test_a_flow_trigger_is_about_the_object_of_its_database(lab: Lab, both: Any, mode: str) -> None:
    lab.on("look", look)
    lab.on("wait", lambda run, obj: run.suspend(until=run.now.replace(year=2030)))
    flow = publish(think("wait", id="a"), think("look", id="b"), object="shop.customer")
    flow.flow_triggers.create(trigger="lab.paid", mode=mode, step="" if mode == "start" else "b")
    runs = [create_flowrun(flow, obj) for obj in both]
    sweep()
    found = trigger_flows("lab.paid", both[1])
    sweep()
    if mode == "start":
        assert [run.object_database for run in found] == [ARCHIVE]
    else:
        assert [fresh(run).state for run in runs] == [{}, {"names": ["archived"]}]


def test_a_restarted_run_and_a_started_one_are_about_the_same_object(lab: Lab, both: Any) -> None:
    lab.on("look", look)
    publish(think("look"), key="child", object="shop.customer")
    flow = publish(step("builtin.start_flow", flow="child", id="one"), key="parent")
    old = executed(flow, both[1])
    new = operate.restart(old, "one")
    sweep()
    children = FlowRun.objects.filter(flow__key="child")
    assert new.object_database == ARCHIVE
    assert [child.state for child in children] == [{"names": ["archived"]}] * 2


def test_the_object_is_locked_in_its_own_database(lab: Lab, both: Any) -> None:
    locked: list[bool] = []

    def work(run: Any, obj: Any) -> None:
        obj = run.lock_object()
        locked.append(connections[ARCHIVE].in_atomic_block)
        rename(run, obj)

    lab.on("work", work)
    run = executed(publish(write("work")), both[1])
    assert (run.outcome, locked, names()) == ("complete", [True], ["first", "archived!"])
    assert not connections[ARCHIVE].in_atomic_block


def test_a_failed_step_undoes_what_it_wrote_to_its_locked_object(lab: Lab, both: Any) -> None:
    def work(run: Any, obj: Any) -> None:
        rename(run, run.lock_object())
        raise ValueError("no")

    lab.on("work", work)
    run = executed(publish(write("work")), both[1])
    assert (run.outcome, names()) == ("errored", ["first", "archived"])
    assert not connections[ARCHIVE].in_atomic_block


def test_a_step_that_hides_an_error_of_its_locked_object_fails(lab: Lab, both: Any) -> None:
    def work(run: Any, obj: Any) -> None:
        obj = run.lock_object()
        rename(run, obj)
        try:
            with transaction.atomic(using=ARCHIVE, savepoint=False):
                raise ValueError("hidden")  # noqa: TRY301 - as an action does that hides it
        except ValueError:
            return

    lab.on("work", work)
    run = executed(publish(write("work")), both[1])
    assert (run.outcome, names()) == ("errored", ["first", "archived"])
    assert "caught an error of the database" in run.reason


def test_a_step_that_leaves_a_transaction_open_where_its_object_is_locked_fails(
    lab: Lab, both: Any
) -> None:
    def work(run: Any, obj: Any) -> None:
        rename(run, run.lock_object())
        transaction.atomic(using=ARCHIVE).__enter__()

    lab.on("work", work)
    run = executed(publish(write("work")), both[1])
    assert (run.outcome, names()) == ("errored", ["first", "archived"])
    assert "left a transaction of the database “archive” open" in run.reason
    assert not connections[ARCHIVE].in_atomic_block


def test_a_database_that_is_no_longer_configured_fails_the_step(lab: Lab, both: Any) -> None:
    lab.on("look", look)
    run = create_flowrun(publish(think("look")), both[1])
    FlowRun.objects.update(object_database="moved")
    sweep()
    assert fresh(run).outcome == "errored"
    assert "'moved', which is not in DATABASES" in fresh(run).reason


# --- replicas -------------------------------------------------------------------------------


def test_an_object_that_a_replica_does_not_have_yet_is_not_gone(lab: Lab, replica: Any) -> None:
    lab.on("look", look)
    run = create_flowrun(publish(think("look")), Customer.objects.create(name="new"))
    sweep()
    assert fresh(run).state == {"names": ["new"]}


def test_an_object_that_a_replica_still_has_is_gone(lab: Lab, replica: Any) -> None:
    lab.on("look", look)
    run = create_flowrun(publish(think("look")), replica.create(name="old"))
    sweep()
    assert fresh(run).outcome == "obsolete"


def test_an_object_that_was_read_from_a_replica_is_that_of_the_primary(
    lab: Lab, replica: Any
) -> None:
    lab.on("look", look)
    Customer.objects.create(pk=9, name="now")
    replica.create(pk=9, name="before")
    stale = Customer.objects.get(pk=9)
    assert stale.name == "before"
    run = executed(publish(think("look"), write("look")), stale)
    assert (run.state, run.object_database) == ({"names": ["now", "now"]}, "default")
    assert FlowRun.objects.for_object(stale).get() == run


# --- what goes wrong there ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [think, write, send])
def test_a_database_that_is_down_is_a_failure_of_the_step(
    lab: Lab, unreachable: Any, kind: Any
) -> None:
    lab.on("ask", lambda run, obj: unreachable.get(pk=1))
    flow = publish(kind("ask", retry={"attempts": 3, "backoff": 1}), key="asks")
    fine = publish(write("fine"), key="fine")
    asking = [create_flowrun(flow) for _ in range(3)]
    good = [create_flowrun(fine) for _ in range(5)]
    sweep()
    assert [fresh(run).outcome for run in good] == ["complete"] * 5
    assert [fresh(run).reason_code for run in asking] == ["step_retried"] * 3
    assert "Connection refused" in fresh(asking[0]).reason
    for _ in range(2):
        make_due(asking[0], lab)
        lab.clock.advance(seconds=60)
        sweep()
    assert [fresh(run).outcome for run in asking] == ["errored"] * 3
    assert len(lab.calls) == 9 + 5


def test_an_object_in_a_database_that_is_down_is_not_gone(lab: Lab, unreachable: Any) -> None:
    lab.on("look", look)
    run = create_flowrun(
        publish(think("look", retry={"attempts": 3, "backoff": 1})), Customer.objects.create()
    )
    FlowRun.objects.update(object_database=ARCHIVE)
    sweep()
    assert (fresh(run).status, fresh(run).reason_code) == (Status.WAITING, "step_retried")


def test_a_guard_that_cannot_read_its_object_now_is_retried_with_its_step(
    lab: Lab, unreachable: Any
) -> None:
    flow = publish(think(retry={"attempts": 3, "backoff": 1}), guard="object.is_active")
    run = create_flowrun(flow, Customer.objects.create())
    FlowRun.objects.update(object_database=ARCHIVE)
    sweep()
    assert (fresh(run).status, fresh(run).reason_code) == (Status.WAITING, "step_retried")
    FlowRun.objects.update(object_database="default")
    lab.clock.advance(seconds=60)
    sweep()
    assert fresh(run).outcome == "complete"


def test_a_statement_that_another_database_refuses_is_a_failure_of_the_step(
    lab: Lab, archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is worded as what is repeated on the runs' own."""

    def refuse(*_: Any) -> Any:
        raise OperationalError("database is locked")

    wrapped = connections[ARCHIVE]
    monkeypatch.setattr(wrapped, "ops", _Refusing(wrapped.ops, refuse))
    lab.on("ask", lambda run, obj: archive.get(pk=1))
    run = create_flowrun(publish(write("ask")))
    sweep()
    assert fresh(run).outcome == "errored"
    assert lab.calls == ["ask"]


class _Refusing:
    """The operations of a backend, one of which is asked within each statement."""

    def __init__(self, ops: Any, refuse: Any) -> None:
        self._ops, self.prepare_sql_script, self._refuse = ops, refuse, refuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)


# --- transactions of another database --------------------------------------------------------


def test_a_trigger_fires_after_the_commit_of_the_other_database(lab: Lab, archive: Any) -> None:
    publish(think(), object="shop.customer").flow_triggers.create(trigger="lab.paid")
    with transaction.atomic(using=ARCHIVE):
        ada = archive.create(name="Ada")
        assert not trigger_flows("lab.paid", ada, {"n": 1})
        assert not FlowRun.objects.exists()
    run = FlowRun.objects.get()
    assert (run.object_database, run.payload) == (ARCHIVE, {"n": 1})


def test_a_trigger_does_not_fire_after_a_rollback_there(lab: Lab, archive: Any) -> None:
    publish(think()).flow_triggers.create(trigger="lab.paid")
    with transaction.atomic(using=ARCHIVE):
        PAID.fire(archive.create(name="Ada"))
        transaction.set_rollback(True, using=ARCHIVE)
    sweep()
    assert not FlowRun.objects.exists()


def test_what_a_step_fires_in_such_a_transaction_is_deeper_by_one(lab: Lab, both: Any) -> None:
    lab.on("fire", lambda run, obj: PAID.fire(run.lock_object()))
    flow = publish(write("fire"))
    publish(think(), key="fired").flow_triggers.create(trigger="lab.paid")
    parent = executed(flow, both[1])
    child = FlowRun.objects.get(flow__key="fired")
    assert (child.parent_id, child.depth) == (parent.pk, 1)


def test_a_run_that_is_created_in_such_a_transaction_waits_for_its_commit(
    lab: Lab, archive: Any
) -> None:
    lab.on("look", look)
    flow = publish(think("look"))
    with transaction.atomic(using=ARCHIVE):
        runs = [
            begin(flow, archive.create(name="Ada")) for begin in (create_flowrun, start_flowrun)
        ]
        sweep()
        assert [fresh(run).status for run in runs] == [Status.PENDING] * 2
    sweep()
    assert [fresh(run).state for run in runs] == [{"names": ["Ada"]}] * 2


def test_a_run_whose_transaction_was_rolled_back_is_obsolete_after_a_lease(
    lab: Lab, archive: Any
) -> None:
    lab.on("look", look)
    with transaction.atomic(using=ARCHIVE):
        run = create_flowrun(publish(think("look")), archive.create(name="Ada"))
        transaction.set_rollback(True, using=ARCHIVE)
    sweep()
    assert fresh(run).status == Status.PENDING
    lab.clock.advance(seconds=60)
    sweep()
    assert fresh(run).outcome == "obsolete"


# --- sessions of another database -----------------------------------------------------------


@pytest.fixture
def second(db: None) -> Iterator[BaseDatabaseWrapper]:
    """The server of the first database by another alias: a session of its own."""
    if connection.vendor == "sqlite":
        pytest.skip("There is no server that could end a session.")
    connections.databases["second"] = {**connections.databases["default"]}
    database: Any = connections["second"]
    database.ensure_connection = lambda: database.connection or database.connect()
    try:
        yield database
    finally:
        database.close()
        del connections["second"], connections.databases["second"]


def ask(database: BaseDatabaseWrapper, sql: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(sql)


def test_a_session_of_another_database_that_has_ended_is_replaced(
    lab: Lab, second: BaseDatabaseWrapper
) -> None:
    is_postgresql = connection.vendor == "postgresql"
    end = (
        "SELECT pg_terminate_backend(pg_backend_pid())" if is_postgresql else "KILL CONNECTION_ID()"
    )

    lab.on("ask", lambda run, obj: ask(second, end if run.attempt == 1 else "SELECT 1"))
    run = create_flowrun(publish(send("ask", retry={"attempts": 2, "backoff": 1})))
    sweep()
    assert fresh(run).reason_code == "step_retried"
    lab.clock.advance(seconds=60)
    sweep()
    assert (fresh(run).outcome, lab.calls) == ("complete", ["ask", "ask"])


@pytest.mark.parametrize("is_new", [True, False])
def test_what_a_step_sets_in_another_database_is_noticed_at_its_first_use_too(
    lab: Lab, second: BaseDatabaseWrapper, is_new: bool
) -> None:
    if not is_new:
        ask(second, "SELECT 1")
    read_only = {
        "postgresql": "SET default_transaction_read_only = on",
        "mysql": "SET SESSION TRANSACTION READ ONLY",
    }[connection.vendor]
    lab.on("ask", lambda run, obj: ask(second, read_only))
    run = create_flowrun(publish(send("ask")))
    sweep()
    assert "changed its database session" in fresh(run).reason
