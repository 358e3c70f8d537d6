"""A claim takes as many runs as are executed in a short time, and leaves the others to others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.runs.execution import batch as batch_module
from flowcontrol_core.runs.execution import sweep as sweep_module
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import claim as claim_module
from flowcontrol_core.runs.queue.claim import FIRST, Choice, Pace, claim
from tests import operate

from .conftest import Lab, execute, fresh, publish, send, sweep, think, write

pytestmark = pytest.mark.django_db(transaction=True)
TURN = 0.2


@dataclass
class Machine:
    """Stands for the module ``time``: a monotonic clock that steps move."""

    seconds: float = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(claim_module, "TURN", TURN)
    for module in (batch_module, sweep_module):
        monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each claim took."""
    found: list[int] = []

    def counting(limit: int, choice: Choice) -> list[FlowRun]:
        runs = claim(limit, choice)
        found.append(len(runs))
        return runs

    monkeypatch.setattr(sweep_module, "claim", counting)
    return found


def taking(lab: Lab, machine: Machine, word: str, seconds: float) -> None:
    """Have steps of a word take some time."""

    def work(run: Any, obj: Any) -> None:
        machine.seconds += seconds

    lab.on(word, work)


def create(number: int, *steps: Any, key: str = "flow") -> list[FlowRun]:
    flow = publish(*steps, key=key)
    return [create_flowrun(flow) for _ in range(number)]


@pytest.mark.parametrize("place", [think, write, send])
def test_slow_runs_are_claimed_few_at_a_time(
    lab: Lab, machine: Machine, claims: list[int], place: Any
) -> None:
    taking(lab, machine, "slow", 0.05)
    create(40, place("slow"))
    assert sweep() == 40
    first, *others, last = claims
    assert (first, last) == (FIRST, 0)
    assert set(others) <= {3, 4, 5}
    assert len(lab.calls) == len(set(lab.keys)) == 40


def test_runs_that_take_no_time_are_claimed_many_at_a_time(
    lab: Lab, machine: Machine, claims: list[int]
) -> None:
    create(300, think())
    sweep()
    assert claims[:3] == [FIRST, 200, 90]


def test_runs_longer_than_a_turn_are_claimed_one_at_a_time(
    lab: Lab, machine: Machine, claims: list[int]
) -> None:
    taking(lab, machine, "slow", 9)
    create(3, send("slow"))
    assert sweep() == 3
    assert claims == [3, 1, 1, 0]


def test_what_has_not_begun_when_the_turn_is_over_keeps_its_place_in_the_queue(
    lab: Lab, machine: Machine
) -> None:
    """As if it had not been claimed: with its status, its due time and its attempts."""
    taking(lab, machine, "slow", 1)
    flow = publish(write("slow"))
    due = lab.clock.now() - timedelta(minutes=5)
    runs = [create_flowrun(flow) for _ in range(5)]
    FlowRun.objects.update(due_at=due)
    waiting = runs[3]
    FlowRun.objects.filter(pk=waiting.pk).update(status=Status.WAITING)
    execute(claim(5))
    assert [fresh(run).status for run in runs] == [
        "done",
        "pending",
        "pending",
        "waiting",
        "pending",
    ]
    for run in runs[1:]:
        row = fresh(run)
        assert (row.due_at, row.attempt, row.worker) == (due, 0, "")
    assert len(lab.calls) == 1


def test_what_is_given_back_reads_its_inbox_when_it_is_claimed_again(
    lab: Lab, machine: Machine
) -> None:
    def work(run: Any, obj: Any) -> None:
        operate.cancel(second)
        machine.seconds += 1

    lab.on("slow", work)
    _, second = create(2, send("slow"))
    execute(claim(2))
    assert fresh(second).status == Status.PENDING
    sweep()
    assert fresh(second).outcome == "canceled"
    assert len(lab.calls) == 1


def test_a_run_that_another_worker_has_by_now_is_not_given_back(lab: Lab, machine: Machine) -> None:
    taking(lab, machine, "slow", 1)
    create(2, write("slow"))
    runs = claim(2)
    FlowRun.objects.filter(pk=runs[1].pk).update(fence=99)
    execute(runs)
    row = fresh(runs[1])
    assert (row.status, row.fence, row.attempt) == (Status.RUNNING, 99, 1)


def test_slow_runs_of_one_flow_do_not_make_the_claims_of_another_small(
    lab: Lab, machine: Machine, claims: list[int]
) -> None:
    taking(lab, machine, "slow", 1)
    create(400, think("fast"), key="fast")
    lab.clock.advance(seconds=1)
    create(3, write("slow"), key="slow")
    sweep()
    assert len(lab.calls) == 403
    assert lab.calls.index("slow") == FIRST, "the other flow has its turn after the first batch"
    assert max(claims) == 200
    assert len(claims) < 12


@pytest.mark.parametrize(
    ("executed", "seconds", "size"),
    [(10, 1.0, 2), (10, 0.2, 10), (1, 60.0, 1), (10, 0.0, 200), (0, 5.0, FIRST)],
)
def test_the_pace_of_the_last_claim_is_that_of_the_next(
    machine: Machine, executed: int, seconds: float, size: int
) -> None:
    pace = Pace()
    pace.learn(executed, seconds)
    assert pace.size(1000) == size
    assert pace.size(1) == 1
