"""What a step does to its thread, its database sessions and its process harms no other step."""

from __future__ import annotations

import asyncio
import decimal
import locale
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.db import Error, connection, transaction
from django.utils import timezone, translation

from flowcontrol_core.errors import EffectsError, interruptions
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
    steps_of,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)
_present: ContextVar[str] = ContextVar("present", default="")


class Stray(BaseException):
    """An error of a library that does not derive from Exception."""


def raising(error: BaseException) -> Callable[..., None]:
    def behave(run: Any, obj: Any) -> None:
        raise error

    return behave


ERRORS = [SystemExit(1), asyncio.CancelledError(), Stray("astray")]


# --- what is raised --------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("make", [think, write, send])
def test_whatever_a_step_raises_fails_it_and_nobody_else(
    lab: Lab, make: Any, error: BaseException
) -> None:
    lab.on("bad", raising(error))
    bad, good = start(make("bad"), key="bad"), start(make("good"), key="good")
    assert sweep() == 2
    assert fresh(bad).outcome == Outcome.ERRORED
    assert type(error).__name__ in str(fresh(bad).reason_values["error"])
    assert fresh(good).outcome == Outcome.COMPLETE
    assert lab.calls.count("bad") == 1


@pytest.mark.parametrize("error", ERRORS)
def test_it_is_retried_as_any_other_error(lab: Lab, error: BaseException) -> None:
    lab.on("bad", raising(error))
    run = start(send("bad", retry={"attempts": 2, "backoff": "1s"}))
    sweep()
    assert fresh(run).status == Status.WAITING


@pytest.mark.parametrize("error", ERRORS)
def test_who_saves_never_gets_it_when_runs_are_executed_inline(
    lab: Lab, settings: Any, error: BaseException
) -> None:
    settings.FLOWCONTROL = {**settings.FLOWCONTROL, "DISPATCH": "inline"}
    lab.on("bad", raising(error))
    publish(write("bad"))
    with transaction.atomic():
        run = create_flowrun("flow")
    assert fresh(run).outcome == Outcome.ERRORED


@pytest.mark.parametrize("error", ERRORS)
def test_a_guard_whose_object_exits_ends_its_run_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    ada = Customer.objects.create(name="Ada")
    publish(think(), guard="object.name == 'Ada'", object="shop.customer", key="bad")
    run, other = create_flowrun("bad", ada), start(think(), key="good")

    def read(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Customer, "refresh_from_db", read)
    monkeypatch.setattr(Customer, "from_db", classmethod(read))
    sweep()
    assert fresh(run).outcome == Outcome.ERRORED
    assert fresh(other).outcome == Outcome.COMPLETE


@pytest.mark.parametrize("error", [*ERRORS, ValueError("late")])
def test_what_is_done_after_the_commit_undoes_nothing_and_is_logged(
    lab: Lab, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    def behave(run: Any, obj: Any) -> None:
        Customer.objects.create(name="once")
        transaction.on_commit(fail)

    lab.on("late", behave)
    run = start(write("late"), think())
    sweep()
    assert (fresh(run).outcome, customers()) == (Outcome.COMPLETE, ["once"])
    assert [r.levelname for r in caplog.records if "after the commit" in r.message] == ["WARNING"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stray("stop")])
