"""Reasons: stored as a code with values, read as a sentence in the language of the reader."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import flowcontrol_core
from flowcontrol_core.models import NO_REASON, FlowRun, Reason, RunEvent
from flowcontrol_core.models.reasons import PAUSES, TEXTS
from tests.cases import each
from tests.translation import words

SOURCE = Path(flowcontrol_core.__file__).parent
_PLACEHOLDER = re.compile(r"%\((\w+)\)")


@each(
    ("reason", "text"),
    [
        (NO_REASON, ""),
        (Reason("paused"), "Paused."),
        (Reason.of("paused", "lunch"), "Paused. lunch"),
        (Reason.of("paused", ""), "Paused."),
        (Reason.of("moved", "better", old=1, new=2), "Moved from version 1 to 2. better"),
        (Reason.of("error", error="100 % wrong"), "100 % wrong"),
        (Reason.of("canceled", "100 % sure"), "Canceled. 100 % sure"),
    ],
)
def test_a_reason_is_a_sentence_with_its_values_and_the_note_follows_it(
    reason: Reason, text: str
) -> None:
    assert str(reason) == text
    assert bool(reason) == bool(text)


def test_only_a_note_that_there_is_stands_in_the_values() -> None:
    assert Reason.of("paused").values == {}
    assert Reason.of("paused", "lunch").values == {"note": "lunch"}


def test_a_reason_is_read_in_the_language_of_the_reader() -> None:
    reason = Reason.of("moved", "Besser so.", old=1, new=2)
    with words({"Moved from version %(old)s to %(new)s.": "Von Version %(old)s zu %(new)s."}):
        assert str(reason) == "Von Version 1 zu 2. Besser so."
    assert str(reason) == "Moved from version 1 to 2. Besser so."


def test_a_reason_names_its_step_by_the_label_that_people_know() -> None:
    labels = {"pay": "Charge the card"}
    failed = Reason.of("step_failed", step="pay", action="shop.charge", error="Busy: later")
    assert failed.describe(lambda step: labels.get(step, "")) == (
        "Step “Charge the card” failed: Busy: later"
    )
    unknown = Reason.of("step_failed", step="old", action="shop.charge", error="Busy: later")
    assert unknown.describe(lambda step: labels.get(step, "")) == str(unknown)
    damaged = Reason("step_failed", {"step": "pay"})
    assert "step_failed" in damaged.describe(lambda step: "x")


def test_a_run_and_its_history_give_the_text_of_the_code_that_they_store() -> None:
    run = FlowRun(reason_code="replaced", reason_values={"run": 7})
    event = RunEvent(code="paused", values={"note": "lunch"})
    assert (run.reason, event.message) == ("Replaced by run 7.", "Paused. lunch")
    assert run.explanation == Reason.of("replaced", run=7)
    with words({"Replaced by run %(run)s.": "Ersetzt durch Lauf %(run)s.", "Paused.": "Pausiert."}):
        assert (run.reason, event.message) == ("Ersetzt durch Lauf 7.", "Pausiert. lunch")


@each("values", [{}, {"old": 1}, None, [1], "text", 3])
def test_damaged_values_are_shown_as_they_are(values: Any) -> None:
    assert str(Reason("moved", values)) == f"moved {values}"
    assert FlowRun(reason_code="moved", reason_values=values).reason == f"moved {values}"


def test_a_translation_that_is_damaged_is_not_in_the_way() -> None:
    with words({"Replaced by run %(run)s.": "Ersetzt durch Lauf %(lauf)s."}):
        assert str(Reason.of("replaced", run=7)) == "replaced {'run': 7}"


def test_a_code_of_another_version_is_shown_as_it_is() -> None:
    assert str(Reason.of("not_yet_known", "because", step="a")) == "not_yet_known because"


def test_each_code_fits_into_its_columns() -> None:
    columns: list[Any] = [FlowRun._meta.get_field("reason_code"), RunEvent._meta.get_field("code")]
    assert max(map(len, TEXTS)) <= min(column.max_length for column in columns)


# The codes in the source


@cache
def calls() -> list[ast.Call]:
    """Return the calls in the modules that know of reasons."""
    texts = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    trees = [ast.parse(text) for text in texts if "Reason" in text or "reason_code" in text]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]


def codes_of(call: ast.Call) -> list[str]:
    """Return the codes that a call may make a reason of."""
    function = ast.unparse(call.func)
    place = {"Reason": 0, "Reason.of": 0, "done.reason": 0, "reason_of": 1}.get(function)
    if place is None or len(call.args) <= place:
        return []
    code = call.args[place]
    parts = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
    return [part.value for part in parts if isinstance(part, ast.Constant)]  # type: ignore[misc]


def test_each_code_that_the_source_uses_has_a_text_and_each_text_is_used() -> None:
    assert {code for call in calls() for code in codes_of(call)} == set(TEXTS)
    assert set(TEXTS) > set(PAUSES)


def test_each_reason_has_the_values_of_its_sentence() -> None:
    checked = 0
    for call in calls():
        codes, given = codes_of(call), {keyword.arg for keyword in call.keywords}
        if codes and ast.unparse(call.func) in ("Reason.of", "done.reason"):
            assert given == set(_PLACEHOLDER.findall(str(TEXTS[codes[0]]))), ast.unparse(call)
            checked += 1
    assert checked > 20


def test_the_source_asks_for_codes_that_there_are() -> None:
    """As in ``filter(reason_code="flow_paused")``."""
    asked = {
        keyword.value.value
        for call in calls()
        for keyword in call.keywords
        if keyword.arg == "reason_code" and isinstance(keyword.value, ast.Constant)
    }
    assert {"dead_lettered", "flow_paused"} <= asked - {""} <= set(TEXTS)
