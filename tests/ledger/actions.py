"""The actions of the ledger; the tests register them as a plugin."""

from __future__ import annotations

from typing import Any

from django import forms

from flowcontrol.base import BaseAction, Effects
from flowcontrol.registry import Trigger
from tests.ledger.models import Entry
from tests.shop.models import Customer

#: What was sent to the world outside.
sent: list[str] = []


class Note(BaseAction):
    """Writes a customer, which is undone where the line cannot be written."""

    name = "note"
    effects = Effects.DATABASE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        Customer.objects.create(name="noted")
        Entry.objects.create(text="noted")


class Send(BaseAction):
    """Sends something, and then writes a line."""

    name = "send"
    effects = Effects.EXTERNAL

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        sent.append(run.idempotency_key)
        Entry.objects.create(text="sent")


class Choose(BaseAction):
    """Offers the lines in its form."""

    name = "choose"
    effects = Effects.NONE

    class Config(forms.Form):
        entry = forms.ModelChoiceField(Entry.objects.all(), required=False)

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["chosen"] = str(config.entry)


def has_entries(_config: Any, _obj: Any, _payload: Any) -> bool:
    return Entry.objects.filter(note="").exists()


class Chosen(forms.Form):
    entry = forms.ModelChoiceField(Entry.objects.all(), required=False)


CLOSED = Trigger(name="closed", label="Ledger closed", Config=Chosen, accepts=has_entries)
ACTIONS = (Note, Send, Choose)
