"""What the history records of the calls between two checkpoints, and what it hides."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from flowcontrol_core.bounds import HISTORY_ENTRIES, HISTORY_KEPT_CALLS
from flowcontrol_core.engine.history import Call, Recorder
from flowcontrol_core.engine.state import NO_VALUE
from flowcontrol_core.redaction import HIDDEN
from tests.cases import each

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def call(number: int, step: str = "a", **more: Any) -> Call:
    values: dict[str, Any] = {
        "action": "test.any",
        "method": "run",
        "at": NOW,
        "seconds": 0.25,
        "answer": "continue",
        "changes": {},
    }
    return Call(number=number, step=step, **{**values, **more})


def record(*calls: Call) -> Recorder:
    recorder = Recorder()
    for call in calls:
        recorder.add(call)
    return recorder


def numbers(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["number"] for entry in entries if "number" in entry]


def test_an_entry_says_which_step_when_how_long_and_what_it_answered() -> None:
    assert record(call(1)).take() == [
        {
            "number": 1,
            "step": "a",
            "action": "test.any",
            "at": "2026-01-05T12:00:00+00:00",
            "seconds": 0.25,
            "answer": "continue",
        }
    ]


def test_an_entry_says_more_where_there_is_more_to_say() -> None:
    more: dict[str, Any] = {
        "method": "return",
        "attempt": 2,
        "messages": ("hello",),
        "error": "Busy.",
    }
    [entry] = record(call(1, **more)).take()
    assert more == {**{key: entry[key] for key in more}, "messages": tuple(entry["messages"])}


def test_taking_forgets() -> None:
    recorder = record(call(1))
    assert recorder
    recorder.take()
    assert not recorder
    assert recorder.take() == []


def test_of_a_loop_the_first_and_last_passes_are_recorded_and_a_count_for_the_rest() -> None:
    entries = record(*(call(n, "ab"[n % 2]) for n in range(100))).take()
    assert numbers(entries) == [0, 1, 2, 3, 96, 97, 98, 99]
    assert entries[8:] == [{"step": "a", "omitted": 46}, {"step": "b", "omitted": 46}]


@pytest.mark.parametrize(("calls", "omitted"), [(4, 0), (5, 0), (6, 2), (7, 3)])
def test_a_single_call_is_recorded_and_not_counted(calls: int, omitted: int) -> None:
    recorder = record(*(call(n) for n in range(calls)))
    for _ in range(2):
        entries = recorder.entries()
        assert len(numbers(entries)) == calls - omitted
        assert sum(entry.get("omitted", 0) for entry in entries) == omitted


def test_failures_and_calls_with_effects_are_all_recorded() -> None:
    entries = record(*(call(n, keep=n % 10 == 0) for n in range(100))).take()
    assert numbers(entries) == [0, 1, 2, *range(10, 100, 10), 98, 99]
    assert entries[-1] == {"step": "a", "omitted": 86}


def test_even_calls_with_effects_are_bounded() -> None:
    entries = record(*(call(n, keep=True) for n in range(10 * HISTORY_KEPT_CALLS))).take()
    assert len(entries) == HISTORY_KEPT_CALLS + 2 + 2 + 1
    assert entries[-1]["omitted"] == 10 * HISTORY_KEPT_CALLS - len(numbers(entries))


def test_of_very_many_steps_the_last_ones_are_recorded_too_and_none_goes_uncounted() -> None:
    entries = record(*(call(n, f"s{n}") for n in range(1500)), call(1500, "bad", error="x")).take()
    shown = numbers(entries)
    assert len(shown) == HISTORY_ENTRIES
    assert shown[-1] == 1500
    assert sum(entry.get("omitted", 0) for entry in entries) == 1501 - HISTORY_ENTRIES


def test_what_was_rolled_back_is_forgotten_as_often_as_it_happens() -> None:
    recorder = record(call(1), call(2, keep=True))
    snapshot = recorder.snapshot()
    for _ in range(2):
        recorder.add(call(3))
        recorder.add(call(4, keep=True))
        recorder.restore(snapshot)
    assert numbers(recorder.take()) == [1, 2]


def test_a_change_of_a_key_that_came_or_went_can_be_written_after_a_roll_back() -> None:
    recorder = record(call(1, changes={"new": (NO_VALUE, 1), "gone": (Decimal("1.5"), NO_VALUE)}))
    recorder.restore(recorder.snapshot())
    [entry] = recorder.take()
    assert json.loads(json.dumps(entry["changes"])) == {
        "new": [[], [1]],
        "gone": [[{"$decimal": "1.5"}], []],
    }


@each("key", ["password", "api_key", "apikey", "AccessToken", "client_secret"])
def test_secrets_are_hidden_by_their_names_at_any_depth(key: str) -> None:
    changes = {key: (NO_VALUE, "x"), "deep": ({"a": [{key: "x"}]}, NO_VALUE)}
    [entry] = record(call(1, changes=changes)).take()
    assert entry["changes"] == {key: [[], [HIDDEN]], "deep": [[{"a": [{key: HIDDEN}]}], []]}


@pytest.mark.parametrize("value", ["x" * 10_000, ["x"] * 10_000, {"a": "x" * 10_000}])
def test_long_values_are_cut(value: Any) -> None:
    [entry] = record(call(1, changes={"a": (NO_VALUE, value)})).take()
    [shown] = entry["changes"]["a"][1]
    assert len(shown) == 501
    assert shown.endswith("…")
