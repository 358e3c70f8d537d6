"""What woke a run is there on every attempt of the call that it was meant for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol.base import BaseAction, Effects, FlowDirective, RunContext
from flowcontrol.errors import Retry
from flowcontrol.testing import flow, run_flow, step, temporary_registry

pytestmark = pytest.mark.django_db


class Listen(BaseAction):
    name = "listen"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective | None:
        if run.wakeup is None:
            return run.suspend(trigger="shop.paid", repeat=True)
        if run.attempt == 1:
            raise Retry(after=60)
        run.state["amount"] = run.wakeup.payload["amount"]
        return None


class ListenOutside(Listen):
    name = "listen_outside"
    effects = Effects.EXTERNAL


@pytest.fixture(autouse=True)
def _actions() -> Iterator[None]:
    with temporary_registry(Listen, ListenOutside):
        yield


@pytest.mark.parametrize("action", ["test.listen", "test.listen_outside"])
def test_retried_call_sees_the_event_that_woke_the_run(action: str) -> None:
    run = run_flow(flow(step(action)))
    run.fire("shop.paid", {"amount": 7})
    assert run.status == "waiting"
    run.advance(seconds=60)
    assert run.outcome == "complete"
    assert run.state == {"amount": 7}
