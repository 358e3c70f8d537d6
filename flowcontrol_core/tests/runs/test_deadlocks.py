"""A deadlock outside of a step costs another try: for operators, for sweeps and between runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet

from flowcontrol_core.flows.lifecycle import pause
from flowcontrol_core.models import FlowRun, Message, Status
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun
from flowcontrol_core.runs.execution.sweep import SweepResult, continue_flowruns
from flowcontrol_core.runs.operations.interventions import resume_flow
from flowcontrol_core.runs.queue import claim as claim_module
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.claim import claim
from flowcontrol_core.runs.queue.release import release
from flowcontrol_core.runs.store import connection as connection_module
from tests import operate

from .conftest import (
    Lab,
    Once,
    deadlock,
    event,
    fresh,
    publish,
    start,
    sweep,
    think,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deadlocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Once]:
    """Have the next call of a queryset's method be chosen as the victim of a deadlock."""

    def choose(method: str) -> Once:
        original: Any = getattr(QuerySet, method)
        once = Once(original, deadlock())

        def call(queryset: Any, *args: Any, **options: Any) -> Any:
            return once(queryset, *args, **options)

        monkeypatch.setattr(QuerySet, method, call)
        return once

    return choose


@pytest.mark.parametrize("act", [operate.cancel, operate.pause])
def test_an_operator_is_not_the_victim_of_a_deadlock(
    lab: Lab, deadlocks: Callable[[str], Once], act: Callable[[FlowRun], FlowRun]
) -> None:
    run = start(think())
    FlowRun.objects.update(status=Status.RUNNING)
    once = deadlocks("update")
    act(run)
    assert once.calls > 1
    assert Message.objects.filter(run=run).count() == 1, "what was asked is asked once"
    assert fresh(run).request


def test_retry_is_tried_again_after_a_deadlock(lab: Lab, deadlocks: Callable[[str], Once]) -> None:
    def fail(run: Any, obj: Any) -> None:
        raise ValueError

    lab.on("a", fail)
    run = start(think("a"))
    sweep()
    once = deadlocks("select_for_update")
    operate.retry(run)
    assert (once.calls, fresh(run).status) == (2, Status.WAITING)


def test_a_run_is_woken_although_its_row_deadlocks(
    lab: Lab, deadlocks: Callable[[str], Once]
) -> None:
    run = start(think())
    FlowRun.objects.update(status=Status.WAITING, due_at=None)
    once = deadlocks("update")
    outbox.notify([run.pk])
    assert once.calls > 1
    assert fresh(run).due_at is not None


def test_a_run_that_is_given_back_has_lost_no_attempt_by_a_deadlock(
    lab: Lab, deadlocks: Callable[[str], Once]
) -> None:
    start(think())
    (run,) = claim(1)
    deadlocks("update")
    release(run)
    assert fresh(run).attempt == 0


@pytest.fixture
def updates() -> Iterator[list[str]]:
    """Return the conditions of all updates of runs."""
    found: list[str] = []
    table = re.escape(connection.ops.quote_name(FlowRun._meta.db_table))
    # On MariaDB, that of a checkpoint bounds its own wait.
    statement = rf"(?:SET STATEMENT \S+ FOR )?UPDATE {table}.*? WHERE (.*)"

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if update := re.match(statement, sql, re.DOTALL):
            found.append(update[1])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def test_runs_are_updated_by_their_keys_only(lab: Lab, updates: list[str]) -> None:
    lab.on("listen", lambda run, obj: run.suspend(trigger="lab.paid"))
    lab.on("parent", lambda run, obj: run.suspend(child=create_flowrun("child")))
    listening = start(think("listen"), key="listening")
    publish(think("child"), key="child")
    start(think("parent"), key="parent")
    flow_to_pause = publish(think(), key="paused")
    create_flowrun(flow_to_pause)
    limited = publish(
        think("listen"), key="limited", max_concurrent=1, max_concurrent_policy="queue"
    )
    for _ in range(2):
        create_flowrun(limited)
    pause(flow_to_pause)
    for _ in range(3):
        sweep()
    resume_flow(flow_to_pause)
    event()
    operate.pause(fresh(listening))
    operate.cancel(fresh(listening))
    FlowRun.objects.filter(flow=flow_to_pause).update(
        status=Status.BLOCKED, blocked_on="lab.think", due_at=None
    )
    del updates[-1]
    outbox.unblock()
    sweep()
    keys = re.compile(r'[`"]id[`"] (=|IN) ')
    # The statement of checkpoints, which names no table here, says itself which index is used.
    index = re.compile(r'\.[`"](status|wait_\w+|blocked_on|queued_at|flow_id)[`"] (=|IN|IS) ')
    assert len(updates) > 15
    assert [where for where in updates if not keys.search(where) or index.search(where)] == []


def test_a_claim_that_others_always_precede_is_left_to_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "pause", lambda attempt: None)
    publish(think(), key="flow", max_concurrent=1)
    with monkeypatch.context() as patch:
        tries = Mock(side_effect=OperationalError("could not serialize access"))
        patch.setattr(claim_module, "_take", tries)
        run = start_flowrun("flow")
        assert (run.status, tries.call_count) == (Status.PENDING, 8)
        assert continue_flowruns() == SweepResult(executed=0, more=True)
    sweep()
    assert fresh(run).outcome == "complete"
