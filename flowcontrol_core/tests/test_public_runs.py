"""``flowcontrol.runs``: runs as frozen values, and functions on them."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_type_hints

import pytest
from django.db import transaction
from django.db.models import JSONField, Value
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from flowcontrol import runs
from flowcontrol.base import BaseAction, Effects
from flowcontrol.errors import FlowcontrolError, IllegalChangeError, NotStartedError
from flowcontrol.models import Flow, FlowRun, Outcome, RunEvent, Status
from flowcontrol.runs import OPERATOR_ACTIONS, RunInfo
from flowcontrol.testing import flow, manual_clock, publish_flow, run_due, step, temporary_registry
from flowcontrol_core.health import ISSUE_KINDS
from flowcontrol_core.models.reasons import TEXTS
from tests.cases import each
from tests.shop.models import Customer
from tests.translation import words

pytestmark = pytest.mark.django_db
PRICE, DAY = Decimal("1.50"), date(2026, 1, 2)


class Work(BaseAction):
    """Fails as long as the state says that it is broken; waits for a day where it says so."""

    name = "work"
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        if run.state.get("broken"):
            raise ValueError("broken")
        if run.state.get("waits") and run.wakeup is None:
            return run.suspend(until=timedelta(days=1), repeat=True)
        run.state["done"] = True
        return None


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    with manual_clock(), temporary_registry(Work):
        yield


@pytest.fixture
def published() -> Flow:
    return publish_flow(flow(step("test.work", id="one"), step("test.work", id="two")))


@pytest.fixture
def waiting(published: Flow) -> RunInfo:
    made = runs.create("flow", state={"waits": True, "price": PRICE, "day": DAY})
    run_due()
    return runs.get(made)


@pytest.fixture
def failed(published: Flow) -> RunInfo:
    made = runs.create("flow", state={"broken": True})
    run_due()
    return runs.get(made)


def test_a_payload_is_read_with_its_types() -> None:
    publish_flow(flow(step("test.work")))
    info = runs.create("flow", payload={"total": Decimal("120.50"), "on": DAY})
    assert runs.get(info.pk).payload == {"total": Decimal("120.50"), "on": DAY}


def test_a_run_is_read_as_a_value_with_typed_state(waiting: RunInfo, published: Flow) -> None:
    row = FlowRun.objects.get()
    assert (waiting.pk, waiting.uuid, waiting.flow, waiting.version) == (
        row.pk,
        row.uuid,
        "flow",
        1,
    )
    assert (waiting.status, waiting.outcome, waiting.is_live) == (Status.WAITING, None, True)
    assert isinstance(waiting.status, Status)
    assert waiting.state == {"waits": True, "price": PRICE, "day": DAY}
    assert {type(waiting.state["price"]), type(waiting.state["day"])} == {Decimal, date}
    assert (waiting.step, waiting.object_key, waiting.object_text) == ("one", None, "")
    assert (waiting.trigger, waiting.queue, waiting.parent) == ("", "default", None)
    assert waiting.due_at == datetime(2026, 1, 6, 12, 0, tzinfo=UTC)
    assert waiting.started_at == waiting.created_at == datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    assert waiting.finished_at is None


def test_a_run_that_has_ended_has_an_outcome_and_a_reason(failed: RunInfo) -> None:
    assert (failed.status, failed.outcome, failed.is_live) == (Status.DONE, Outcome.ERRORED, False)
    assert isinstance(failed.outcome, Outcome)
    assert (failed.reason_code, failed.reason) == (
        "step_failed", "Step one (test.work) failed: ValueError: broken"
    )  # fmt: skip
    assert failed.finished_at is not None
    with words({"Step %(step)s (%(action)s) failed: %(error)s": "Schritt %(step)s: %(error)s"}):
        assert runs.get(failed).reason == "Schritt one: ValueError: broken"


def test_a_value_cannot_be_changed_and_does_not_follow_the_run(waiting: RunInfo) -> None:
    for field in fields(waiting):
        with pytest.raises(FrozenInstanceError):
            setattr(waiting, field.name, None)
    with pytest.raises(TypeError):
        waiting.state["price"] = 0  # type: ignore[index]
    runs.cancel(waiting)
    assert (waiting.status, runs.get(waiting).status) == (Status.WAITING, Status.DONE)


def test_a_run_is_named_by_its_value_its_row_its_uuid_or_its_number(waiting: RunInfo) -> None:
    row = FlowRun.objects.get()
    assert [runs.get(name) for name in (waiting, row, row.uuid, row.pk)] == [waiting] * 4
    assert runs.pause(row.uuid).status == Status.PAUSED


@each("name", [77, uuid.UUID(int=77), "first"])
def test_a_run_that_does_not_exist_is_a_clear_error(name: Any) -> None:
    with pytest.raises(FlowcontrolError, match=f"There is no run {name}"):
        runs.get(name)
    with pytest.raises(FlowcontrolError, match=f"There is no run {name}"):
        runs.cancel(name)


@each(
    ("column", "value", "name", "read"),
    [
        ("state", [1], "state", {}),
        ("state", {"a": {"$decimal": "x"}}, "state", {}),
        ("state", None, "state", {}),
        ("cursor", {"step": 1}, "step", ""),
        ("cursor", ["one"], "step", ""),
        ("cursor", [{"phase": "run"}], "step", ""),
    ],
)
def test_a_damaged_run_can_be_read(column: str, value: Any, name: str, read: object) -> None:
    if not Flow.objects.exists():
        publish_flow(flow(step("test.work")))
    made = runs.create("flow")
    FlowRun.objects.filter(pk=made.pk).update(**{column: Value(value, JSONField())})
    assert getattr(runs.get(made), name) == read


# Finding


def test_runs_are_found_by_flow_object_status_and_outcome_the_newest_first() -> None:
    document = flow(step("test.work"), object="shop.customer")
    for key in ("a", "b"):
        publish_flow(document, key=key)
    ada, eve = (Customer.objects.create(name=name) for name in ("Ada", "Eve"))
    one = runs.create("a", ada)
    two = runs.create("b", ada, {"broken": True})
    three = runs.create("b", eve, {"waits": True})
    run_due()

    def found(*arguments: Any, **options: Any) -> list[int]:
        return [run.pk for run in runs.find(*arguments, **options)]

    assert found() == [three.pk, two.pk, one.pk]
    assert found(limit=2) == [three.pk, two.pk]
    assert found("b") == [three.pk, two.pk]
    assert found("b", ada) == [two.pk]
    assert found(obj=ada) == [two.pk, one.pk]
    assert found(status=Status.WAITING) == found(status="waiting") == [three.pk]
    assert found(outcome="errored") == [two.pk]
    assert found(text=f"#{one.pk}") == [one.pk]
    assert found("b", text=str(ada.pk)) == [two.pk]
    assert found(text="nothing has this name") == found("c") == []
    with pytest.raises(FlowcontrolError, match=r"“wating” is not a possible status\. Did you mean"):
        found(status="wating")
    assert [run.object_text for run in runs.find(obj=eve)] == [str(eve)]


def test_the_number_of_queries_does_not_depend_on_the_number_of_runs(
    published: Flow, django_assert_num_queries: Any
) -> None:
    made = [runs.create("flow") for _ in range(5)]
    with django_assert_num_queries(2):
        assert len(runs.find("flow")) == 5
    with django_assert_num_queries(2):
        runs.get(made[0])


# Starting


@pytest.mark.django_db(transaction=True)
def test_a_started_run_is_executed_at_once_and_after_the_commit_of_a_transaction(
    published: Flow,
) -> None:
    info = runs.start("flow", state={"price": PRICE}, by="Ada", reason="a test")
    assert (info.outcome, info.state) == (Outcome.COMPLETE, {"price": PRICE, "done": True})
    assert RunEvent.objects.get(actor="Ada").message == "Started by hand. a test"
    with transaction.atomic():
        later = runs.start("flow", payload={"price": PRICE})
        assert (later.status, later.state) == (Status.PENDING, {})
    run_due()
    assert runs.get(later).outcome == Outcome.COMPLETE


def test_a_created_run_is_executed_by_a_sweep_and_not_before_its_time(published: Flow) -> None:
    customer = Customer.objects.create(name="Ada")
    at = datetime(2026, 1, 7, tzinfo=UTC)
    info = runs.create("flow", customer, {"price": PRICE}, at=at, by="Ada")
    assert (info.status, info.due_at, info.started_at) == (Status.PENDING, at, None)
    assert (info.object_key, info.object_text) == (str(customer.pk), str(customer))
    run_due()
    assert runs.get(info).status == Status.PENDING


def test_what_refuses_a_start_is_raised(published: Flow) -> None:
    Flow.objects.update(active=False)
    for begin in (runs.start, runs.create):
        with pytest.raises(NotStartedError, match="is not active"):
            begin("flow")
        with pytest.raises(FlowcontrolError, match="No flow has the key 'flaw'"):
            begin("flaw")


# The operator actions


def test_each_operator_action_is_a_function_that_says_what_it_does() -> None:
    for name, action in OPERATOR_ACTIONS.items():
        function: Any = getattr(runs, name)
        assert (function.__name__, function.__doc__) == (name, action.function.__doc__)
        assert name in runs.__all__


@each(
    ["note", "stored"],
    [("a\udcff\x00b", "a?b"), (gettext_lazy("Yes"), "Yes"), ("100 % %(x)s", "100 % %(x)s")],
)
def test_a_note_is_stored_as_text_that_every_database_takes(
    waiting: RunInfo, note: Any, stored: str
) -> None:
    assert runs.pause(waiting, reason=note).reason == f"Paused. {stored}"
    assert runs.resume(waiting, by="a\udcff").status == Status.WAITING


def test_texts_of_the_tables_are_translated_when_they_are_read() -> None:
    for action in OPERATOR_ACTIONS.values():
        texts = [action.label, action.question, action.effect, action.success, action.why_not]
        texts += [argument.label for argument in action.arguments]
        assert all(isinstance(text, Promise) for text in texts), action.name
    for code, kind in ISSUE_KINDS.items():
        assert isinstance(kind.text, Promise), code
        assert isinstance(kind.remedy, Promise) or code.startswith("plugin"), code
    assert all(isinstance(text, Promise) for code, text in TEXTS.items() if code != "error")


def test_each_operator_function_is_typed_as_the_table_says() -> None:
    protocols = get_type_hints(runs)
    for name, action in OPERATOR_ACTIONS.items():
        parameters = list(inspect.signature(protocols[name].__call__).parameters)
        wanted = [each.name for each in action.arguments if each.for_one]
        assert parameters == ["self", "run", *wanted, "by", "reason"], name


DO: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "pause": ("waiting", {}, {"status": Status.PAUSED}),
    "run_now": ("waiting", {}, {"status": Status.WAITING}),
    "cancel": ("waiting", {}, {"status": Status.DONE, "outcome": Outcome.CANCELED}),
    "retry": ("failed", {}, {"status": Status.WAITING, "outcome": None}),
    "skip": ("failed", {}, {"status": Status.WAITING, "step": "one"}),
    "go_to_step": ("failed", {"step": "two"}, {"status": Status.WAITING, "step": "two"}),
    "restart": ("failed", {"step": "two"}, {"status": Status.PENDING, "step": "two"}),
    "edit_state": ("failed", {"state": {"price": PRICE}}, {"state": {"price": PRICE}}),
    "resume": ("paused", {}, {"status": Status.WAITING}),
    "move": ("older", {}, {"version": 2}),
}


def test_the_tests_know_every_operator_action() -> None:
    assert set(DO) == set(OPERATOR_ACTIONS)


@pytest.mark.parametrize("name", DO)
def test_an_operator_action_gives_the_run_as_it_then_stands(
    request: pytest.FixtureRequest, name: str
) -> None:
    situation, arguments, expected = DO[name]
    run: RunInfo = request.getfixturevalue(situation)
    info = getattr(runs, name)(run, by="Ada", reason="because", **arguments)
    assert isinstance(info, RunInfo)
    assert {key: getattr(info, key) for key in expected} == expected
    assert info == runs.get(info)
    assert (info.pk != run.pk) == (name == "restart")
    recorded = RunEvent.objects.filter(run_id=info.pk, actor="Ada")
    assert [event.values["note"] for event in recorded] == ["because"]


@pytest.fixture
def paused(waiting: RunInfo) -> RunInfo:
    return runs.pause(waiting)


@pytest.fixture
def older(waiting: RunInfo, published: Flow) -> RunInfo:
    from flowcontrol import flows

    third = flow(step("test.work", id="one"), step("test.work", id="three"))
    flows.edit_draft(published, lambda _: third, revision=None, author=None)
    flows.publish(published)
    return waiting


def test_what_refuses_an_operator_action_is_raised(failed: RunInfo) -> None:
    with pytest.raises(IllegalChangeError, match="“Pause” is not possible"):
        runs.pause(failed)
    with pytest.raises(FlowcontrolError, match="takes no argument “stepp”"):
        runs.go_to_step(failed, stepp="two")  # type: ignore[call-arg]
    assert runs.get(failed) == failed
