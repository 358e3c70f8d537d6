"""What changed from one version to another, in words."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol import flows
from flowcontrol.redaction import HIDDEN
from flowcontrol.testing import flow, step
from tests.cases import each

pytestmark = pytest.mark.django_db


def mail(**config: Any) -> Any:
    return flow(step("builtin.send_email", id="mail", to="a@b.co", text="Hi", **config))


def words(old: Any, new: Any) -> list[tuple[str, str, str]]:
    return [change for line in flows.describe_diff(old, new) for change in line.changes]


def test_absent_and_empty_are_the_same_where_the_form_says_so() -> None:
    typed = mail(subject="Five books", html="", gone="", cc="", bcc="", reply_to="", group=[])
    old = mail(subject="Three books")
    assert words(old, typed) == [("Subject", "Three books", "Five books")]
    assert words(typed, old) == [("Subject", "Five books", "Three books")]
    assert flows.describe_diff(mail(subject="x"), mail(subject="x", html="")) == []


@each(
    ("action", "old", "new"),
    [
        ("for", {"end": "3", "variable": "i"}, {"end": "3", "variable": "i", "start": "0"}),
        ("delay", {"mode": "for", "amount": "3"}, {"mode": "for", "amount": "3", "weekday": ""}),
        # What does not validate is compared field by field.
        ("delay", {"mode": "x"}, {"mode": "x", "weekday": "", "time_of_day": None}),
        ("update_state", {"state": {"a": 1}}, {"state": {"a": 1}, "evaluate": False}),
    ],
)
def test_what_means_the_same_is_no_difference(
    action: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    before, after = (flow(step(f"builtin.{action}", id="s", **one)) for one in (old, new))
    shown = words(before, after)
    # An empty start is 0 only when the loop runs: its form keeps what was typed.
    assert shown == ([("Start", "(empty)", "0")] if action == "for" else [])


def test_values_are_shown_as_the_form_shows_them() -> None:
    def delay(**config: Any) -> Any:
        return flow(step("builtin.delay", id="s", **config))

    shown = words(
        delay(mode="for", amount="3", unit="days"), delay(mode="for", amount="3", unit="hours")
    )
    assert shown == [("Unit", "days", "hours")]

    def state(**values: Any) -> Any:
        return flow(step("builtin.update_state", id="s", state=values))

    old = state(a={"$decimal": "39.80"}, b=["x", True], c={"d": 1})
    ((_, before, after),) = words(old, state(a=None))
    assert before == "a: 39.80; b: (x, yes); c: (d: 1)"
    assert after == "a: (empty)"


def test_a_configuration_of_an_older_version_is_compared_by_what_it_means() -> None:
    def greet(**config: Any) -> Any:
        return flow(step("test.greet", id="s", **config))

    old = greet(message="Hello", times=1, config_version=1)
    same = greet(text="Hello", times=1, config_version=2)
    assert flows.describe_diff(old, same) == []
    other = greet(text="Bye", times=1, config_version=2)
    assert words(old, other) == [("Text", "Hello", "Bye")]


def test_what_an_unknown_action_stores_is_compared_as_it_stands() -> None:
    old, new = (flow(step("gone.away", id="s", **config)) for config in ({}, {"cc": ""}))
    assert words(old, new) == [("cc", HIDDEN, HIDDEN)]


def test_long_texts_are_shown_from_where_they_differ_on() -> None:
    ((_, old, new),) = words(mail(subject="x" * 500 + "old"), mail(subject="x" * 500 + "new"))
    assert (old, new) == ("…" + "x" * 40 + "old", "…" + "x" * 40 + "new")
    ((_, old, new),) = words(mail(subject="a" * 400), mail(subject="b"))
    assert (old, new) == ("a" * 300 + "…", "b")
