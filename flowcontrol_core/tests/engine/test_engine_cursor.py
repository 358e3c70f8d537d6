"""The cursor as a JSON value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from flowcontrol_core.engine.codec import cursor_from_json, cursor_to_json
from flowcontrol_core.engine.cursor import Frame
from flowcontrol_core.engine.directives import Wait
from flowcontrol_core.errors import StateError
from tests.cases import each


def test_a_cursor_is_read_back_as_it_was_written_with_the_types_of_its_memo() -> None:
    cursor = (
        Frame(
            "loop",
            "inside",
            "body",
            {"value": Decimal("1.5"), "$x": 1},
            {"i": [Decimal(2)], "j": []},
            passes=3,
        ),
        Frame("mail", tries=2, calling=True, wakeup={"kind": "time", "payload": {"a": Decimal(1)}}),
    )
    data = json.loads(json.dumps(cursor_to_json(cursor)))
    assert cursor_from_json(data) == cursor
    assert isinstance(cursor_from_json(data)[0].memo["value"], Decimal)


def test_what_is_default_is_not_written() -> None:
    assert cursor_to_json((Frame("a"),)) == [{"step": "a", "phase": "run"}]
    assert cursor_from_json([]) == ()


@each(
    "damaged",
    [
        None,
        {},
        "x",
        5,
        [5],
        [{}],
        [{"step": "a"}],
        [{"step": "a", "phase": "nowhere"}],
        [{"step": "a", "phase": "run", "tries": "many"}],
        [{"step": "a", "phase": "run", "memo": 5}],
        [{"step": "a", "phase": "run", "memo": ["x"]}],
        [{"step": "a", "phase": "run", "memo": {"b": {"$decimal": "x"}}}],
    ],
)
def test_a_damaged_cursor_is_an_error_of_the_state(damaged: Any) -> None:
    with pytest.raises(StateError):
        cursor_from_json(damaged)


def test_a_wait_is_due_when_the_first_of_its_times_comes() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert Wait(until=late, timeout=early).due_at == early
    assert Wait(until=early).due_at == early
    assert Wait(trigger="shop.paid").due_at is None
