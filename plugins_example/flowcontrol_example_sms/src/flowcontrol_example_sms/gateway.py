"""A stand-in for the library of an SMS provider: it records messages instead of sending them."""

from __future__ import annotations

from typing import NamedTuple


class Busy(Exception):
    """The provider is busy; try again later."""


class Message(NamedTuple):
    """A message that the provider has accepted."""

    phone: str
    text: str
    key: str


#: The sent messages, oldest first.
sent: list[Message] = []


def send(phone: str, text: str, *, key: str) -> None:
    """Send a message, but only one for each key; raises Busy."""
    if all(message.key != key for message in sent):
        sent.append(Message(phone, text, key))
