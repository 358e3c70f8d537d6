"""The form fields for configurations, and what an action sees of its run."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ValidationError

from flowcontrol.base import RunContext
from flowcontrol.errors import DirectiveError
from flowcontrol.forms import (
    ExpressionField,
    FlowField,
    JSONExpressionField,
    TemplateField,
    TriggerField,
    check_texts,
)
from flowcontrol.registry import Trigger, registry
from flowcontrol_core.actions.context import FlowReference
from flowcontrol_core.engine.directives import Kind
from flowcontrol_core.engine.state import State
from flowcontrol_core.models import Flow

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize("field", [ExpressionField(), TemplateField()])
def test_a_bad_expression_is_refused_with_its_place(field: forms.Field) -> None:
    text = "{{ a + }}" if isinstance(field, TemplateField) else "object.total >"
    with pytest.raises(ValidationError) as caught:
        field.clean(text)
    assert caught.value.code == "expression"


def test_the_place_of_what_is_wrong_is_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        ExpressionField().clean("name|nofilter")
    assert "at character 6: 'nofilter'" in caught.value.messages[0]


@pytest.mark.parametrize("empty", ["", None])
def test_optional_expressions_and_texts_may_be_empty(empty: Any) -> None:
    assert ExpressionField(required=False).clean(empty) == ""
    assert TemplateField(required=False).clean(empty) == ""
    assert ExpressionField(required=False, empty_value=None).clean(empty) == ""


def test_a_percent_sign_in_a_bad_text_is_not_a_placeholder() -> None:
    with pytest.raises(ValidationError, match=r"a\.b\[0\]|a\.b\.0"):
        check_texts({"a": {"b": ["100%s %(x)d ("]}})


def test_texts_in_json_are_checked_at_any_depth() -> None:
    check_texts({"a": ["n", 1, None, {"b": "'text'"}]})
    with pytest.raises(ValidationError, match="To mean the text itself, put it in quotes"):
        check_texts("two words")


@pytest.mark.parametrize("value", ["[1]", '"text"', "5", "true"])
def test_only_an_object_will_do_where_a_state_is_asked_for(value: str) -> None:
    with pytest.raises(ValidationError, match="Enter a JSON object"):
        JSONExpressionField().clean(value)


def test_an_empty_state_is_an_empty_object() -> None:
    assert JSONExpressionField(required=False).clean("") == {}


@pytest.mark.django_db
def test_flows_are_offered_by_name_and_one_that_does_not_exist_yet_will_do() -> None:
    Flow.objects.create(key="b", name="Beta")
    Flow.objects.create(key="a", name="Alpha")
    field = FlowField()
    assert list(field.widget.choices) == [("", "---------"), ("a", "Alpha"), ("b", "Beta")]
    assert field.clean("imported_later") == "imported_later"


def test_only_registered_triggers_are_offered_and_accepted() -> None:
    with registry.temporary(triggers=[Trigger(name="paid", label="Order paid")]):
        field = TriggerField()
        assert ("test.paid", "Order paid") in list(field.widget.choices)
        assert field.clean("test.paid") == "test.paid"
        with pytest.raises(ValidationError):
            field.clean("test.gone")


@pytest.fixture
def run() -> RunContext:
    flow = FlowReference("test", "Test")
    return RunContext(uuid=uuid.UUID(int=1), flow=flow, state=State(), now=NOW, time_zone=UTC)


@pytest.mark.parametrize(
    ("given", "due"),
    [
        (60, NOW + timedelta(minutes=1)),
        (0.5, NOW + timedelta(seconds=0.5)),
        (timedelta(days=1), NOW + timedelta(days=1)),
        (NOW, NOW),
    ],
)
def test_a_time_out_may_be_seconds_a_duration_or_a_time(
    run: RunContext, given: Any, due: datetime
) -> None:
    directive = run.suspend(trigger="shop.paid", timeout=given)
    assert directive.wait is not None
    assert (directive.wait.timeout, directive.wait.due_at) == (due, due)


def test_waiting_for_a_child_takes_a_run_or_its_uuid(run: RunContext) -> None:
    child = uuid.UUID(int=2)
    for given in (child, str(child), type("Run", (), {"uuid": child})()):
        directive = run.suspend(child=given, repeat=True)
        assert directive.kind is Kind.SUSPEND_AND_REPEAT
        assert directive.wait is not None
        assert directive.wait.child == str(child)


def test_waiting_for_nothing_or_a_naive_time_is_refused(run: RunContext) -> None:
    with pytest.raises(DirectiveError, match="needs something that wakes the run"):
        run.suspend()
    with pytest.raises(DirectiveError, match="make it aware"):
        run.suspend(until=datetime(2026, 1, 5))


def test_a_variable_is_named_once_however_often_it_is_set(run: RunContext) -> None:
    run.set_variable("i", 0)
    run.set_variable("i", 1)
    run.set_variable("j", 2)
    assert (run.hidden, dict(run.state)) == ({"i": [], "j": []}, {"i": 1, "j": 2})


def test_a_variable_hides_the_value_that_its_key_had_before(run: RunContext) -> None:
    run.state["i"] = ["kept"]
    run.set_variable("i", 0)
    run.set_variable("i", 1)
    assert (run.hidden, dict(run.state)) == ({"i": [["kept"]]}, {"i": 1})


def test_the_idempotency_key_belongs_to_the_run_and_its_step(run: RunContext) -> None:
    first = run.idempotency_key
    assert run.idempotency_key == first
    run.sequence += 1
    second = run.idempotency_key
    run.uuid = uuid.UUID(int=2)
    assert len({first, second, run.idempotency_key}) == 3


def test_without_an_object_there_is_none_and_a_heartbeat_does_no_harm(run: RunContext) -> None:
    assert run.object is None
    assert run.lock_object() is None
    run.heartbeat()
