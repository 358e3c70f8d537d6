"""Actions that leave a row in a second database, and then one in that of the runs."""

from __future__ import annotations

from typing import Any, ClassVar

from flowcontrol.base import BaseAction, Effects, RunContext
from tests.effects.actions import LabelForm, linger, record

#: The alias of the second database.
ARCHIVE = "archive"


class Ask(BaseAction):
    """Calls the other database as it would a service outside."""

    name: ClassVar[str] = "ask"
    effects: ClassVar[Effects] = Effects.EXTERNAL
    Config = LabelForm

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        record(run, obj, config.label, using=ARCHIVE)
        linger(config)
        record(run, obj, config.label)


class Copy(Ask):
    """Copies to the other database what it writes in the transaction of the checkpoint."""

    name = "copy"
    effects = Effects.DATABASE


ELSEWHERE = (Ask, Copy)
