"""Stands in for the library of an SMS provider: it remembers what was sent instead of sending."""

from __future__ import annotations

from typing import NamedTuple


class Busy(Exception):
    """The provider asks to try again later."""


class Message(NamedTuple):
    """A message as the provider has accepted it."""

    phone: str
    text: str
    key: str


#: What was sent, oldest first.
sent: list[Message] = []


def send(phone: str, text: str, *, key: str) -> None:
    """Send a message; raises Busy. A second one with the same key is not sent again."""
    if all(message.key != key for message in sent):
        sent.append(Message(phone, text, key))
