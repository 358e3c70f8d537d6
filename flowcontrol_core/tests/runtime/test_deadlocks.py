"""A deadlock outside of a step costs another try: for operators, for sweeps and between runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import QuerySet

from flowcontrol_core.models import FlowRun, Message, Status
from flowcontrol_core.runtime import verbs, waking
from flowcontrol_core.runtime.claim import claim, release

from .conftest import Lab, Once, deadlock, fresh, start, sweep, think

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


@pytest.mark.parametrize("verb", [verbs.cancel_flowrun, verbs.pause_flowrun])
def test_an_operator_is_not_the_victim_of_a_deadlock(
    lab: Lab, deadlocks: Callable[[str], Once], verb: Callable[[FlowRun], FlowRun]
) -> None:
    run = start(think())
    FlowRun.objects.update(status=Status.RUNNING)
    once = deadlocks("update")
    verb(run)
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
    verbs.retry_flowrun(run)
    assert (once.calls, fresh(run).status) == (2, Status.WAITING)


def test_a_run_is_woken_although_its_row_deadlocks(
    lab: Lab, deadlocks: Callable[[str], Once]
) -> None:
    run = start(think())
    FlowRun.objects.update(status=Status.WAITING, wake_at=None)
    once = deadlocks("update")
    waking.ask([run.pk])
    assert once.calls > 1
    assert fresh(run).wake_at is not None


def test_a_run_that_is_given_back_has_lost_no_attempt_by_a_deadlock(
    lab: Lab, deadlocks: Callable[[str], Once]
) -> None:
    start(think())
    (run,) = claim(1)
    deadlocks("update")
    release(run)
    assert fresh(run).attempt == 0
