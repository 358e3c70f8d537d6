"""Help for those who type an expression: what is marked, what is read, what is offered."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import override_settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.flows import (
    CheckedText,
    TextKind,
    check_document,
    check_text,
    complete,
    create_flow,
    evaluate_sample,
    find_warnings,
    models_read,
)
from flowcontrol.testing import flow as build
from flowcontrol.testing import step
from flowcontrol_core.document.tree import Document
from flowcontrol_core.expressions.django_filters import DJANGO_FILTERS
from flowcontrol_core.expressions.filter_texts import FILTER_TEXTS
from tests.shop.models import Customer, Order

pytestmark = pytest.mark.django_db

LISTED = {"shop.order": ["customer", "total"], "shop.customer": ["name"]}


def document(condition: str = "True") -> Document:
    return build(
        step("builtin.set_state", id="set", state={"reminders": 0}),
        step(
            "builtin.for",
            id="for",
            end="3",
            variable="n",
            body=[step("builtin.if", id="if", condition=condition)],
        ),
        step("builtin.if", id="after", condition="True"),
        object="shop.order",
    )


DOCUMENT = document()


def check(text: str, kind: TextKind = TextKind.EXPRESSION) -> CheckedText:
    return check_text(document(), text, kind, flow=None)


@pytest.mark.parametrize(
    "text",
    ["object.totl", "object.total >", "object.customer.nam", "object.total|uper", "reminder > 1",
     "state.remindrs", "n + m", "now.hours", "object.total > 1", "reminders", "object.api_token"],
)  # fmt: skip
def test_it_says_what_is_said_when_the_flow_is_published(text: str) -> None:
    whole, checked = document(text), check(text)
    problems = [found.message for found in check_document(whole) if found.step == "if"]
    warnings = [found.message for found in find_warnings(whole) if found.step == "if"]
    for said, mine in ((problems, checked.problems), (warnings, checked.warnings)):
        assert len(said) == len(mine)
        for message, finding in zip(said, mine, strict=True):
            assert message.startswith(finding.message.removesuffix(_REMEDY).rstrip())


_REMEDY = "Nothing in the flow brings it. Correct it, unless what starts the flow brings it."


@pytest.mark.parametrize(
    ("text", "marked", "meant"),
    [
        ("1 < object.totl", "totl", "total"),
        ("not object.customr", "customr", "customer"),
        ("object.customer.pkk", "pkk", "pk"),
        ("reminderz", "reminderz", "reminders"),
        ("state.remindrs|add:1", "remindrs", "reminders"),
        ("object.total|flotformat", "flotformat", "floatformat"),
        ("dayz(3)", "dayz", "days"),
    ],
)
def test_the_word_alone_is_marked_and_can_be_replaced(text: str, marked: str, meant: str) -> None:
    checked = check(text)
    (found,) = [*checked.problems, *checked.warnings]
    start, end = found.position, found.position + found.length
    assert (text[start:end], found.suggestion) == (marked, meant)
    assert not [*check(text[:start] + meant + text[end:]).problems]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("object.total", set()),
        ("1 + 1", set()),
        ("object", set()),
        ("object.customer_id", set()),
        ("object.customer", {Customer}),
        ("object.customer.name", {Customer}),
        ("object['total']", {Customer, Order}),
        ("[object]", {Customer, Order}),
        ("now.hour", set()),
    ],
)
def test_the_models_that_may_be_read_are_known_or_all_that_are_listed(
    text: str, read: set[type]
) -> None:
    with override_settings(FLOWCONTROL={"EXPRESSION_FIELDS": LISTED}):
        assert models_read(check(text), Order) == read


def test_a_property_may_lead_to_all_that_is_listed() -> None:
    listing = {**LISTED, "shop.order": ["first_customer"]}
    with override_settings(FLOWCONTROL={"EXPRESSION_FIELDS": listing}):
        assert models_read(check("object.first_customer.name"), Order) == {Customer, Order}


PARTS = st.sampled_from(
    ["object", ".totl", "state.", "reminders", "{{", "}}", "{%", "%}", "|", "|upper", "[", "]", "(",
     ")", "'", '"', "\\", " ", "\n", "not ", " and ", "1", "٣", "é", "🙂", "\0", "{# ", " #}", ":"]
)  # fmt: skip


@given(st.lists(PARTS | st.text(max_size=3), max_size=20).map("".join), st.sampled_from(TextKind))
def test_each_text_is_answered_and_what_is_marked_stands_in_it(text: str, kind: TextKind) -> None:
    checked = check_text(DOCUMENT, text, kind, flow=None)
    for found in (*checked.problems, *checked.warnings):
        assert found.message
        assert 0 <= found.position <= found.position + found.length <= len(text)
    sample = evaluate_sample(DOCUMENT, checked, None, timezone.now())
    assert len(sample.value) <= 301


def test_a_text_is_evaluated_without_a_run() -> None:
    order = Order(total=Decimal("39.80"), customer=Customer(name="Ada"))
    for text, value in (("object.total > 3", "true"), ("''", "(empty)"), ("[1, 2]", "1, 2")):
        assert evaluate_sample(document(), check(text), order, timezone.now()).value == value
    failed = evaluate_sample(document(), check("1 / 0"), None, timezone.now())
    assert failed.failure is not None
    assert not failed.value
    assert check("reminders + n").unknown_before_a_run == ["n", "reminders"]


def test_loop_variables_are_offered_inside_of_their_loop() -> None:
    flow = create_flow(key="f", name="F", document=document())

    def offered(step_id: str) -> set[str]:
        return {each.text for each in complete(document(), step_id, flow=flow)}

    assert {"n", "reminders", "state.reminders", "object.total", "now.year"} <= offered("if")
    assert "n" not in offered("after")


def test_each_filter_is_described_and_no_other() -> None:
    assert FILTER_TEXTS.keys() == DJANGO_FILTERS.keys()
    found = complete(document(), "if", flow=None)
    assert [each.text for each in found if each.kind != "name" and not each.detail] == []
