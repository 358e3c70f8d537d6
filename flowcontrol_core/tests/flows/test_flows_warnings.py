"""What is shown before a flow is published: names that nothing in it brings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowcontrol import flows
from flowcontrol.testing import flow, publish_flow, step
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import Problem
from flowcontrol_core.models import Flow, FlowEvent, FlowOperation, FlowTrigger
from tests.cases import each

pytestmark = pytest.mark.django_db


def condition(text: str) -> Any:
    return step("builtin.if", id="if", condition=text)


def setting(**state: Any) -> Any:
    return step("builtin.update_state", id="set", state=state)


def counting(variable: str, *body: Any) -> Any:
    return step("builtin.for", id="for", end="3", variable=variable, body=list(body))


def starting(**config: Any) -> Any:
    config = {"flow": "other", "wait": True, **config}
    return step("builtin.start_flow", id="start", **config)


def waiting(result_key: str) -> Any:
    trigger = "signals.auth.logged_in"
    return step("builtin.wait_for_trigger", id="wait", trigger=trigger, result_key=result_key)


@each(
    ("document", "words"),
    [
        (flow(setting(tries=1), condition("trys > 1")), ["Did you mean “tries”?", "'trys'"]),
        (flow(condition("state.tries > 1")), ['"tries" in state.tries is unknown', "character 1"]),
        (flow(condition("now > 1 and (a or b)")), ['"a" is unknown', '"b" is unknown']),
        (flow(setting(a=1), guard="state.b"), ['"b" in state.b is unknown']),
        (flow(starting(output={"x": "outcom"})), ['"outcom" is unknown']),
        (
            flow(step("builtin.send_email", to="a@b.co", subject="{{ nam|upper }}", text="Hi")),
            ['"nam" is unknown', "(at character 4: 'nam')"],
        ),
        (
            flow(step("builtin.update_state", state={"a": "total|add:1"}, evaluate=True)),
            ['"total" is unknown'],
        ),
    ],
)
def test_a_name_that_nothing_brings_is_a_warning_with_its_place(
    document: Document, words: list[str]
) -> None:
    warnings = flows.find_warnings(document)
    assert warnings
    assert all(each in f"{[*map(str, warnings)]}".replace("\\", "") for each in words)
    assert all("Nothing in the flow brings it." in warning.message for warning in warnings)


@each(
    "document",
    [
        flow(),
        flow(setting(tries=1, a={"b": 1}), condition("tries > 1 and state.a.b and a.c")),
        flow(counting("i", condition("i == 2"))),
        flow(starting(result_key="r", output={"x": "result.a|add:1"}), condition("r.run or x")),
        flow(waiting("w"), condition("w.timed_out")),
        flow(condition("object.total > 1 and payload.x and now.hour"), guard="obj.a or payload"),
        flow(condition("(")),
        flow(condition("a"), guard="a |"),
        flow(step("gone.away")),
    ],
)
def test_what_something_brings_is_no_warning(document: Document) -> None:
    known = [warning for warning in flows.find_warnings(document) if '"a"' not in str(warning)]
    assert known == []


def test_names_of_a_payload_are_those_of_the_triggers_of_the_flow() -> None:
    made = publish_flow(flow(condition("payload.user_nam")))
    document = flows.present_document(made)
    assert flows.find_warnings(document) == []
    flows.associate_trigger(made, "signals.auth.login_failed")
    (warning,) = flows.find_warnings(document, flow=made)
    assert "unknown in the payload. Did you mean “username”?" in warning.message
    assert (warning.step, warning.field) == ("if", "condition")
    condition_of_trigger = "payload.user or payload.username"
    flows.associate_trigger(made, "signals.auth.logged_in", condition=condition_of_trigger)
    warning, _ = flows.find_warnings(document, flow=made)
    assert '"user" in payload.user is unknown' in warning.message
    assert warning.path == "triggers.signals.auth.logged_in"


LOGIN_FAILED = "signals.auth.login_failed"


def orders(*steps: Any, **options: Any) -> Document:
    return flow(*steps, object="shop.order", **options)


@each(
    ("document", "users"),
    [
        (orders(condition("object.total > 100")), "1 “If condition”"),
        (orders(condition("not obj or state")), "1 “If condition”"),
        (flow(condition("object")), "1 “If condition”"),
        (orders(setting(a=1), guard="object.total"), "the guard"),
        (
            orders(
                setting(a=1),
                step("builtin.send_email", to="a@b.co", subject="x", text="{{ object.total }}"),
            ),
            "2 “Send e-mail”",
        ),
    ],
)
def test_a_trigger_without_an_object_is_a_warning_where_an_object_is_used(
    document: Document, users: str
) -> None:
    made = publish_flow(document, key=f"about-{Flow.objects.count()}")
    association = flows.associate_trigger(made, LOGIN_FAILED)
    (message,) = flows.association_warnings(association, document)
    assert f"It is used by: {users}." in message
    found = [one for one in flows.find_warnings(document, flow=made) if one.field == "trigger"]
    assert [(one.path, one.message) for one in found] == [(f"triggers.{LOGIN_FAILED}", message)]


@each(
    ("trigger", "mode", "document"),
    [
        (LOGIN_FAILED, "start", orders(setting(a=1))),
        (LOGIN_FAILED, "wake", orders(condition("object.total > 100"))),
        ("signals.auth.logged_in", "start", flow(condition("object.username"))),
        (LOGIN_FAILED, "start", orders(replace(condition("object.total > 1"), disabled=True))),
    ],
)
def test_a_trigger_is_no_warning_where_no_object_is_missed(
    trigger: str, mode: str, document: Document
) -> None:
    association = FlowTrigger(trigger=trigger, mode=mode)
    assert flows.association_warnings(association, document) == []


def test_a_condition_of_a_trigger_that_uses_an_object_it_does_not_bring_is_a_warning() -> None:
    association = FlowTrigger(trigger=LOGIN_FAILED, mode="start", condition="object.total > 1")
    (message,) = flows.association_warnings(association, orders(setting(a=1)))
    assert "empty in its condition" in message


def test_a_switched_off_trigger_is_not_warned_about_before_publishing() -> None:
    made = publish_flow(orders(condition("object.total > 100")))
    flows.associate_trigger(made, LOGIN_FAILED, active=False)
    assert flows.find_warnings(flows.present_document(made), flow=made) == []


def test_warnings_are_recorded_and_prevent_nothing() -> None:
    made = publish_flow(flow(condition("tries")))
    assert made.published is not None
    event = FlowEvent.objects.get(key=made.key, operation=FlowOperation.PUBLISH)
    (warning,) = event.values["warnings"]
    assert '"tries" is unknown' in warning
    assert event.message == "Version 1."


def test_a_missing_filter_is_a_problem_with_its_place() -> None:
    problems = flows.check_document(flow(condition("a|gone"), guard="now|gone"))
    assert [(type(each), each.field) for each in problems] == [
        (Problem, "guard"),
        (Problem, "condition"),
    ]
    assert all("install the plugin" in each.message for each in problems)
    assert all("(at character" in each.message for each in problems)


@each(
    ("made", "field", "shown"),
    [
        (setting(last="{{ i }}"), "state", "{{ i }}"),
        (setting(a=[{"b": "so {% if a %}"}]), "state", "{% if a %}"),
        (starting(initial_state={"a": "Dear {{ object }}"}), "initial_state", "{{ object }}"),
    ],
)
def test_a_placeholder_that_is_not_evaluated_is_a_warning_at_its_field(
    made: Any, field: str, shown: str
) -> None:
    (problem,) = flows.find_warnings(flow(made))
    assert (problem.field, problem.step) == (field, made.id)
    assert problem.message.startswith(f"“{shown}” is written like a placeholder")


def test_what_is_evaluated_or_no_placeholder_is_no_warning() -> None:
    mail = {"to": "a@b.co", "subject": "{{ now }}", "text": "{% if now %}Hi{% endif %}"}
    made = (
        setting(last={"a": {"b": "{c}"}}, other="{ {x} }"),
        step("builtin.send_email", id="mail", **mail),
    )
    assert flows.find_warnings(flow(*made)) == []
