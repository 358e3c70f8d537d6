"""Texts are made such that every database stores them; keys are refused instead."""

from __future__ import annotations

from flowcontrol_core.texts import key_problem, storable_text


def test_text_is_made_such_that_every_database_stores_it() -> None:
    assert storable_text("a\x00b\udcff") == "ab?"
    assert storable_text(None) == ""
    assert storable_text("abc", 2) == "ab"


def test_a_key_that_cannot_be_stored_as_it_is_has_a_problem() -> None:
    assert key_problem("order:7", 20) == ""
    assert "U+0000" in key_problem("a\x00", 20)
    assert "U+DCFF" in key_problem("\udcff", 20)
    assert key_problem("x" * 21, 20) == "has more than 20 characters"
