"""How many files and functions of the project one call passes through, counted while it runs.

``python -m tests.tooling.journeys`` prints the counts; with ``-v`` it names them too. Each journey
is counted when it is made for the second time in a process, so that caches are filled.
Comprehensions do not count: only Python 3.11 calls them as functions.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

import django
from django.apps import apps

if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import setup_test_environment
from django.urls import reverse

from flowcontrol import flows
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.registry import register_trigger
from flowcontrol.testing import flow, publish_flow, step, temporary_registry
from flowcontrol_core.models import FlowRun
from tests.databases import ROOT
from tests.shop.models import Customer

#: The folders of the sources whose functions count.
SOURCES = tuple(f"{path}{os.sep}" for path in sorted(ROOT.glob("flowcontrol_*/src")))


@dataclass(slots=True)
class Journey:
    """The functions that were entered, by file and name, and how often."""

    name: str
    functions: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def files(self) -> list[str]:
        return sorted({path for path, _ in self.functions})

    def calls(self, *names: str) -> int:
        """Return how often functions of these names were called."""
        return sum(count for (_, name), count in self.functions.items() if name in names)

    def enter(self, code: CodeType) -> None:
        """Note that a function was entered, if it is one of the project's."""
        if code.co_filename.startswith(SOURCES) and not code.co_name.endswith("comp>"):
            path = Path(code.co_filename).relative_to(ROOT).as_posix()
            self.functions[path, code.co_qualname] += 1


@contextmanager
def followed(name: str) -> Iterator[Journey]:
    """Follow what this thread does."""
    journey = Journey(name)

    def profile(frame: Any, event: str, _: object) -> None:
        if event == "call":
            journey.enter(frame.f_code)

    sys.setprofile(profile)
    try:
        yield journey
    finally:
        sys.setprofile(None)


def sweep() -> Journey:
    """A sweep executes a due run, whose one step changes the state."""
    publish_flow(flow(step("builtin.update_state", state={"n": 1})), key="sweep")

    def journey() -> Journey:
        run = create_flowrun("sweep")
        with followed("sweep -> one state step -> done") as followed_sweep:
            continue_flowruns()
        run.refresh_from_db()
        assert run.outcome == "complete", run.reason
        return followed_sweep

    return _second(journey)


def fire() -> Journey:
    """A trigger fires, and the flow that listens to it gets a run."""
    customer = Customer.objects.create(name="Ada")
    with temporary_registry():
        trigger = register_trigger("shop.journey", label="Journey", model="shop.customer")
        target = publish_flow(flow(step("builtin.update_state", state={"n": 1})), key="fire")
        flows.associate_trigger(target, trigger.key)

        def journey() -> Journey:
            with followed("trigger -> run row") as followed_trigger:
                trigger.fire(customer, {"n": 1})
            return followed_trigger

        found = _second(journey)
    assert FlowRun.objects.filter(flow=target).count() == 2
    return found


def post() -> Journey:
    """The form of a step with an expression is posted in the editor."""
    target = publish_flow(flow(step("builtin.if", id="step", condition="state.n > 1")), key="post")
    User.objects.create_superuser("root", password="root")
    client = Client()
    client.login(username="root", password="root")
    address = reverse("admin:flowcontrol_core_flow_step_configure", args=[target.pk, "step"])

    def journey() -> Journey:
        revision = flows.present_revision(target)
        condition = f"state.n > {revision + 1} and object"
        data = {"revision": revision, "step-step-condition": condition}
        with followed("form POST of a step") as followed_post:
            answer = client.post(address, data)
        assert answer.status_code == 302, answer.content
        return followed_post

    return _second(journey)


def _second(journey: Callable[[], Journey]) -> Journey:
    journey()
    return journey()


def main() -> None:
    setup_test_environment()
    connection.creation.create_test_db(verbosity=0)
    for journey in (sweep(), fire(), post()):
        print(f"{journey.name}: {len(journey.files)} files, {len(journey.functions)} functions")
        for path in journey.files if "-v" in sys.argv else ():
            names = sorted(name for place, name in journey.functions if place == path)
            print(f"    {path.split('/src/')[1]}: {', '.join(names)}")


if __name__ == "__main__":
    main()
