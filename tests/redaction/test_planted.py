"""A secret that is planted goes through a site, and is found nowhere afterwards.

The watch of ``tests.planted`` reads in every test; here is the one that gives it much to read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django import forms
from django.apps import apps
from django.contrib.auth.models import User
from django.core import mail, serializers
from django.test import Client
from django.urls import reverse

from flowcontrol import flows
from flowcontrol.base import BaseAction, Effects
from flowcontrol.engine import create_flowrun, trigger_flows
from flowcontrol.forms import SecretField
from flowcontrol.models import Flow, FlowRun, Outcome
from flowcontrol.registry import Trigger
from flowcontrol.testing import flow, manual_clock, publish_flow, run_due, step, temporary_registry
from flowcontrol_core.redaction import spellings
from tests import planted

pytestmark = pytest.mark.django_db


class Spread(BaseAction):
    """Does what actions must not, and what libraries do for them, with a secret."""

    name = "spread"
    effects = Effects.NONE

    class Config(forms.Form):
        token = SecretField()
        how = forms.CharField()

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        forms_of_it = spellings(config.token)
        for form in forms_of_it:
            run.log(f"log: {form}")
        return HOW[config.how](run, " ".join(forms_of_it))


def fail(run: Any, texts: str) -> None:
    raise RuntimeError(texts)


def fail_in_turn(run: Any, texts: str) -> None:
    try:
        fail(run, texts)
    except RuntimeError as error:
        raise ValueError(f"for {run.state['password']}") from error


HOW: dict[str, Callable[[Any, str], Any]] = {
    "fail": fail,
    "fail-in-turn": fail_in_turn,
    "state": lambda run, texts: run.state.update(text=texts),
    "memo": lambda run, texts: run.memo.update(text=[texts]),
    "abort": lambda run, texts: Spread.abort(texts),
    "child": lambda run, texts: [create_flowrun("quiet", state={"n": texts})].clear(),
    "fire": lambda run, texts: [trigger_flows("test.heard", None, {"n": texts})].clear(),
    "log": lambda run, texts: None,
}


class Write(Spread):
    name = "write"
    effects = Effects.DATABASE


class Send(Spread):
    name = "send"
    effects = Effects.EXTERNAL


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    heard = Trigger(name="heard", label="Heard")
    with manual_clock(), temporary_registry(Spread, Write, Send, triggers=[heard]):
        yield


def run_them_all() -> list[FlowRun]:
    quiet = publish_flow(flow(step("builtin.set_state", state={"done": True})), key="quiet")
    flows.associate_trigger(quiet, "test.heard")
    runs = []
    for action in ("test.spread", "test.write", "test.send"):
        for how in HOW:
            steps = step(action, token=planted.NAME, how=how)
            key = f"{action}-{how}".replace(".", "-")
            state = {"password": planted.IN_STATE, "shown": 1}
            payload = {"api_key": planted.IN_PAYLOAD}
            target = publish_flow(flow(steps), key=key)
            runs.append(create_flowrun(target, state=state, payload=payload))
    run_due()
    return [FlowRun.objects.get(pk=run.pk) for run in runs]


def test_a_secret_goes_through_a_site_and_stays_nowhere(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    before = dict(planted.watch.read)
    runs = run_them_all()
    errored = [run for run in runs if run.outcome == Outcome.ERRORED]
    assert len(errored) >= len(HOW)
    tables: list[Any] = [*apps.get_app_config("flowcontrol_core").get_models(), User]
    for table in tables:
        planted.assert_absent(serializers.serialize("json", table._base_manager.all()))
        for row in table._base_manager.all():
            planted.assert_absent(repr(vars(row)))
    planted.assert_absent(caplog.text)
    planted.assert_absent(flows.export_flows(Flow.objects.all(), drafts=True))
    planted.assert_absent(repr(settings.FLOWCONTROL))
    mail.send_mail("Runs", "\n".join(run.reason for run in runs), None, ["ops@example.org"])
    assert see_every_page(runs) > len(runs)
    for kind in ("responses", "mails", "exports"):
        assert planted.watch.read[kind] > before.get(kind, 0), kind
    assert planted.watch.leaks == []


def see_every_page(runs: list[FlowRun]) -> int:
    """Open the pages of all runs and flows; return their number."""
    User.objects.create_superuser("root", password="root")
    client = Client()
    client.login(username="root", password="root")
    pages: list[tuple[str, int | None]] = [("flowrun_change", run.pk) for run in runs]
    pages += [
        (f"flow_{name}", runs[0].flow_id)
        for name in ("editor", "change", "publish", "versions", "history", "export", "start")
    ]
    pages += [("flow_health", None), ("flow_health_json", None), ("flow_plugins", None)]
    pages += [("flow_changelist", None), ("flowrun_changelist", None), ("flow_export_all", None)]
    for name, pk in pages:
        address = reverse(f"admin:flowcontrol_core_{name}", args=[] if pk is None else [pk])
        assert client.get(address).status_code == 200, address
    for run in runs:
        found = flows.present_document(run.flow).steps[0].id
        address = reverse("admin:flowcontrol_core_flow_step_configure", args=[run.flow_id, found])
        assert client.get(address).status_code == 200
        edit = reverse("admin:flowcontrol_core_flowrun_operate", args=[run.pk, "edit-state"])
        assert client.get(edit).status_code == 200
    return len(pages)


def test_the_watch_finds_what_it_watches_for() -> None:
    watch = planted.Watch()
    for value in (planted.RESOLVED, planted.IN_STATE, planted.IN_PAYLOAD):
        forms_of_it = spellings(value)
        for form in forms_of_it:
            watch.look_for(f"a {form} b", form, "test")
        assert len(forms_of_it) >= 5
    assert len(spellings(planted.RESOLVED)) >= 10
    assert len(watch.leaks) == watch.read["test"]


def test_the_watch_reads_logs_and_their_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    try:
        fail(None, planted.RESOLVED)
    except RuntimeError:
        logging.getLogger("test.planted").exception("It failed.")
    assert planted.watch.leaks.pop() == "test.planted"
