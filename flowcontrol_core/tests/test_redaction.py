"""Secrets are taken out of text by the name that they are assigned to."""

from __future__ import annotations

from flowcontrol_core.redaction import redact, storable_text
from tests.cases import each


@each(
    ["text", "shown"],
    [
        ("Authorization: Bearer abc.DEF", "Authorization: Bearer •••"),
        ("{'Authorization': 'Basic dXNl'}", "{'Authorization': 'Basic •••'}"),
        ("pwd=hunter2 otp: 123456", "pwd=••• otp: •••"),
        ('jwt="ey.J", api_key=abc', 'jwt="•••", api_key=•••'),
        ("spin=5 hotpot: 7", "spin=5 hotpot: 7"),
        ("a session is a word", "a session is a word"),
    ],
)
def test_what_is_assigned_to_the_name_of_a_secret_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_text_is_made_such_that_every_database_stores_it() -> None:
    assert storable_text("a\x00b\udcff") == "ab?"
    assert storable_text(None) == ""
    assert storable_text("abc", 2) == "ab"