def test_an_interruption_gives_back_what_is_not_written(
    lab: Lab, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcontrol_core.errors.interruptions", {*interruptions, type(error)})
    publish(write("first"), key="first")
    publish(write("second"), key="second")
    publish(write("third"), key="third")
    runs = [create_flowrun(key) for key in ("first", "second", "third")]

    def behave(run: Any, obj: Any) -> None:
        raise error

    lab.on("first", lambda run, obj: time.sleep(0.05))
    lab.on("second", behave)
    with pytest.raises(type(error)):
        sweep()
    first, second, third = map(fresh, runs)
    assert first.outcome == Outcome.COMPLETE
    assert (second.attempt, third.attempt) == (0, 0)
    assert second.reason_code == third.reason_code == ""
    lab.behaviours.clear()
    assert sweep() == 2, "due at once"
    assert {fresh(run).outcome for run in runs} == {Outcome.COMPLETE}
    assert steps_of(second)[-1].get("attempt", 1) == 1


def test_an_interruption_that_is_the_runs_own_counts_so_that_it_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcontrol_core.errors.interruptions", {*interruptions, Stray})

    def behave(run: Any, obj: Any) -> None:
        time.sleep(0.05)
        raise Stray

    lab.on("long", behave)
    run = start(send("long"))
    for _ in range(5):
        with pytest.raises(Stray):
            sweep()
    sweep()
    assert fresh(run).reason_code == "dead_lettered"


@pytest.mark.parametrize("wrap", [False, True])
def test_an_interruption_that_a_step_has_caught_is_still_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, wrap: bool
) -> None:
    monkeypatch.setattr("flowcontrol_core.errors.interruptions", {*interruptions, Stray})

    def behave(run: Any, obj: Any) -> None:
        try:
            raising(Stray())(run, obj)
        except Stray as error:
            if wrap:
                raise ValueError("wrapped") from error
            raise ValueError("in its place")  # noqa: B904

    lab.on("bad", behave)
    start(think("bad"))
    with pytest.raises(Stray):
        sweep()


# --- the thread ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [think, write, send])
def test_the_context_of_a_step_ends_with_it(lab: Lab, make: Any) -> None:
    seen: list[tuple[str, str, int, str]] = []

    def change(run: Any, obj: Any) -> None:
        translation.activate("de")
        timezone.activate("Asia/Tokyo")
        decimal.getcontext().prec = 3
        decimal.setcontext(decimal.Context(prec=4))
        _present.set("mine")

    def look(run: Any, obj: Any) -> None:
        zone = timezone.get_current_timezone_name()
        precision = len((Decimal(1) / Decimal(3)).as_tuple().digits)
        seen.append((translation.get_language(), zone, precision, _present.get()))

    lab.on("change", change)
    lab.on("look", look)
    start(make("look"), make("change"), make("look"), key="one")
    start(make("look"), key="two")
    sweep()
    expected = (settings.LANGUAGE_CODE, settings.TIME_ZONE, 28, "")
    assert seen == [expected] * 3
    assert (Decimal(1) / Decimal(3)).as_tuple().exponent == -28


def test_the_site_s_language_and_the_flow_s_zone_are_in_force_whoever_starts(lab: Lab) -> None:
    from flowcontrol_core.testing.builder import flow
    from flowcontrol_core.testing.helpers import publish_flow

    seen: list[tuple[str, str]] = []
    lab.on(
        "look",
        lambda run, obj: seen.append(
            (translation.get_language(), timezone.get_current_timezone_name())
        ),
    )
    publish_flow(flow(think("look"), send("look"), time_zone="Asia/Tokyo"))
    with translation.override("de"), timezone.override("America/New_York"):
        start_flowrun("flow")
        assert translation.get_language() == "de"
        assert timezone.get_current_timezone_name() == "America/New_York"
    assert seen == [(settings.LANGUAGE_CODE, "Asia/Tokyo")] * 2


def test_a_cache_that_a_step_uses_first_is_kept(lab: Lab) -> None:
    used: list[int] = []
    lab.on("use", lambda run, obj: used.append(id(caches["default"])))
    start(think("use"), think("use"), send("use"))
    sweep()
    assert set(used) == {id(caches["default"])}


# --- the process -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [think, write, send])
def test_what_belongs_to_the_process_is_put_back_and_logged(
    lab: Lab, make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[Any] = []

    def state() -> tuple[Any, ...]:
        handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGALRM)]
        return (Path.cwd(), socket.getdefaulttimeout(), *handlers)

    def change(run: Any, obj: Any) -> None:
        os.chdir(tmp_path)
        socket.setdefaulttimeout(3)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: None)

    lab.on("change", change)
    lab.on("look", lambda run, obj: found.append(state()))
    before = state()
    start(make("change"), key="one")
    start(make("look"), key="two")
    sweep()
    assert found == [before]
    assert state() == before
    lines = [record.message for record in caplog.records if "put back" in record.message]
    assert lines == [
        f"A step changed the {name} of the process; it is put back."
        for name in (
            "current directory",
            "default time-out of sockets",
            "handler of SIGTERM",
            "handler of SIGALRM",
        )
    ]


