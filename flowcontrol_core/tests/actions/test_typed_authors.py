"""What an author writes is checked by ``mypy --strict``, importing only ``flowcontrol``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import ROOT

pytestmark = pytest.mark.slow

ACTION = """
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from django import forms

from flowcontrol import hookimpl
from flowcontrol.base import BaseAction, BoundConfig, Effects, FlowDirective, RunContext
from flowcontrol.errors import Retry
from flowcontrol.forms import TemplateField
from flowcontrol.registry import Trigger, register_action, register_trigger


class SmsConfig(BoundConfig):
    text: str
    priority: int


class SendSms(BaseAction[SmsConfig]):
    name = "send"
    effects = Effects.EXTERNAL

    class Config(forms.Form):
        text = TemplateField()
        priority = forms.IntegerField()

    def run(self, *, run: RunContext, obj: Any, config: SmsConfig) -> None:
        run.state["length"] = len(config.text) + config.priority  # typed
        run.log(run.idempotency_key)
        if config.priority > 3:
            raise Retry(after=60)

    def summary(self, config: SmsConfig) -> str:
        return f"Send {config.source('text')}"

    def check(self, config: SmsConfig) -> Iterable[str]:
        return [] if config.priority else ["Choose a priority."]


class HasText(Protocol):
    text: str


@register_action
class Shout(BaseAction[HasText]):
    name = "shout"
    effects = Effects.NONE
    loudness = 3

    def run(self, *, run: RunContext, obj: Any, config: HasText) -> FlowDirective:
        run.memo["text"] = config.text.upper()
        return run.suspend(until=run.now, child=run.uuid)


loudness: int = Shout.loudness  # the decorator keeps the class's type


class Plain(BaseAction):
    name = "plain"
    effects = Effects.NONE

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective | None:
        return FlowDirective.CONTINUE if config.text else None


paid = register_trigger("shop.paid", label="Paid", model="shop.order", payload={"total": "A sum"})


def pay() -> None:
    paid(None, {"total": 3}, unique_key="7")


@hookimpl
def flowcontrol_actions() -> Iterable[type[BaseAction]]:
    return [SendSms, Plain]


@hookimpl
def flowcontrol_triggers() -> Iterable[Trigger]:
    return [paid]
"""

SCRIPT = """
from __future__ import annotations

from flowcontrol.engine import continue_flowruns, start_flowrun
from flowcontrol.testing import flow, run_flow, step


def main(name: str) -> int:
    memory = run_flow(flow(step("sms.send", text=name)), state={"tries": 1})
    run = start_flowrun("welcome", state={"name": memory.state["name"]})
    return continue_flowruns().executed + len(memory.steps) + len(run.reason)
"""

MISTAKES = """
from __future__ import annotations

from typing import Any

from flowcontrol.base import BaseAction, BoundConfig, RunContext
from flowcontrol.registry import register_trigger


class Config(BoundConfig):
    text: str


class Wrong(BaseAction[Config]):
    def run(self, *, run: RunContext, obj: Any, config: Config) -> None:
        config.txet
        config.text + 1
        run.sate


class Other(BaseAction[Config]):
    def run(self, *, run: RunContext, obj: Any, config: int) -> None: ...


register_trigger("shop.paid", lable="Paid")
register_trigger("shop.paid", payload=["total"])
"""


def check(folder: Path, **modules: str) -> list[str]:
    """Return what mypy reports of modules, each as ``line: error: message``."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    cache = ROOT / ".mypy_cache" / "authors"
    # A configuration of its own: not that of this repository, which knows where the source is.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    command += [f"{name}.py" for name in modules]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return re.findall(r"\.py:(\d+: error: .*)", done.stdout)


def test_typed_actions_triggers_and_a_script_of_a_project_pass(tmp_path: Path) -> None:
    assert check(tmp_path, action=ACTION, script=SCRIPT) == []


def test_mistakes_of_an_author_are_found(tmp_path: Path) -> None:
    found = check(tmp_path, mistakes=MISTAKES)
    lines = MISTAKES.splitlines()
    assert [lines[int(error.partition(":")[0]) - 1].strip() for error in found] == [
        "config.txet",
        "config.text + 1",
        "run.sate",
        "def run(self, *, run: RunContext, obj: Any, config: int) -> None: ...",
        'register_trigger("shop.paid", lable="Paid")',
        'register_trigger("shop.paid", payload=["total"])',
    ]
