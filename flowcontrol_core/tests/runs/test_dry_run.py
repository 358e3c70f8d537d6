"""Dry runs: what a flow would do is executed for show, and nothing of it is written."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core import mail
from django.core.mail import send_mail
from django.db import IntegrityError, connection, connections, transaction
from django.db.models.signals import post_save

from flowcontrol.errors import (
    DocumentError,
    FlowcontrolError,
    NotStartedError,
    Retry,
    UnknownFlowError,
)
from flowcontrol.flows import DryRun, DryRunEnd, Passed, create_flow, dry_run, edit_draft
from flowcontrol.models import FlowRun
from flowcontrol.testing import flow, step
from flowcontrol_core.document.tree import Step
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.triggers.fire import trigger_flows
from tests.cases import each
from tests.shop.models import Customer

from .conftest import ARCHIVE, Lab, customers, loop, publish, send, sweep, think, write

pytestmark = pytest.mark.django_db


def shown(*steps: Step, **options: Any) -> DryRun:
    return dry_run(flow(*steps), **options)


def called(result: DryRun) -> list[str]:
    return [one.entry["action"] for one in result.steps]


def rows() -> dict[str, int]:
    """Return how many rows each table has, in each database that has it."""
    found = {}
    for database in connections.all():
        tables = set(database.introspection.table_names())
        for model in apps.get_models():
            if model._meta.db_table in tables:
                count = model._base_manager.using(database.alias).count()
                found[f"{database.alias}.{model._meta.label}"] = count
    return found


def test_steps_without_effects_run_and_their_changes_are_shown(lab: Lab) -> None:
    result = shown(think(), think(), state={"n": 1})
    assert (result.end, result.outcome) == (DryRunEnd.DONE, "complete")
    assert [one.entry["changes"] for one in result.steps] == [{"n": [[1], [2]]}, {"n": [[2], [3]]}]
    assert result.state == {"n": 3}


def test_steps_that_write_run_and_later_steps_see_what_they_wrote(lab: Lab) -> None:
    lab.on("look", lambda run, obj: run.state.update(names=customers()))
    result = shown(write("Ada"), think("look"))
    assert result.state["names"] == ["Ada"]
    assert customers() == []


def test_the_object_is_read_anew_and_the_callers_stays_as_it_was(lab: Lab) -> None:
    ada = Customer.objects.create(name="Ada")

    def rename(run: Any, obj: Any) -> None:
        locked = run.lock_object()
        locked.name = "Bob"
        locked.save()

    lab.on("rename", rename)
    lab.on("look", lambda run, obj: run.state.update(name=obj.name))
    result = shown(write("rename"), send(), think("look"), obj=ada)
    assert result.state["name"] == "Bob"
    assert ada.name == "Ada"
    assert Customer.objects.get().name == "Ada"


def test_what_reaches_the_world_outside_is_not_called_and_shown_evaluated(lab: Lab) -> None:
    result = shown(send("hello"), think())
    assert lab.calls == ["think"]
    first = result.steps[0]
    assert (first.is_called, first.config, first.entry["answer"]) == (
        False,
        {"word": "hello"},
        "continue",
    )
    assert result.outcome == "complete"


def _writes_in_every_way(run: Any, obj: Any) -> None:
    Customer.objects.create(name="plain")
    with transaction.atomic():
        Customer.objects.create(name="in a savepoint")
    with transaction.atomic(using=ARCHIVE):
        Customer.objects.using(ARCHIVE).create(name="elsewhere")
    Customer.objects.using(ARCHIVE).create(name="elsewhere, at once")
    transaction.on_commit(lambda: mail.outbox.append(None))  # type: ignore[arg-type]
    transaction.on_commit(lambda: mail.outbox.append(None), using=ARCHIVE)  # type: ignore[arg-type]


def _check_nothing_is_written(lab: Lab) -> None:
    other = publish(think(), key="other")

    def start(run: Any, obj: Any) -> None:
        create_flowrun(other, parent=run)
        trigger_flows("lab.paid", payload={"a": 1})

    lab.on("ways", _writes_in_every_way)
    lab.on("start", start)
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=3)))
    lab.on("mail", lambda run, obj: send_mail("a", "b", "c@example.org", ["d@example.org"]))
    steps = [
        step("builtin.send_email", to="a@example.org", subject="Hi", text="You"),
        *[write("ways"), think("wait"), write("start"), send("mail"), write("ways")],
    ]
    tested = publish(*steps, key="tested")
    before = rows()
    result = dry_run(tested)
    assert (result.outcome, result.reason) == ("complete", "")
    assert len(result.steps) == len(steps)
    assert rows() == before
    assert mail.outbox == []
    sweep()
    assert rows()["default.flowcontrol_core.FlowRun"] == 0
    assert not connection.needs_rollback


def test_nothing_is_written_anywhere(lab: Lab, archive: Any) -> None:
    _check_nothing_is_written(lab)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_committed_anywhere(lab: Lab, archive: Any) -> None:
    _check_nothing_is_written(lab)
    assert not any(database.in_atomic_block for database in connections.all())


@pytest.mark.django_db(transaction=True)
@each("sql", ["COMMIT", "ROLLBACK", "BEGIN", " /* a */ commit", "SELECT 1; COMMIT", "END"])
def test_a_statement_that_would_end_the_transaction_is_refused(lab: Lab, sql: str) -> None:
    def end(run: Any, obj: Any) -> None:
        Customer.objects.create(name="before")
        with connection.cursor() as cursor:
            cursor.execute(sql)

    lab.on("end", end)
    result = shown(write("end"))
    assert result.outcome == "errored"
    assert "would end its transaction" in result.reason
    assert customers() == []


@pytest.mark.django_db(transaction=True)
def test_a_change_of_tables_does_not_commit(lab: Lab) -> None:
    def change(run: Any, obj: Any) -> None:
        Customer.objects.create(name="before")
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE dry_run_table (a integer)")

    lab.on("change", change)
    shown(write("change"))
    assert customers() == []
    assert "dry_run_table" not in connection.introspection.table_names()


@pytest.mark.django_db(transaction=True)
def test_a_closed_connection_writes_nothing_and_is_usable_after_it(lab: Lab) -> None:
    if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
        pytest.skip("A database in memory is gone with its connection.")

    def close(run: Any, obj: Any) -> None:
        Customer.objects.create(name="before")
        connection.close()

    lab.on("close", close)
    assert shown(write("close")).outcome == "errored"
    assert customers() == []


def test_a_database_that_cannot_be_reached_is_refused_not_waited_for(
    lab: Lab, archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("no route to host")

    connections[ARCHIVE].close()
    with monkeypatch.context() as patch:
        patch.setattr(connections[ARCHIVE], "get_new_connection", refuse)
        lab.on("there", lambda run, obj: Customer.objects.using(ARCHIVE).create(name="there"))
        assert shown(write("here")).outcome == "complete"
        assert shown(write("there")).outcome == "errored"


def test_a_failed_step_ends_it_and_what_it_wrote_is_gone_for_the_next(lab: Lab) -> None:
    def twice(run: Any, obj: Any) -> None:
        Customer.objects.create(pk=1, name="a")
        Customer.objects.create(pk=1, name="b")

    lab.on("twice", twice)
    result = shown(write("Ada"), write("twice"), think())
    assert result.outcome == "errored"
    assert result.error is not None
    assert result.error["type"] == "IntegrityError"
    assert len(result.steps) == 2
    assert customers() == []


def test_a_failure_for_show_is_not_logged(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.on("fail", lambda run, obj: 1 / 0)
    assert shown(think("fail")).outcome == "errored"
    assert caplog.text == ""


def test_an_error_that_a_step_hides_without_a_savepoint_fails_it(lab: Lab) -> None:
    def hide(run: Any, obj: Any) -> None:
        Customer.objects.create(pk=1, name="a")
        with suppress(IntegrityError):
            Customer.objects.create(pk=1, name="b")

    lab.on("hide", hide)
    result = shown(write("hide"))
    assert result.outcome == "errored"
    assert "savepoint of its own" in result.reason


def test_a_wait_is_passed_by_the_clock(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=3)))
    result = shown(think("wait"), think())
    assert result.steps[0].passed is Passed.TIME
    assert result.ended_at - result.began_at == timedelta(days=3)
    assert lab.clock.now() == result.began_at
    assert result.outcome == "complete"


def _wait(**options: Any) -> Any:
    def wait(run: Any, obj: Any) -> Any:
        if run.wakeup is None:
            return run.suspend(trigger="lab.paid", repeat=True, **options)
        run.state["woken"] = [run.wakeup.kind, dict(run.wakeup.payload)]
        return None

    return wait


def test_a_wait_for_an_event_times_out_unless_the_event_is_chosen(lab: Lab) -> None:
    lab.on("wait", _wait(timeout=3600))
    late = shown(think("wait"))
    assert late.state["woken"] == ["timeout", {}]
    assert late.ended_at - late.began_at == timedelta(hours=1)
    assert late.steps[0].passed is Passed.TIMEOUT
    chosen = shown(think("wait"), events={"lab.paid": {"amount": 3}})
    assert chosen.state["woken"] == ["trigger", {"amount": 3}]
    assert chosen.ended_at == chosen.began_at
    assert chosen.steps[0].passed is Passed.EVENT


def test_a_wait_without_a_limit_is_where_it_ends(lab: Lab) -> None:
    lab.on("wait", _wait())
    result = shown(think("wait"), think())
    assert (result.end, result.outcome) == (DryRunEnd.WAITING, "")
    assert "lab.paid" in result.reason
    assert result.steps[0].passed is None
    assert result.steps[0].wait is not None


def test_an_event_that_a_condition_refuses_is_not_fired_again(lab: Lab) -> None:
    def refuse(run: Any, obj: Any) -> Any:
        if run.wakeup is not None and run.wakeup.kind == "timeout":
            return None
        return run.suspend(trigger="lab.paid", repeat=True, timeout=60)

    lab.on("wait", refuse)
    result = shown(think("wait"), events={"lab.paid": {}})
    assert [one.passed for one in result.steps] == [Passed.EVENT, Passed.TIMEOUT, None]


def test_a_chosen_event_arrives_at_each_wait_for_it(lab: Lab) -> None:
    lab.on("wait", _wait(timeout=60))
    result = shown(loop(2, think("wait")), events={"lab.paid": {}})
    assert [one.passed for one in result.steps if one.passed] == [Passed.EVENT] * 2


def test_a_flow_that_would_be_started_is_shown_and_taken_as_complete(lab: Lab) -> None:
    ada = Customer.objects.create(name="Ada")
    publish(think("child"), key="other", name="The other")
    start = step("builtin.start_flow", flow="other", wait=True, result_key="result")
    result = shown(start, think(), obj=ada)
    assert [(one.key, one.name, one.object) for one in result.steps[0].started] == [
        ("other", "The other", "Ada")
    ]
    assert result.steps[0].passed is Passed.CHILD
    assert result.state["result"]["outcome"] == "complete"
    assert lab.calls == ["think"]
    assert not FlowRun.objects.exists()


def test_a_retry_is_tried_again_when_it_is_due(lab: Lab) -> None:
    def fail(run: Any, obj: Any) -> None:
        if run.attempt < 3:
            raise Retry(after=60)

    lab.on("fail", fail)
    result = shown(write("fail"))
    assert [one.passed for one in result.steps] == [Passed.RETRY, Passed.RETRY, None]
    assert result.outcome == "complete"


def test_it_is_bounded_in_calls_and_in_time(lab: Lab) -> None:
    many = shown(loop(10_000, think()), most_calls=50)
    assert (many.end, len(many.steps)) == (DryRunEnd.CUT, 50)
    assert "50 calls" in many.reason
    assert shown(think(), seconds=-1).end is DryRunEnd.CUT


@pytest.mark.django_db(transaction=True)
def test_a_statement_is_bounded_in_time_and_the_session_is_put_back(lab: Lab) -> None:
    sleep = {"postgresql": "SELECT pg_sleep(20)", "mysql": "SELECT SLEEP(20)"}
    bound = {"postgresql": "SHOW statement_timeout", "mysql": "SELECT @@max_statement_time"}
    if connection.vendor not in sleep:
        pytest.skip("This database has no bound for a statement.")

    def ask(sql: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    before = ask(bound[connection.vendor])
    lab.on("sleep", lambda run, obj: ask(sleep[connection.vendor]) and None)
    begun = time.monotonic()
    shown(write("sleep"), think(), seconds=1)
    assert time.monotonic() - begun < 10
    assert ask(bound[connection.vendor]) == before


def test_a_wait_in_an_endless_loop_ends(lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=timedelta(days=365)))
    assert shown(loop(10_000, think("wait"))).end in (DryRunEnd.CUT, DryRunEnd.DONE)


def test_a_missing_action_blocks_it(lab: Lab) -> None:
    result = shown(think(), step("nosuch.action"))
    assert result.end is DryRunEnd.BLOCKED
    assert "nosuch.action" in result.reason


def test_the_guard_is_checked(lab: Lab) -> None:
    result = dry_run(flow(think(), guard="state.n > 1"), state={"n": 1})
    assert (result.outcome, result.steps) == ("obsolete", ())


def test_a_secret_is_neither_asked_for_nor_shown(lab: Lab, settings: Any) -> None:
    settings.FLOWCONTROL = {**settings.FLOWCONTROL, "SECRETS": {}}
    state = {"password": "correct-horse"}
    result = shown(
        step("builtin.send_email", to="a@example.org", subject="Hi", text="{{ state.n }} x"),
        state={**state, "n": "correct-horse"},
    )
    assert "correct-horse" not in str([one.config for one in result.steps])


def test_an_expression_that_fails_fails_the_call_that_is_not_made(lab: Lab) -> None:
    mail_step = step("builtin.send_email", to_expression="1 / 0", subject="Hi", text="You")
    result = shown(mail_step, think())
    assert result.outcome == "errored"
    assert "divided by 0" in result.reason
    assert lab.calls == []


def test_the_published_version_runs_or_the_draft(lab: Lab) -> None:
    tested = publish(think("published"), key="tested")
    edit_draft(tested, lambda _: flow(think("draft")), revision=None, author=None)
    dry_run("tested")
    dry_run(tested, draft=True)
    assert lab.calls == ["published", "draft"]
    lab.calls.clear()
    dry_run(publish(think("same"), key="same"), draft=True)
    assert lab.calls == ["same"]


def test_what_cannot_begin_is_refused(lab: Lab) -> None:
    with pytest.raises(UnknownFlowError):
        dry_run("nosuch")
    drafted = create_flow(key="d", name="D", document=flow(think()))
    with pytest.raises(NotStartedError):
        dry_run(drafted)
    assert dry_run(drafted, draft=True).outcome == "complete"
    with pytest.raises(NotStartedError, match="objects of shop"):
        dry_run(flow(think(), object="shop.order"), Customer.objects.create(name="Ada"))
    with pytest.raises(NotStartedError, match="save it first"):
        dry_run(flow(think()), Customer(name="Ada"))
    with pytest.raises(DocumentError):
        shown(step("lab.think", id="a"), step("lab.think", id="a"))


def test_a_step_of_a_run_cannot_execute_one(lab: Lab) -> None:
    errors: list[str] = []

    def nested(run: Any, obj: Any) -> None:
        try:
            shown(think())
        except FlowcontrolError as error:
            errors.append(str(error))

    lab.on("nested", nested)
    shown(think("nested"))
    assert errors == ["A step of a run cannot execute a dry run."]


def test_a_receiver_of_a_signal_sees_a_transaction(lab: Lab) -> None:
    seen: list[bool] = []

    def receive(**_: Any) -> None:
        seen.append(connection.in_atomic_block)

    post_save.connect(receive, sender=Customer)
    try:
        shown(write("Ada"))
    finally:
        post_save.disconnect(receive, sender=Customer)
    assert seen == [True]