def test_a_current_directory_that_a_step_deletes_is_left(lab: Lab, tmp_path: Path) -> None:
    def change(run: Any, obj: Any) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()

    before = Path.cwd()
    lab.on("change", change)
    run = start(send("change"))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE
    assert Path.cwd() == before


def test_the_locale_is_put_back(lab: Lab) -> None:
    before = locale.setlocale(locale.LC_ALL)
    other = "C.UTF-8" if before == "C" else "C"
    lab.on("change", lambda run, obj: locale.setlocale(locale.LC_ALL, other))
    start(send("change"))
    sweep()
    assert locale.setlocale(locale.LC_ALL) == before


# --- database sessions -----------------------------------------------------------------------


def leave_autocommit_off() -> None:
    transaction.set_autocommit(False)
    Customer.objects.create(name="uncommitted")


def begin_by_hand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE shop_customer SET name = 'changed'")


def leave_atomic_open() -> None:
    transaction.atomic().__enter__()
    Customer.objects.create(name="uncommitted")


def set_read_only() -> None:
    sql = {
        "postgresql": "SET default_transaction_read_only = on",
        "mysql": "SET SESSION TRANSACTION READ ONLY",
        "sqlite": "PRAGMA query_only = ON",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)


def set_isolation() -> None:
    sql = {
        "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "sqlite": "PRAGMA query_only = ON",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)


def begin_on_a_new_connection() -> None:
    connection.close()
    begin_by_hand()


def set_a_new_connection_read_only() -> None:
    connection.close()
    set_read_only()


OUTSIDE = [
    *(leave_autocommit_off, begin_by_hand, leave_atomic_open, set_read_only, set_isolation),
    *(begin_on_a_new_connection, set_a_new_connection_read_only),
]


def as_behaviour(work: Callable[[], None]) -> Callable[..., None]:
    return lambda run, obj: work()


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("work", OUTSIDE)
def test_a_session_that_a_call_leaves_changed_fails_its_step_and_no_other(
    lab: Lab, work: Callable[[], None], raises: bool
) -> None:
    def behave(run: Any, obj: Any) -> None:
        work()
        if raises:
            raise LookupError("its own error")

    lab.on("bad", behave)
    bad = start(send("bad"), write("never"), key="bad")
    good = [start(write(f"good{n}"), send(), key=f"good{n}") for n in range(3)]
    assert sweep() == 4
    assert fresh(bad).outcome == Outcome.ERRORED
    wanted = "its own error" if raises else "The action"
    assert wanted in fresh(bad).reason_values["error"]
    assert {fresh(run).outcome for run in good} == {Outcome.COMPLETE}
    assert lab.calls.count("bad") == 1
    connection.close()
    assert customers() == ["good0", "good1", "good2"]


@pytest.mark.parametrize("work", [leave_autocommit_off, leave_atomic_open, set_read_only])
def test_a_step_without_effects_leaves_no_session_changed(
    lab: Lab, work: Callable[[], None]
) -> None:
    def behave(run: Any, obj: Any) -> None:
        if work is set_read_only:
            work()
        elif work is leave_atomic_open:
            transaction.atomic().__enter__()
        else:
            transaction.set_autocommit(False)

    lab.on("bad", behave)
    bad, good = start(think("bad"), key="bad"), start(write("good"), key="good")
    sweep()
    assert fresh(bad).outcome == Outcome.ERRORED
    assert fresh(good).outcome == Outcome.COMPLETE
    connection.close()
    assert customers() == ["good"]


def test_a_step_without_effects_leaves_no_savepoint_open_in_the_transaction_of_others(
    lab: Lab,
) -> None:
    lab.on("bad", as_behaviour(transaction.atomic().__enter__))
    bad = start(write("before"), think("bad"), write("never"), key="bad")
    good = start(write("good"), key="good")
    sweep()
    assert fresh(bad).outcome == Outcome.ERRORED
    assert "left a transaction" in fresh(bad).reason_values["error"]
    assert fresh(good).outcome == Outcome.COMPLETE
    connection.close()
    assert customers() == ["before", "good"]


def close() -> None:
    connection.close()


def commit_by_hand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("COMMIT")


def swallow_a_refusal() -> None:
    with suppress(EffectsError):
        commit_by_hand()
    raise LookupError("The action has caught it.")


def define_a_table() -> None:
    if connection.vendor != "mysql":
        raise LookupError("The action may: it is rolled back.")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE proc_of_a_step (id int)")


def close_and_query() -> None:
    connection.close()
    Customer.objects.count()


def leave_savepoint_open() -> None:
    transaction.atomic().__enter__()
    Customer.objects.create(name="uncommitted")


def is_in_memory() -> bool:
    database: Any = connection
    return connection.vendor == "sqlite" and bool(database.is_in_memory_db())


def set_read_only_by_its_variable() -> None:
    sql = {
        "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "mysql": "SET @@session.tx_read_only = 1",
        "sqlite": "PRAGMA query_only = ON",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)


def commit_by_autocommit() -> None:
    if connection.vendor != "mysql":
        raise LookupError("The action may not: it is no statement there.")
    with connection.cursor() as cursor:
        cursor.execute("SET autocommit = 1")


INSIDE = [
    set_read_only,
    set_read_only_by_its_variable,
    set_isolation,
    commit_by_autocommit,
    close,
    commit_by_hand,
    swallow_a_refusal,
    define_a_table,
    close_and_query,
    leave_savepoint_open,
]


@pytest.mark.parametrize("work", INSIDE)
def test_a_step_that_ends_its_transaction_fails_with_the_true_reason(
    lab: Lab, work: Callable[[], None]
) -> None:
    in_memory = is_in_memory()
    if in_memory and work in (close, close_and_query):
        pytest.skip("A database in memory is not closed.")
    lab.on("bad", as_behaviour(work))
    bad = start(write("before"), write("bad"), write("never"), key="bad")
    good = start(write("good"), key="good")
    assert sweep() == 2
    assert fresh(bad).outcome == Outcome.ERRORED
    assert "The action" in fresh(bad).reason_values["error"]
    assert fresh(bad).attempt == 0
    assert fresh(good).outcome == Outcome.COMPLETE
    assert customers() == ["before", "good"], "what the steps before it wrote stands, once"


def kill_session() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("There is no server that could end a session.")
    sql = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)


