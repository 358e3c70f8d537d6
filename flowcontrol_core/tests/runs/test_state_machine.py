"""Promise 9, at random: whatever operators do in whatever order, a run is where a model says.

FLOWCONTROL_STATE_STEPS says how many steps are tried at least, 10,000 for instance; it is written
then how many there were.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from flowcontrol_core.document.tree import Step
from flowcontrol_core.errors import IllegalChangeError
from flowcontrol_core.models import Flow, FlowRun, Message, RunEvent, TriggerEvent
from flowcontrol_core.runs.execution.start import create_flowrun
from tests import operate
from tests.shop.models import Customer

from .conftest import (
    Lab,
    WorkerDied,
    customers,
    event,
    fresh,
    make_due,
    publish,
    republish,
    sweep,
    think,
    write,
)

#: The steps ``s1`` to ``s5``: two effects around a wait, one that fails while it is broken, one
#: wait for a time.
STEPS = ("a", "listen", "fragile", "doze", "d")
TRIES = 2
places = st.integers(0, len(STEPS) - 1)


@dataclass(slots=True)
class Model:
    """A run as it has to be, and what its steps have written."""

    status: str = "pending"
    at: int = 0
    #: Whether the step it is at is done; whether there is a step it is at.
    after: bool = False
    begun: bool = False
    wait: str = ""
    late: bool = False
    tries: int = 0
    sent_to: list[int] = field(default_factory=list)
    woken: bool = False
    events: int = 0
    #: Whether it is on the published version.
    current: bool = True
    broken: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)

    def put(self, at: int, *, after: bool = False) -> None:
        """Place it at a step, waiting for nothing."""
        self.status, self.at, self.after, self.begun = "waiting", at, after, True
        self.wait, self.tries = "", 0

    def sweep(self) -> None:
        if self.status not in ("pending", "waiting"):
            return
        if self.sent_to:
            self.put(self.sent_to[-1])
        elif self.wait and not self.wakes_up():
            return
        self.sent_to, self.woken, self.begun = [], False, True
        self.execute()

    def wakes_up(self) -> bool:
        if not self.woken:
            if self.wait == "event" and self.events:
                self.events -= 1
            elif self.wait == "event" or not self.late:
                return False
        self.wait = ""
        return True

    def execute(self) -> None:
        self.at += self.after
        self.after = False
        while self.at < len(STEPS) and not self.stops(STEPS[self.at]):
            self.at, self.tries = self.at + 1, 0
        if self.at == len(STEPS):
            self.status = "complete"

    def stops(self, step: str) -> bool:
        """Execute a step; say whether the run stops at it."""
        self.late = False
        if step == "fragile" and self.broken:
            self.tries += 1
            self.status, self.wait = (
                ("errored", "") if self.tries == TRIES else ("waiting", "retry")
            )
            return True
        if step == "doze" or (step == "listen" and not self.events):
            self.status, self.after = "waiting", True
            self.wait = "time" if step == "doze" else "event"
            self.tries = 0
            return True
        if step == "listen":
            self.events -= 1
        else:
            self.effects.append(step)
            if step != "fragile":
                self.state = {"n": self.state.get("n", 0) + 1}
        return False

    @property
    def legal(self) -> set[str]:
        """The operator actions that are possible now."""
        found = {
            "pending": {"cancel", "pause", "run_now", "go_to_step", "edit_state", "move"},
            "waiting": {"cancel", "pause", "run_now", "go_to_step", "edit_state", "move", "skip"},
            "paused": {
                "cancel",
                "resume",
                "go_to_step",
                "edit_state",
                "move",
                *["skip"] * self.begun,
            },
            "errored": {"retry", "skip", "go_to_step", "restart", "edit_state"},
        }.get(self.status, {"restart", "edit_state"})
        if self.status == "waiting" and self.tries:
            found = found | {"retry"}
        return found - {"move"} if self.current else found


class Operating(RuleBasedStateMachine):
    """Does to a run what operators, workers and time do, and the same to the model."""

    lab: ClassVar[Lab]
    flow: ClassVar[Flow]
    flow_steps: ClassVar[tuple[Step, ...]]
    steps: ClassVar[int] = 0
    runs: ClassVar[int] = 0
    versions: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        # Invariants are checked before the first step too.
        Operating.runs, Operating.steps = Operating.runs + 1, Operating.steps - 1
        for rows in (Message, RunEvent, TriggerEvent, FlowRun, Customer):
            rows._default_manager.all().delete()
        self.model = Model()
        self.run = create_flowrun(self.flow)
        self.lab.on("fragile", self.be_fragile)

    def be_fragile(self, run: Any, obj: Any) -> None:
        Customer.objects.create(name="fragile")
        if self.model.broken:
            raise RuntimeError("broken")

    def attempt(self, name: str, work: Callable[[], Any]) -> bool:
        """Do an operator action, which has to be refused where the model knows it is not legal."""
        if name in self.model.legal:
            work()
            return True
        with pytest.raises(IllegalChangeError):
            work()
        return False

    @rule()
    def sweep(self) -> None:
        self.model.sweep()
        sweep()

    @rule(step=st.sampled_from(["listen", "doze", "d"]))
    def die_in_a_sweep(self, step: str) -> None:
        """A worker dies in a step, if it gets there; another continues."""
        behaviour = self.lab.behaviours.get(step)

        def die(run: Any, obj: Any) -> None:
            raise WorkerDied

        self.lab.on(step, die)
        try:
            sweep()
        except WorkerDied:
            before = self.lab.clock.now()
            make_due(self.run, self.lab)
            assert self.lab.clock.now() > before
        finally:
            self.lab.behaviours.pop(step)
            if behaviour is not None:
                self.lab.on(step, behaviour)
        self.model.sweep()
        sweep()

    @rule()
    def cancel(self) -> None:
        if self.attempt("cancel", lambda: operate.cancel(self.run, by="ada")):
            self.model.status, self.model.sent_to, self.model.woken = "canceled", [], False

    @rule()
    def pause(self) -> None:
        if self.attempt("pause", lambda: operate.pause(self.run)):
            self.model.status = "paused"

    @rule()
    def resume(self) -> None:
        if self.attempt("resume", lambda: operate.resume(self.run)):
            self.model.status = "waiting" if self.model.begun else "pending"

    @rule()
    def run_now(self) -> None:
        if self.attempt("run_now", lambda: operate.run_now(self.run)):
            self.model.woken = bool(self.model.wait)

    @rule()
    def retry(self) -> None:
        if self.attempt("retry", lambda: operate.retry(self.run)):
            self.model.put(self.model.at, after=self.model.after)

    @rule()
    def skip(self) -> None:
        if self.attempt("skip", lambda: operate.skip(self.run)):
            self.model.put(self.model.at, after=True)

    @rule(place=places)
    def go_to_step(self, place: int) -> None:
        ended = self.model.status == "errored"
        if self.attempt("go_to_step", lambda: operate.go_to_step(self.run, f"s{place + 1}")):
            if ended:
                self.model.put(place)
            else:
                self.model.sent_to.append(place)

    @rule(place=places)
    def restart(self, place: int) -> None:
        new: list[FlowRun] = []
        self.lab.clock.advance(seconds=1)
        if self.attempt("restart", lambda: new.append(operate.restart(self.run, f"s{place + 1}"))):
            (self.run,) = new
            old = self.model
            self.model = Model(
                at=place,
                begun=True,
                current=old.current,
                broken=old.broken,
                state=old.state,
                effects=old.effects,
            )

    @rule(number=st.integers(0, 9))
    def edit_state(self, number: int) -> None:
        if self.attempt("edit_state", lambda: operate.edit_state(self.run, {"n": number})):
            self.model.state = {"n": number}

    @rule()
    def publish_another_version(self) -> None:
        *first, last = self.flow_steps
        # A version is like no other.
        Operating.versions += 1
        republish(self.flow, *first, replace(last, note=str(Operating.versions)))
        self.model.current = False

    @rule()
    def move(self) -> None:
        if self.attempt("move", lambda: operate.move(self.run)):
            self.model.current = True

    @rule()
    def fire(self) -> None:
        event()
        self.model.events += 1

    @rule()
    def let_time_pass(self) -> None:
        self.lab.clock.advance(hours=2)
        self.model.late = True

    @rule()
    def break_or_mend(self) -> None:
        self.model.broken = not self.model.broken

    @invariant()
    def count(self) -> None:
        Operating.steps += 1

    @invariant()
    def the_run_is_where_the_model_is(self) -> None:
        row, model = fresh(self.run), self.model
        assert (row.version_id == self.flow.published_id) == model.current
        assert (row.outcome or row.status) == model.status
        assert (customers(), row.state) == (model.effects, model.state)
        if row.cursor and model.status != "complete":
            assert row.cursor[-1]["step"] == f"s{model.at + 1}"

    @invariant()
    def a_worker_will_see_it_again(self) -> None:
        row = fresh(self.run)
        watched = row.due_at or row.wait_trigger
        assert watched or row.status in ("done", "paused")

    @invariant()
    def an_ended_run_waits_for_nothing(self) -> None:
        row = fresh(self.run)
        if row.status == "done":
            assert (row.due_at, row.wait_until, row.wait_trigger) == (None, None, None)


def try_steps() -> None:
    """Try the dose: that of the profile, at most 1,000 steps, or at least as many as asked for."""
    asked = int(os.environ.get("FLOWCONTROL_STATE_STEPS") or 0)
    dose = settings(deadline=None, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    few = settings(dose, max_examples=min(dose.max_examples, 40))
    if not asked:
        return run_state_machine_as_test(Operating, settings=few)
    # Some end early, and those that were tried already are not counted by hypothesis.
    while (missing := asked - Operating.steps) > 0:
        many = settings(dose, max_examples=max(missing // 25, 10), database=None)
        run_state_machine_as_test(Operating, settings=many)
    sys.stdout.write(f"{Operating.steps} steps of {Operating.runs} runs\n")
    return None


@pytest.mark.django_db
def test_a_run_is_where_its_model_is_whatever_is_done_to_it(lab: Lab) -> None:
    lab.on("listen", lambda run, obj: run.suspend(trigger="lab.paid"))
    lab.on("doze", lambda run, obj: run.suspend(until=timedelta(hours=1)))
    Operating.lab = lab
    Operating.flow_steps = (
        write("a"),
        think("listen"),
        write("fragile", retry={"attempts": TRIES, "backoff": 60}),
        think("doze"),
        write("d"),
    )
    Operating.flow = publish(*Operating.flow_steps)
    try_steps()
