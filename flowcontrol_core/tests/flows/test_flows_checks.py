"""What is found before a flow runs: each problem with its place."""

from __future__ import annotations

from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from flowcontrol import flows
from flowcontrol_core.errors import Problem
from flowcontrol_core.flows.document_checks import check_document

from .conftest import choose, document, greet, step

pytestmark = pytest.mark.django_db


def only(*steps: dict[str, Any], **options: Any) -> Problem:
    problems = check_document(document(*steps, **options))
    assert len(problems) == 1, problems
    return problems[0]


def test_sound_document_has_no_problems() -> None:
    loop = step("cccc", "loop", branches={"body": [choose("dddd", then=[step("eeee", "leave")])]})
    content = document(
        greet("aaaa", text="Hi {{ object.name }}"),
        step("bbbb", "customers", retry={"attempts": 3}),
        loop,
        object="shop.customer",
        guard="object.is_active",
    )
    assert check_document(content) == []


def test_unknown_action_names_the_plugin() -> None:
    problem = only(choose("aaaa", then=[{"id": "bbbb", "action": "gone.thing"}]))
    assert problem.path == "steps[0].branches.then[0].action"
    assert (problem.step, "plugin 'gone'" in problem.message) == ("bbbb", True)


def test_configuration_that_does_not_validate_is_reported_by_field() -> None:
    problems = check_document(document(greet("aaaa", text="", times=0)))
    assert [(problem.path, problem.step, problem.field) for problem in problems] == [
        ("steps[0].config.text", "aaaa", "text"),
        ("steps[0].config.times", "aaaa", "times"),
    ]


def test_value_without_a_field_is_reported() -> None:
    problem = only(greet("aaaa", colour="red"))
    assert (problem.path, problem.field) == ("steps[0].config.colour", "colour")


def test_configuration_of_a_newer_plugin_is_reported() -> None:
    problem = only(step("aaaa", "greet", config={"text": "x"}, config_version=3))
    assert "newer version (3)" in problem.message


def test_failing_upgrade_is_reported() -> None:
    assert "upgrade_config()" in only(step("aaaa", "greet", config_version=1)).message


def test_bad_expression_is_reported_with_its_place() -> None:
    bad = step("aaaa", "choose", config={"condition": "state.a >"})
    problem = only(bad)
    assert (problem.path, problem.field) == ("steps[0].config.condition", "condition")


def test_unknown_field_of_the_model_is_reported() -> None:
    problem = only(greet("aaaa", text="Hi {{ object.nam }}"), object="shop.customer")
    assert problem.path == "steps[0].config.text"
    assert "Did you mean “name”" in problem.message


def test_unknown_model_is_reported() -> None:
    problem = only(object="shop.nothing")
    assert (problem.path, "no model 'shop.nothing'" in problem.message) == ("object", True)


@pytest.mark.parametrize("guard", ["object.nam", "object.name >"])
def test_bad_guard_is_reported(guard: str) -> None:
    assert only(object="shop.customer", guard=guard).path == "guard"


def test_branch_that_the_action_does_not_offer_is_reported() -> None:
    problem = only(choose("aaaa", maybe=[greet("bbbb")]))
    assert problem.path == "steps[0].branches.maybe"
    assert "Possible: then, else" in problem.message


def test_going_to_a_loop_needs_one_around() -> None:
    problem = only(choose("aaaa", then=[step("bbbb", "leave")]), step("cccc", "loop"))
    assert (problem.step, "no loop around it" in problem.message) == ("bbbb", True)


def test_missing_action_around_may_be_the_loop() -> None:
    outside = {"id": "aaaa", "action": "gone.loop", "branches": {"body": [step("bbbb", "leave")]}}
    assert only(outside).step == "aaaa"


@pytest.mark.parametrize("options", [{}, {"object": "shop.order"}])
def test_action_for_another_model_is_reported(options: dict[str, str]) -> None:
    assert "'shop.customer' only" in only(step("aaaa", "customers"), **options).message


def test_messages_of_an_action_are_reported() -> None:
    assert only(step("aaaa", "unhappy")).message == "The gateway has no account."


def test_unregistered_trigger_is_reported() -> None:
    problem = only(step("aaaa", "wait", config={"trigger": "test.never"}))
    assert "'test.never', which is not registered" in problem.message
    assert not check_document(document(step("aaaa", "wait", config={"trigger": "test.paid"})))


def test_flow_that_does_not_exist_is_reported() -> None:
    start = step("aaaa", "start", config={"flow": "other"})
    assert "'other', which does not exist" in only(start).message
    flows.create_flow(key="other", name="Other")
    assert not check_document(document(start))


def test_flow_may_start_itself() -> None:
    content = document(step("aaaa", "start", config={"flow": "self"}))
    flow = flows.create_flow(key="self", name="Self", document=content)
    assert not check_document(content, flow=flow)


def test_disabled_steps_are_not_checked() -> None:
    broken = {"id": "bbbb", "action": "gone.thing"}
    assert not check_document(document({**choose("aaaa", then=[broken]), "disabled": True}))


def test_action_that_raises_while_it_is_asked_is_a_problem_and_no_crash() -> None:
    problems = check_document(document(step("aaaa", "broken"), step("bbbb", "broken_form")))
    texts = [problem.message for problem in problems]
    for what in ("check()", "needs_loop()", "waits_for()", "starts_flows()"):
        assert any(what in text and "ZeroDivisionError" in text for text in texts), what
    assert [problem.step for problem in problems].count("bbbb") == 1


def test_flows_are_found_with_one_query(django_assert_num_queries: Any) -> None:
    steps = [step(f"s{n}", "start", config={"flow": f"f{n}"}) for n in range(30)]
    context: CaptureQueriesContext
    with django_assert_num_queries(1) as context:
        assert len(check_document(document(*steps))) == 30
    assert "IN" in context.captured_queries[0]["sql"]


def test_one_step_is_checked_with_what_is_around_it() -> None:
    content = document(greet("aaaa", times=0), choose("cccc", then=[greet("bbbb", times=0)]))
    assert {problem.step for problem in check_document(content)} >= {"aaaa", "bbbb"}
    for step_id in ("aaaa", "bbbb"):
        problems = check_document(content, step=step_id)
        assert problems == [item for item in check_document(content) if item.step == step_id]
        assert problems