def kill_session_quietly() -> None:
    with suppress(Error):
        kill_session()


@pytest.mark.parametrize("make", [think, write, send])
@pytest.mark.parametrize("before", [(), (write("before"),)])
def test_a_step_that_has_its_session_ended_each_time_fails_by_its_policy(
    lab: Lab, make: Any, before: Any
) -> None:
    lab.on("bad", as_behaviour(kill_session))
    policy = {"attempts": 2, "backoff": 1}
    bad = start(*before, make("bad", retry=policy), write("never"), key="bad")
    good = [start(write(f"good{n}"), key=f"good{n}") for n in range(2)]
    assert sweep() == 3, "it is asked once more, and no other has to wait"
    found = fresh(bad)
    assert (found.status, found.reason_code) == (Status.WAITING, "step_retried")
    assert "closed or broken by each call of the step" in found.reason_values["error"]
    lab.clock.advance(seconds=60)
    sweep()
    assert (fresh(bad).outcome, fresh(bad).reason_code) == (Outcome.ERRORED, "step_failed")
    assert {fresh(run).outcome for run in good} == {Outcome.COMPLETE}
    assert customers() == [*(["before"] if before else []), "good0", "good1"]


def test_a_call_that_must_not_be_repeated_is_not_when_its_session_ends(lab: Lab) -> None:
    lab.on("bad", as_behaviour(kill_session))
    bad = start(send("bad", if_unknown="fail"))
    sweep()
    assert (fresh(bad).outcome, fresh(bad).reason_code) == (Outcome.ERRORED, "unknown_call")
    assert lab.calls == ["bad"]


@pytest.mark.parametrize("make", [think, send])
def test_a_step_that_hides_the_end_of_its_session_harms_nothing(lab: Lab, make: Any) -> None:
    lab.on("quiet", as_behaviour(kill_session_quietly))
    run = start(make("quiet"), write("after"))
    assert sweep() == 1
    assert (fresh(run).outcome, customers()) == (Outcome.COMPLETE, ["after"])
    assert lab.calls.count("quiet") == 1


