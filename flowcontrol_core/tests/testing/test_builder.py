"""The builder for flows, and the contract that actions are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.utils import translation

from flowcontrol.base import BaseAction, BoundConfig, Effects
from flowcontrol.forms import ExpressionField
from flowcontrol.testing import check_action, flow, manual_clock, step
from flowcontrol_core.document.format import parse, to_data
from flowcontrol_core.document.tree import RetryPolicy
from flowcontrol_core.runs.store.clock import clock
from tests.cases import each


def test_steps_without_an_id_are_numbered_in_reading_order_around_those_with_one() -> None:
    document = flow(
        step("test.a"),
        step("test.b", id="s2", then=[step("test.c")]),
        step("test.d"),
    )
    assert document.step_ids() == ("s1", "s2", "s3", "s4")


def test_one_step_may_be_built_into_two_places() -> None:
    wait = step("test.wait")
    assert flow(wait, step("test.if", then=[wait])).step_ids() == ("s1", "s2", "s3")


def test_a_list_of_steps_is_a_branch_and_all_else_is_configuration() -> None:
    built = step("test.a", tags=["x"], none=[], body=[step("test.b")], config={"note": "mine"})
    assert built.config == {"tags": ["x"], "none": [], "note": "mine"}
    assert [*built.branches] == ["body"]


@each(
    ("name", "empty"),
    [("while", {"body": []}), ("if", {"then": [], "else": ()}), ("if", {"then": []})],
)
def test_an_empty_list_is_an_empty_branch_where_the_action_offers_one(
    name: str, empty: dict[str, Any]
) -> None:
    built = step(f"builtin.{name}", condition="True", **empty)
    assert (built.config, built.branches) == ({"condition": "True"}, dict.fromkeys(empty, ()))
    assert step("builtin.while", tags=[], config={"body": []}).config == {"body": [], "tags": []}
    assert step("builtin.while", body="x", condition="True").config["body"] == "x"


def test_options_of_a_step_are_those_of_the_document() -> None:
    built = step(
        "test.a",
        note="why",
        disabled=True,
        timeout=5,
        if_unknown="fail",
        config_version=2,
        retry={"attempts": 3, "backoff": "5m"},
    )
    assert built.retry == RetryPolicy(attempts=3, backoff=300)
    assert (built.note, built.disabled, built.config_version) == ("why", True, 2)
    document = flow(built, object="auth.user", guard="object.is_active", time_zone="Asia/Kolkata")
    assert parse(to_data(document)) == document


class Honest(BaseAction):
    name = "honest"
    effects = Effects.NONE

    class Config(forms.Form):
        when = forms.DateTimeField()
        amount = forms.DecimalField()
        condition = ExpressionField(required=False)

    def run(self, **_: Any) -> None: ...


EXAMPLE = {"when": "2026-07-01 12:00", "amount": "1.50", "condition": "object.pk > 1"}


class Forgetful(Honest):
    def __init__(self) -> None:
        self.count = 0


class Wordy(Honest):
    def summary(self, config: BoundConfig) -> str:
        return "two\nlines"


class _Translated(forms.CharField):
    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return text if text.endswith("!") else f"{text} {translation.get_language()}"


class Drifting(Honest):
    class Config(forms.Form):
        text = _Translated()


class Choosy(Honest):
    class Config(forms.Form):
        word = forms.CharField()

        def clean(self) -> dict[str, Any]:
            # As if what is stored were what was typed.
            return {"word": self.cleaned_data.get("word", "").upper()}

        def clean_word(self) -> str:
            word = str(self.cleaned_data["word"])
            if word.isupper():
                raise forms.ValidationError("Small letters, please.")
            return word


def test_an_honest_action_keeps_the_contract() -> None:
    check_action(Honest, EXAMPLE, EXAMPLE | {"condition": ""})


@each(
    ("action", "example", "message"),
    [
        (Honest, {"when": "never"}, "of Honest does not validate"),
        (Forgetful, EXAMPLE, r"Forgetful has \['count'\] on its instance"),
        (Wordy, EXAMPLE, "summary of Wordy has more than one line"),
        (Drifting, {"text": "hi"}, "Drifting means"),
        (Choosy, {"word": "hi"}, "Choosy cannot be read back.*Small letters"),
    ],
)
def test_an_action_that_breaks_the_contract_is_told_how(
    action: type[BaseAction], example: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_action(action, example)


def test_a_manual_clock_is_in_force_inside_of_its_block_only() -> None:
    before: Callable[..., Any] = clock
    with manual_clock() as manual:
        assert clock() is manual
        first = manual.now()
        assert (manual.advance(days=1, hours=1) - first).total_seconds() == 25 * 3600
    assert before() is not manual
