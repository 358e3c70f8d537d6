"""The digest: the same for the same content."""

from __future__ import annotations

import hashlib

import pytest

from flowcontrol_core.document import format as document_format
from flowcontrol_core.document.format import canonical_json, to_data
from flowcontrol_core.document.tree import Document, RetryPolicy, Step
from tests.cases import each


def digest(document: Document) -> str:
    return document_format.digest(to_data(document))


def document(**values: object) -> Document:
    return Document(steps=(Step(**{"id": "a", "action": "demo.log", **values}),))  # type: ignore[arg-type]


def test_digest_is_the_sha256_of_the_canonical_json() -> None:
    canonical = (
        '{"format":1,"guard":"ä","steps":[{"action":"demo.log","config":{"a":1,"b":2},'
        '"config_version":1,"id":"a"}]}'
    )
    step = Step(id="a", action="demo.log", config={"b": 2, "a": 1}, config_version=1)
    expected = hashlib.sha256(canonical.encode()).hexdigest()
    assert digest(Document(guard="ä", steps=(step,))) == expected


def test_the_order_of_keys_and_the_notation_of_numbers_do_not_count() -> None:
    first = document(config={"a": 1, "b": [1e20, {"c": -0.0}]}, timeout=5)
    second = document(config={"b": [10**20, {"c": 0}], "a": 1.0}, timeout=5.0)
    assert digest(first) == digest(second)


def test_the_order_of_branches_and_empty_branches_do_not_count() -> None:
    inner = Step(id="b", action="demo.log", branches={"body": ()})
    first = document(branches={"then": (inner,), "else": ()})
    second = document(branches={"then": (Step(id="b", action="demo.log"),)})
    assert digest(first) == digest(second)


@each(
    "values",
    [
        {"id": "b"},
        {"action": "demo.other"},
        {"config": {"flag": True}},
        {"config": {"flag": 1}},
        {"config": {"flag": "1"}},
        {"config_version": 2},
        {"note": "why"},
        {"disabled": True},
        {"retry": RetryPolicy(attempts=2)},
        {"timeout": 5},
        {"if_unknown": "fail"},
        {"branches": {"body": (Step(id="b", action="demo.log"),)}},
    ],
)
def test_every_value_of_a_step_counts(values: dict[str, object]) -> None:
    others = [document(), document(config={"flag": False}), document(note="other")]
    assert digest(document(**values)) not in {digest(other) for other in others}


def test_true_is_not_one() -> None:
    assert digest(document(config={"flag": True})) != digest(document(config={"flag": 1}))


def test_the_order_of_steps_counts() -> None:
    first, second = Step(id="a", action="demo.log"), Step(id="b", action="demo.log")
    assert digest(Document(steps=(first, second))) != digest(Document(steps=(second, first)))


def test_canonical_json_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