def test_a_step_that_hides_the_end_of_its_transaction_fails(lab: Lab) -> None:
    lab.on("quiet", as_behaviour(kill_session_quietly))
    run = start(write("before"), write("quiet"), write("never"))
    assert sweep() == 1
    assert (fresh(run).outcome, fresh(run).reason_code) == (Outcome.ERRORED, "step_failed")
    assert customers() == ["before"]


def test_a_session_that_was_set_to_something_is_renewed(lab: Lab) -> None:
    sql = {
        "postgresql": ("SET search_path TO nowhere", "SHOW search_path", '"$user", public'),
        "mysql": ("SET SESSION sql_mode = ''", "SELECT @@sql_mode = ''", 0),
        "sqlite": ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", 1),
    }[connection.vendor]
    if is_in_memory():
        pytest.skip("A database in memory is not closed.")
    seen: list[Any] = []

    def change(run: Any, obj: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql[0])

    def look(run: Any, obj: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql[1])
            seen.append(cursor.fetchone()[0])

    lab.on("change", change)
    lab.on("look", look)
    run = start(send("change"), send("look"))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE
    assert seen == [sql[2]]


def test_an_error_in_a_session_that_was_set_to_something_is_the_step_s(lab: Lab) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("The others have no time-out of statements that ends in such an error.")

    def behave(run: Any, obj: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '20ms'")
            cursor.execute("SELECT pg_sleep(1)")

    lab.on("bad", behave)
    bad, good = start(send("bad"), key="bad"), start(write("good"), key="good")
    sweep()
    assert "statement timeout" in fresh(bad).reason_values["error"]
    assert fresh(good).outcome == Outcome.COMPLETE


def test_a_call_may_close_and_use_connections_and_transactions_as_it_should(lab: Lab) -> None:
    def behave(run: Any, obj: Any) -> None:
        connection.close()
        with transaction.atomic():
            Customer.objects.create(name="kept")
            with transaction.atomic():
                Customer.objects.create(name="too")
        connection.close()

    lab.on("call", behave)
    run = start(send("call"), write("after"))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE
    assert customers() == ["kept", "too", "after"]


# --- the log ---------------------------------------------------------------------------------


def test_each_failed_call_is_one_line_of_the_log_without_secrets(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "flowcontrol")
    lab.on("bad", raising(ValueError("no luck with hunter2hunter2\nat all")))
    publish(send("bad", id="bad", retry={"attempts": 2, "backoff": "1s"}), key="orders")
    run = create_flowrun("orders", state={"password": "hunter2hunter2"})
    sweep()
    lab.clock.advance(hours=1)
    sweep()
    assert fresh(run).outcome == Outcome.ERRORED
    head = f"Run {run.pk} of the flow orders: step bad (lab.send)"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"{head} {what}: ValueError: no luck with ••• at all")
        for what in ("failed and will be retried at attempt 1", "failed at attempt 2")
    ]
    assert all(record.exc_info is None for record in caplog.records)


# --- time-outs -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [think, write, send])
def test_a_call_that_took_too_long_is_said_and_its_answer_discarded(
    lab: Lab, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(run: Any, obj: Any) -> None:
        run.state["answer"] = 42
        time.sleep(0.03)

    lab.on("slow", behave)
    run = start(make("slow", timeout=0.02))
    sweep()
    found = fresh(run)
    assert (found.outcome, found.state) == (Outcome.ERRORED, {})
    assert "longer than its time-out of 0.02 s" in found.reason_values["error"]
    assert "longer than its time-out" in steps_of(run)[0]["error"]
    assert sum("longer than its time-out" in record.message for record in caplog.records) == 1


def test_a_heartbeat_begins_the_time_of_a_call_anew(lab: Lab) -> None:
    def behave(run: Any, obj: Any) -> None:
        for _ in range(4):
            time.sleep(0.03)
            run.heartbeat()

    lab.on("slow", behave)
    run = start(send("slow", timeout=0.1))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE


def test_a_seed_of_a_step_is_its_own_business(lab: Lab) -> None:
    lab.on("seed", lambda run, obj: random.seed(1))
    run = start(think("seed"))
    sweep()
    assert fresh(run).outcome == Outcome.COMPLETE
