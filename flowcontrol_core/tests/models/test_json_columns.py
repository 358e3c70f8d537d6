"""Columns of JSON that another program has written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowcontrol_core.bounds import JSON_DEPTH
from flowcontrol_core.models.columns import DamagedJson, JsonField
from tests.cases import each

_READ: Any = JsonField().from_db_value


@each(
    "value",
    [
        {"a": [1, 2, {"b": "[" * 10_000}]},
        ["\\", '"[[[["', "{" * 1_000],
        [[] for _ in range(5_000)],
        json.loads("[" * JSON_DEPTH + "]" * JSON_DEPTH),
        {"[{": {"]}": 1}},
        None,
        "text",
    ],
)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert _READ(json.dumps(value), None, None) == value


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_nested_too_deeply_is_read_as_damaged(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    for depth in (JSON_DEPTH + 1, 3_000, 100_000):
        found = _READ(f"{opening * depth}1{closing * depth}", None, None)
        assert isinstance(found, DamagedJson)
        assert not found
