"""Runs in memory: what projects and plugins test with, and how one activation behaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django import forms

from flowcontrol.base import BaseAction, Effects, FlowDirective, RunContext
from flowcontrol.errors import DocumentError, FlowcontrolError, Retry, StateError
from flowcontrol.testing import ManualClock, MemoryRun, flow, run_flow, step, temporary_registry
from flowcontrol_core.engine.directives import Kind
from tests.shop.models import Customer

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Do(BaseAction):
    """Calls whatever the test has set for the step."""

    name = "do"
    effects = Effects.NONE
    has_children = True
    hooks: dict[str, Callable[..., Any]] = {}

    def run(self, *, run: RunContext, obj: Any, config: Any) -> Any:
        hook = self.hooks.get(run.step)
        return hook(run) if hook else None

    def return_from_children(self, *, run: RunContext, obj: Any, config: Any) -> Any:
        hook = self.hooks.get(f"{run.step}.return")
        return hook(run) if hook else None


class Send(Do):
    name = "send"
    effects = Effects.EXTERNAL


class Box(BaseAction):
    """A container that defines no return hook."""

    name = "box"
    effects = Effects.NONE
    branches = ("then", "else")

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        return self.enter()


class Times(BaseAction):
    name = "times"
    effects = Effects.NONE
    has_children = True
    is_loop = True

    class Config(forms.Form):
        count = forms.IntegerField()
        variable = forms.CharField(required=False)

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        run.memo["value"] = 0
        return self._pass(run, config)

    def return_from_children(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        run.memo["value"] += 1
        return self._pass(run, config)

    def _pass(self, run: RunContext, config: Any) -> FlowDirective:
        if run.memo["value"] >= config.count:
            return FlowDirective.CONTINUE
        if config.variable:
            run.set_variable(config.variable, run.memo["value"])
        return self.enter()


class Spin(BaseAction):
    name = "spin"
    effects = Effects.NONE
    has_children = True
    is_loop = True

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective:
        return self.enter()

    return_from_children = run


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[..., Any]]]:
    """What the steps with the action ``test.do`` do, by id."""
    monkeypatch.setattr(Do, "hooks", {})
    with temporary_registry(Do, Send, Box, Times, Spin):
        yield Do.hooks


def add(run: RunContext) -> None:
    run.state["n"] = run.state.get("n", 0) + 1


def test_a_flow_without_steps_completes() -> None:
    run = run_flow(flow())
    assert (run.status, run.outcome, run.steps, run.error) == ("done", "complete", [], None)


def test_a_container_without_a_return_hook_continues_after_its_last_child() -> None:
    run = run_flow(flow(step("test.box", then=[step("test.do")]), step("test.do")))
    assert run.outcome == "complete"
    assert run.steps == ["s1", "s2", "s1", "s3"]


def test_an_empty_branch_counts_as_returned_from() -> None:
    run = run_flow(flow(step("test.box"), step("test.do")))
    assert run.steps == ["s1", "s1", "s2"]


def test_disabled_steps_are_left_out() -> None:
    run = run_flow(flow(step("test.do", disabled=True), step("test.do", id="on")))
    assert run.steps == ["on"]


def test_all_passes_of_a_loop_are_counted_in_the_steps_and_the_history_records_some(
    hooks: Any,
) -> None:
    hooks["in"] = add
    run = run_flow(flow(step("test.times", id="loop", count=100, body=[step("test.do", id="in")])))
    assert run.state == {"n": 100}
    assert run.steps.count("in") == 100
    assert {"step": "in", "omitted": 96} in run.trace


def test_a_loops_variable_and_counter_vanish_however_it_is_left(hooks: Any) -> None:
    seen = []
    hooks["in"] = lambda run: seen.append(run.state["i"])
    hooks["out"] = lambda run: BaseAction.break_("loop") if run.state["i"] == 1 else None
    inner = step("test.box", then=[step("test.do", id="in"), step("test.do", id="out")])
    loop = step("test.times", count=5, variable="i", body=[inner])
    run = run_flow(flow(step("test.times", count=2, variable="k", body=[loop])))
    assert (run.outcome, run.state, seen) == ("complete", {}, [0, 1, 0, 1])


def test_a_loops_variable_gives_back_what_it_hid_however_it_is_left(hooks: Any) -> None:
    seen: list[Any] = []
    hooks["in"] = lambda run: seen.append(run.state["i"])
    for directive in (None, BaseAction.break_("loop"), FlowDirective.ABORT):
        hooks["out"] = lambda run, answer=directive: answer
        body = [step("test.do", id="in"), step("test.do", id="out")]
        loop = step("test.times", id="loop", count=2, variable="i", body=body)
        run = run_flow(flow(loop, step("test.do")), state={"i": Decimal("1.5")})
        assert run.state == {"i": Decimal("1.5")}
    assert seen == [0, 1, 0, 0]


def test_nested_loops_that_share_a_variable_each_have_their_own(hooks: Any) -> None:
    seen: list[Any] = []
    hooks["after"] = lambda run: seen.append(run.state["i"])
    inner = step("test.times", count=3, variable="i", body=[step("test.do")])
    outer = step("test.times", count=2, variable="i", body=[inner, step("test.do", id="after")])
    assert run_flow(flow(outer), state={"i": "kept"}).state == {"i": "kept"}
    assert seen == [0, 1]


def test_leaving_to_the_loop_begins_its_next_pass_from_any_depth(hooks: Any) -> None:
    hooks["out"] = lambda run: BaseAction.leave("loop")
    hooks["never"] = add
    inner = step("test.do", id="out")
    for _ in range(5):
        inner = step("test.box", then=[inner, step("test.do")])
    run = run_flow(flow(step("test.times", id="loop", count=3, body=[inner])))
    assert (run.outcome, run.steps.count("out"), run.steps.count("loop")) == ("complete", 3, 4)


def test_replacing_the_state_inside_of_a_loop_leaves_the_loop_alone(hooks: Any) -> None:
    hooks["in"] = lambda run: run.state.replace({"last": run.state["i"]})
    loop = step("test.times", count=4, variable="i", body=[step("test.do", id="in")])
    run = run_flow(flow(loop), state={"n": 0})
    assert (run.outcome, run.state) == ("complete", {"last": 3})


def test_a_step_that_suspends_with_a_variable_releases_it_when_the_run_continues(
    hooks: Any,
) -> None:
    def wait(run: RunContext) -> FlowDirective:
        run.set_variable("mine", 1)
        return run.suspend(until=timedelta(hours=1))

    hooks["wait"] = wait
    run = run_flow(flow(step("test.do", id="wait"), step("test.do")))
    assert run.state == {"mine": 1}
    assert run.advance(hours=1).state == {}


def test_the_state_given_and_read_is_a_copy(hooks: Any) -> None:
    given: dict[str, Any] = {"a": [1]}
    hooks["s1"] = lambda run: run.state["a"].append(2)
    run = run_flow(flow(step("test.do")), state=given)
    run.state["a"].append(3)
    assert (given, run.state) == ({"a": [1]}, {"a": [1, 2]})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: {1}, "a set cannot be stored"),
        (lambda: Customer(name="Ada"), "a Customer cannot be stored"),
        (lambda: "x" * 300_000, "more than the 262144 allowed"),
    ],
)
def test_a_value_that_cannot_be_stored_fails_its_step_and_the_state_before_stands(
    hooks: Any, bad: Callable[[], Any], message: str
) -> None:
    def spoil(run: RunContext) -> None:
        run.state["n"] = 2
        run.state["bad"] = bad()

    hooks["s1"] = add
    hooks["s2"] = spoil
    run = run_flow(flow(step("test.do"), step("test.do"), step("test.do")))
    assert (run.outcome, run.state, run.steps) == ("errored", {"n": 1}, ["s1", "s2"])
    assert message in run.reason
    assert run.error is not None
    assert (run.error["step"], run.error["type"]) == ("s2", "StateError")


def test_a_step_with_an_impossible_answer_changes_nothing(hooks: Any) -> None:
    def answer(run: RunContext) -> FlowDirective:
        run.state["n"] = 1
        return BaseAction.leave("loop")

    hooks["s1"] = answer
    run = run_flow(flow(step("test.do")), state={"n": 0})
    assert (run.outcome, run.state) == ("errored", {"n": 0})
    assert "no loop is around it" in run.reason


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (True, "returned True; it has to return None or a FlowDirective"),
        ("continue", "returned 'continue'"),
        (BaseAction.enter("then"), "enters the branch 'then', but its branches are body"),
        (FlowDirective(Kind.SUSPEND), "suspends without naming what wakes the run"),
        (FlowDirective(Kind.SUSPEND_AND_REPEAT), "suspends without naming what wakes the run"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_that_says_so(
    hooks: Any, answer: object, message: str
) -> None:
    hooks["s1"] = lambda run: answer
    run = run_flow(flow(step("test.do")))
    assert run.outcome == "errored"
    assert message in run.reason


def test_suspending_needs_something_that_wakes_the_run(hooks: Any) -> None:
    hooks["s1"] = lambda run: run.suspend()
    assert "needs something that wakes the run" in run_flow(flow(step("test.do"))).reason
    hooks["s1"] = lambda run: run.suspend(until=datetime(2026, 1, 1))
    assert "has no time zone; make it aware" in run_flow(flow(step("test.do"))).reason


def test_a_failed_call_leaves_the_memo_as_it_was(hooks: Any) -> None:
    memos = []

    def begin(run: RunContext) -> FlowDirective:
        run.memo["seen"] = {"items": []}
        return BaseAction.enter()

    def fail_twice(run: RunContext) -> None:
        memos.append(run.memo["seen"]["items"])
        run.memo["seen"]["items"].append(run.attempt)
        if run.attempt < 3:
            raise Retry(after=60)

    hooks["loop"] = begin
    hooks["loop.return"] = fail_twice
    run = run_flow(flow(step("test.do", id="loop", body=[step("test.do")])))
    run.advance(minutes=2)
    assert run.outcome == "complete"
    assert memos == [[1], [2], [3]]


def test_a_memo_that_cannot_be_stored_fails_the_step_with_its_place(hooks: Any) -> None:
    memos = []

    def begin(run: RunContext) -> FlowDirective:
        run.memo["a"] = (1, 2)
        return BaseAction.enter()

    def come_back(run: RunContext) -> None:
        memos.append(dict(run.memo))
        run.memo["b"] = {1}

    hooks["loop"] = begin
    hooks["loop.return"] = come_back
    run = run_flow(flow(step("test.do", id="loop", body=[step("test.do")])))
    assert (run.outcome, memos) == ("errored", [{"a": [1, 2]}])
    assert "memo.b: a set cannot be" in run.reason


def test_a_step_that_asks_for_it_is_called_again_later(hooks: Any) -> None:
    def busy(run: RunContext) -> None:
        run.state["n"] = run.attempt
        if run.attempt < 3:
            raise Retry("Busy.", after=60)

    hooks["s1"] = busy
    run = run_flow(flow(step("test.do")), now=NOW)
    assert (run.status, run.state) == ("waiting", {})
    assert run.wait is not None
    assert run.wait.until == NOW + timedelta(seconds=60)
    assert "Busy." in run.reason
    run.advance(minutes=1)
    assert (run.status, run.state) == ("waiting", {})
    run.advance(minutes=1)
    assert (run.outcome, run.state, run.steps) == ("complete", {"n": 3}, ["s1"] * 3)


@pytest.mark.parametrize("after", [float("inf"), float("nan"), -1.0, 1e300])
def test_a_retry_after_nonsense_waits_a_time_that_exists(hooks: Any, after: float) -> None:
    def busy(run: RunContext) -> None:
        raise Retry(after=after)

    hooks["s1"] = busy
    run = run_flow(flow(step("test.do")), now=NOW)
    assert run.wait is not None
    assert run.wait.until is not None
    assert NOW <= run.wait.until <= NOW + timedelta(days=366)


def test_the_policy_of_the_step_counts_for_any_error_and_gives_up_in_the_end(hooks: Any) -> None:
    def fail(run: RunContext) -> None:
        raise ValueError("no")

    hooks["s1"] = fail
    retry = {"attempts": 3, "backoff": 10, "jitter": "none"}
    run = run_flow(flow(step("test.do", retry=retry)))
    run.advance(seconds=9)
    assert run.steps == ["s1"]
    run.advance(seconds=1 + 20)
    assert (run.outcome, run.steps) == ("errored", ["s1"] * 3)
    assert run.reason == "Step s1 (test.do) failed: ValueError: no"


@pytest.mark.parametrize(
    ("errors", "raised", "calls"),
    [
        (["OSError"], TimeoutError, 3),
        (["builtins.TimeoutError", "ValueError"], TimeoutError, 3),
        (["TimeoutError"], ValueError, 1),
        (["TimeoutError"], lambda: Retry(after=1), 3),
    ],
)
def test_the_policy_attempts_the_errors_that_it_names_again(
    hooks: Any, errors: list[str], raised: Callable[[], Exception], calls: int
) -> None:
    def fail(run: RunContext) -> None:
        raise raised()

    hooks["s1"] = fail
    retry = {"attempts": 3, "backoff": 1, "errors": errors}
    run = run_flow(flow(step("test.do", retry=retry))).advance(minutes=1)
    assert (run.outcome, len(run.steps)) == ("errored", calls)


def test_the_idempotency_key_is_the_same_on_each_attempt_and_never_used_elsewhere(
    hooks: Any,
) -> None:
    keys: dict[str, list[str]] = {}

    def send(run: RunContext) -> FlowDirective | None:
        keys.setdefault(run.step, []).append(run.idempotency_key)
        if run.attempt < 2:
            raise Retry(after=1)
        return run.suspend(until=timedelta(seconds=1)) if run.step == "s1" else None

    hooks.update(s1=send, s2=send, s3=send)
    steps = [step("test.send"), step("test.send"), step("test.send")]
    run = run_flow(flow(*steps)).advance(minutes=1)
    assert run.outcome == "complete"
    assert [len(found) for found in keys.values()] == [2, 2, 2]
    assert [len(set(found)) for found in keys.values()] == [1, 1, 1]
    assert len({key for found in keys.values() for key in found}) == 3


def test_a_repeated_call_sees_what_woke_it_and_resuming_enters_no_ancestor(hooks: Any) -> None:
    woken = []

    def wait(run: RunContext) -> FlowDirective | None:
        woken.append(run.wakeup and (run.wakeup.kind, dict(run.wakeup.payload)))
        if run.wakeup is not None:
            return None
        return run.suspend(trigger="shop.paid", timeout=timedelta(days=1), repeat=True)

    hooks["wait"] = wait
    run = run_flow(flow(step("test.box", id="box", then=[step("test.do", id="wait")])))
    run.fire("shop.other").fire("shop.paid", {"amount": Decimal("1.50")})
    assert woken == [None, ("trigger", {"amount": Decimal("1.50")})]
    assert run.steps == ["box", "wait", "wait", "box"]
    again = run_flow(flow(step("test.do", id="wait"))).advance(days=1)
    assert (again.outcome, woken[-1]) == ("complete", ("timeout", {}))


def wait_for_an_event(seen: list[Any]) -> Callable[[RunContext], FlowDirective | None]:
    """Return what a step does that waits as documented, and notes what has woken it."""

    def wait(run: RunContext) -> FlowDirective | None:
        seen.append(run.wakeup and run.wakeup.kind)
        if run.wakeup is None:
            return run.suspend(trigger="shop.paid", repeat=True)
        return None

    return wait


@pytest.mark.parametrize(
    "wait", [{"until": timedelta(days=1)}, {"trigger": "shop.paid"}, {"timeout": 60}]
)
def test_what_woke_a_step_is_not_seen_by_the_step_after_it(hooks: Any, wait: Any) -> None:
    seen: list[Any] = []
    hooks["s1"] = lambda run: run.suspend(**wait)
    hooks["s2"] = wait_for_an_event(seen)
    run = run_flow(flow(step("test.do"), step("test.do")))
    run.fire("shop.paid", {"amount": 1}).advance(days=1)
    assert (run.status, seen) == ("waiting", [None])
    run.fire("shop.paid", {"amount": 2})
    assert (run.outcome, seen) == ("complete", [None, "trigger"])


def test_the_timer_of_a_retry_is_no_wakeup(hooks: Any) -> None:
    seen: list[Any] = []
    wait = wait_for_an_event(seen)

    def retried(run: RunContext) -> FlowDirective | None:
        if run.attempt == 1 and not seen:
            seen.append("retry")
            raise Retry(after=60)
        return wait(run)

    hooks["s1"] = retried
    run = run_flow(flow(step("test.do"))).advance(minutes=1)
    assert (run.status, seen) == ("waiting", ["retry", None])
    assert run.fire("shop.paid").outcome == "complete"


def test_a_run_waits_for_a_child(hooks: Any) -> None:
    results = []

    def wait(run: RunContext) -> FlowDirective | None:
        if run.wakeup is None:
            return run.suspend(child="5b0b" * 8, repeat=True)
        results.append((run.wakeup.outcome, dict(run.wakeup.result)))
        return None

    hooks["s1"] = wait
    run = run_flow(flow(step("test.do")))
    run.end_child("errored", {"a": (1,)})
    assert (run.outcome, results) == ("complete", [("errored", {"a": [1]})])
    with pytest.raises(FlowcontrolError, match="waits for no child"):
        run.end_child()


def test_advancing_wakes_the_run_as_often_as_it_is_due_each_time_at_its_time(hooks: Any) -> None:
    times = []

    def daily(run: RunContext) -> FlowDirective | None:
        times.append(run.now)
        return run.suspend(until=timedelta(days=1), repeat=True) if len(times) < 4 else None

    hooks["s1"] = daily
    clock = ManualClock(NOW)
    run = run_flow(flow(step("test.do")), clock=clock)
    run.advance(hours=23)
    assert len(times) == 1
    run.advance(timedelta(days=10))
    assert (run.outcome, times) == ("complete", [NOW + timedelta(days=n) for n in range(4)])
    assert clock.now() == NOW + timedelta(days=10, hours=23)


def test_a_run_that_is_due_at_once_again_and_again_is_an_error_of_the_test(
    hooks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcontrol_core.testing.memory._MOST_WAKEUPS", 10)
    hooks["s1"] = lambda run: run.suspend(until=timedelta(0), repeat=True)
    run = run_flow(flow(step("test.do")))
    with pytest.raises(FlowcontrolError, match="was woken 10 times and is due again"):
        run.advance(days=1)


def test_a_loop_without_end_is_stopped_by_the_setting(hooks: Any, settings: Any) -> None:
    settings.FLOWCONTROL = {"MAX_ITERATIONS": 50, "STEPS_PER_ACTIVATION": 30}
    loop = step("test.times", id="loop", count=10**6, body=[step("test.do", id="in")])
    run = run_flow(flow(loop))
    assert (run.outcome, run.steps.count("in")) == ("errored", 50)
    assert "entered its branch more than 50 times (setting MAX_ITERATIONS)" in run.reason
    # The long run was given a fresh budget in between; the numbers continue.
    numbers = [entry["number"] for entry in run.trace if "number" in entry]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("body", [[], [step("test.do", disabled=True)], [step("test.box")]])
def test_a_loop_that_changes_nothing_is_stopped_soon(hooks: Any, body: list[Any]) -> None:
    run = run_flow(flow(step("test.spin", id="loop", body=body)))
    assert (run.outcome, len(run.steps)) == ("errored", 10_000)
    assert run.reason.startswith("The steps in loop were called 10000 times without changing")


@pytest.mark.parametrize("variable", ["", "i"])
def test_a_loop_without_an_end_around_one_that_only_counts_ends_early(variable: str) -> None:
    counts = step("builtin.for", end="3", variable=variable)
    run = run_flow(flow(step("builtin.while", id="loop", condition="True", body=[counts])))
    assert (run.outcome, len(run.steps)) == ("errored", 10_001)
    assert run.reason.startswith("The steps in loop were called 10000 times without changing")


@pytest.mark.parametrize("order", [1, -1])
def test_a_loop_around_one_that_only_counts_goes_on_if_something_else_changes(
    order: int, monkeypatch: Any
) -> None:
    """However long the inner one counts, before or after that."""
    monkeypatch.setattr("flowcontrol_core.bounds.IDLE_CALLS", 10)
    once = step("builtin.if", condition="True", then=[])
    body = [
        step("builtin.for", end="50", variable="i", body=[once]),
        step("builtin.update_state", state={"n": "n + 1"}, evaluate=True),
    ][::order]
    outer = step("builtin.while", condition="n < 9", body=body)
    counted = run_flow(flow(outer), state={"n": 0})
    assert (counted.outcome, counted.state) == ("complete", {"n": 9})
    inner = step("builtin.for", end="3", variable="j")
    nested = step("builtin.for", end="50", variable="i", body=[inner])
    assert run_flow(flow(nested)).outcome == "complete"


def test_a_loop_that_waits_or_changes_the_state_is_not_idle(hooks: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("flowcontrol_core.bounds.IDLE_CALLS", 5)
    counting = step("test.times", count=20, body=[step("test.do"), step("test.box")])
    assert run_flow(flow(counting)).outcome == "complete"
    hooks["in"] = lambda run: run.suspend(until=timedelta(days=1))
    polling = run_flow(flow(step("test.spin", body=[step("test.do", id="in")])))
    assert polling.advance(days=20).status == "waiting"


def test_the_guard_is_evaluated_between_steps(hooks: Any) -> None:
    hooks["s1"] = add
    run = run_flow(flow(step("test.do"), step("test.do"), guard="n == 0"), state={"n": 0})
    assert (run.outcome, run.steps) == ("obsolete", ["s1"])
    assert run.reason == "The guard condition is false: n == 0"


@pytest.mark.django_db
def test_an_external_step_may_be_the_first_in_the_transaction_of_a_test() -> None:
    """A transaction begins at PostgreSQL with its first statement."""
    assert run_flow(flow(step("test.send"))).outcome == "complete"


@pytest.mark.parametrize("after", [None, 1])
@pytest.mark.django_db
def test_a_database_write_under_no_effects_is_refused_after_a_wait_too(
    hooks: Any, after: int | None
) -> None:
    def write(run: RunContext) -> FlowDirective | None:
        if run.wakeup is None and after:
            return run.suspend(until=timedelta(hours=after), repeat=True)
        Customer.objects.create(name="Ada")
        return None

    hooks["s1"] = write
    run = run_flow(flow(step("test.do"))).advance(hours=1)
    assert run.outcome == "errored"
    assert "Declare Effects.DATABASE" in run.reason


def test_a_missing_action_blocks_the_run_that_reaches_it(hooks: Any) -> None:
    run = run_flow(flow(step("test.do"), step("gone.away")))
    assert (run.status, run.stop.blocked_on, run.steps) == ("blocked", "gone.away", ["s1"])
    assert "Install or enable the plugin gone." in run.reason


def test_a_configuration_that_does_not_validate_blocks_the_run() -> None:
    run = run_flow(flow(step("test.times", count="many")))
    assert run.status == "blocked"
    assert "count: Enter a whole number." in run.reason


def test_the_document_is_checked_as_a_stored_one_is() -> None:
    with pytest.raises(DocumentError, match="give one of them another id"):
        run_flow(flow(step("test.do", id="a"), step("test.do", id="a")))
    with pytest.raises(DocumentError, match="JSON value"):
        run_flow(flow(step("test.do", config={"when": NOW})))


def test_a_state_that_cannot_be_stored_is_refused_at_the_start() -> None:
    with pytest.raises(StateError, match="a set cannot be stored"):
        run_flow(flow(), state={"a": {1}})


def test_the_object_may_be_unsaved_and_messages_are_kept(hooks: Any) -> None:
    customer = Customer(name="Ada")

    def greet(run: RunContext) -> None:
        assert run.object is customer
        assert run.lock_object() is customer
        run.log(f"Hello {run.object.name}")

    hooks["s1"] = greet
    run: MemoryRun = run_flow(flow(step("test.do")), customer)
    assert (run.outcome, run.messages) == ("complete", ["Hello Ada"])


def test_the_log_of_a_step_is_bounded(hooks: Any) -> None:
    def chatter(run: RunContext) -> None:
        for _ in range(500):
            run.log("x" * 5000)

    hooks["s1"] = chatter
    run = run_flow(flow(step("test.do")))
    assert (len(run.messages), {len(line) for line in run.messages}) == (100, {1000})
