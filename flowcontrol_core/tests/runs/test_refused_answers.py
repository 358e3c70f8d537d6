"""An answer that is not possible fails its step, and nothing of the step stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcontrol.base import BaseAction, Effects, FlowDirective, RunContext
from flowcontrol.testing import flow, run_flow, step, temporary_registry

pytestmark = pytest.mark.django_db


class Astray(BaseAction):
    name = "astray"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective | None:
        run.state["touched"] = True
        return self.leave(to="loop")


class Enters(Astray):
    name = "enters"

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective | None:
        run.state["touched"] = True
        return self.enter("nowhere")


class Answers(Astray):
    name = "answers"

    def run(self, *, run: RunContext, obj: Any, config: Any) -> Any:
        run.state["touched"] = True
        return "next"


@pytest.fixture(autouse=True)
def _actions() -> Iterator[None]:
    with temporary_registry(Astray, Enters, Answers):
        yield


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("test.astray", "no loop is around it"),
        ("test.enters", "'nowhere'"),
        ("test.answers", "has to return None or a FlowDirective"),
    ],
)
def test_impossible_answer_fails_the_step_and_leaves_the_state_as_before(
    action: str, message: str
) -> None:
    run = run_flow(flow(step(action)), state={"kept": 1})
    assert run.outcome == "errored"
    assert message in run.reason
    assert run.state == {"kept": 1}
