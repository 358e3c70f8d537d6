"""Flows of the smallest actions, and a way to call the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.testing.helpers import temporary_registry

Call = Callable[..., str]


class Mark(BaseAction):
    """Counts up in the state."""

    name = "mark"
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["marks"] = run.state.get("marks", 0) + 1


class Fail(BaseAction):
    name = "fail"
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        if not run.state.get("sound"):
            raise ValueError("not sound")


@pytest.fixture(autouse=True)
def actions() -> Iterator[Registry]:
    with temporary_registry(Mark, Fail) as registry:
        yield registry


@pytest.fixture
def call() -> Call:
    """Call ``manage.py flowcontrol`` and give what it writes."""

    def call(*arguments: str, **options: Any) -> str:
        out = StringIO()
        call_command("flowcontrol", *arguments, stdout=out, **options)
        return out.getvalue()

    return call
