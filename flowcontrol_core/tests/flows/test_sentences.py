"""A step as a sentence."""

from __future__ import annotations

import pytest

from flowcontrol.flows import Phrase, Sentence, describe_step, inspect_document
from flowcontrol.testing import flow, step
from flowcontrol_core.document.tree import Document, Step


def said(one: Step) -> Sentence:
    return describe_step(one, Document(steps=(one,)))


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            step("builtin.if", condition="a.b > 1"),
            Sentence("If", (Phrase("a.b > 1", is_value=True),)),
        ),
        (
            step("builtin.stop_flow", reason="Order {{ object.pk }} is old"),
            Sentence(
                "Stop",
                (
                    Phrase("the flow (“Order "),
                    Phrase("object.pk", is_value=True),
                    Phrase(" is old”)"),
                ),
            ),
        ),
        (
            step("builtin.delay", amount="3", unit="days"),
            Sentence("Delay", (Phrase("for 3 days"),)),
        ),
        (
            step("builtin.delay", amount="state.n", unit="days"),
            Sentence(
                "Delay",
                (Phrase("for "), Phrase("state.n", is_value=True), Phrase(" days")),
            ),
        ),
        (step("gone.away", id="x"), Sentence("gone.away")),
        (step("builtin.if", condition="a >"), Sentence("If condition")),
    ],
)
def test_a_step_is_a_sentence_with_its_values_marked(one: Step, sentence: Sentence) -> None:
    assert said(one) == sentence


def test_what_was_read_before_is_not_read_again() -> None:
    document = flow(step("builtin.if", id="a", condition="a.b > 1"))
    problems, inspection = inspect_document(document)
    assert problems == []
    (one,) = document.steps
    other = Step(id="a", action="builtin.if", config={"condition": "never.read"})
    assert describe_step(other, document, inspection.configs["a"]) == said(one)
