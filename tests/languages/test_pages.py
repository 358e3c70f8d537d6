"""The pages of the admin in German show no English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import translation

from flowcontrol.engine import create_flowrun
from flowcontrol.flows import associate_trigger, create_flow
from flowcontrol.models import Flow, FlowRun
from flowcontrol.registry import registry
from flowcontrol.runs import OPERATOR_ACTIONS
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from flowcontrol_admin.pages import Route
from flowcontrol_admin.routes import FLOW_ROUTES, RUN_ROUTES
from tests.languages.visible import Language, Visible

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def german(settings: Any) -> Iterator[None]:
    """The site is German; so are its workers."""
    settings.LANGUAGE_CODE = "de"
    with translation.override("de"):
        yield


@pytest.fixture(scope="module")
def language() -> Language:
    return Language("de")


@pytest.fixture
def client() -> Client:
    client = Client(headers={"Accept-Language": "de"})
    client.force_login(User.objects.create_superuser("anna", password="secret"))
    return client


def steps() -> Any:
    return build(
        step("builtin.update_state", id="setzen", state={"n": 1}),
        step(
            "builtin.for",
            id="zaehlen",
            end="3",
            body=[step("builtin.update_state", id="plus", state={"n": "n|add:1"}, evaluate=True)],
        ),
        step("builtin.start_flow", id="anderer", flow="anderer"),
        step(
            "builtin.if",
            id="wenn",
            condition="state.n == 4",
            then=[step("builtin.delay", id="pause", amount="2", unit="hours")],
            **{"else": [step("builtin.stop_flow", id="halt", reason="genug")]},
        ),
        step("builtin.send_email", id="mail", to="a@example.com", subject="Hallo", text="Servus"),
        step("builtin.wait_for_trigger", id="warten", trigger="signals.auth.logged_in"),
    )


@pytest.fixture
def live() -> Flow:
    publish_flow(build(step("builtin.delay", id="d", amount="1")), key="anderer", name="Anderer")
    flow = publish_flow(steps(), key="rechnung", name="Rechnung")
    associate_trigger(flow, "signals.auth.logged_in", condition="object.is_active")
    return flow


@pytest.fixture
def draft() -> Flow:
    return create_flow(key="entwurf", name="Entwurf eins", document=steps())


@pytest.fixture
def waiting(live: Flow) -> FlowRun:
    run = create_flowrun(live, obj=User.objects.create(username="bert"))
    run_due()
    run.refresh_from_db()
    assert run.status == "waiting", run.reason
    return run


@pytest.fixture
def failed() -> FlowRun:
    loop = step("builtin.for", id="endlos", end="3", step="n", body=[step("builtin.leave_branch")])
    run = create_flowrun(publish_flow(build(loop), key="endlos", name="Endlos"), state={"n": 0})
    run_due()
    run.refresh_from_db()
    assert run.outcome == "errored", run.reason
    return run


def url(name: str, *args: object) -> str:
    return reverse(f"admin:flowcontrol_core_{name}", args=args)


def names() -> set[str]:
    """Return what pages show as it is, in any language."""
    actions = [registered.action for registered in registry.actions.values()]
    sms = registry.get_action("sms.send").action
    return {
        *(branch for action in actions for branch in action.branches),
        *(entry.name for entry in entry_points(group="flowcontrol.plugins")),
        # The models of the tests have no catalogue.
        *(
            str(model._meta.verbose_name)
            for model in apps.get_models()
            if model.__module__[:6] == "tests."
        ),
        # The first action of the README has fifteen lines, in plain English.
        *(str(sms.verbose_name), str(sms.group)),
        # Django's own box for searching has an icon that is called so.
        "Search",
    }


def english_texts(language: Language, response: Any) -> list[str]:
    """Return what is English on a page."""
    known = re.compile(rf"\b(?:{'|'.join(map(re.escape, names()))}|flowcontrol(-\w+)+)\b")
    texts = {known.sub("", text) for text in Visible(response.content.decode()).texts}
    return sorted(text for text in texts if language.foreign(text))


def english(client: Client, language: Language, *addresses: str) -> str:
    """Return what is English on some pages, a line each, with its address."""
    found = []
    for address in addresses:
        response = client.get(address, follow=True)
        assert response.status_code in {200, 400, 409}, address
        if response["Content-Type"].startswith("text/html"):
            found += [f"{address}: {text}" for text in english_texts(language, response)]
    return "\n".join(found)


def pages_of(routes: list[Route], path: str) -> list[str]:
    """Return the names of all pages that can be opened, and whose address is like this."""
    return [
        route.name for route in routes if "GET" in route.methods and re.fullmatch(path, route.path)
    ]


def test_pages_of_all_flows(client: Client, language: Language, live: Flow, draft: Flow) -> None:
    names = pages_of(FLOW_ROUTES, r"[^<]*")
    assert {"flow_changelist", "flow_add", "flow_health", "flow_plugins"} <= set(names)
    assert not english(client, language, *map(url, names))


def test_pages_of_a_flow(client: Client, language: Language, waiting: FlowRun, draft: Flow) -> None:
    names = pages_of(FLOW_ROUTES, r"<int:pk>/([^<]*)")
    assert {"flow_editor", "flow_publish", "flow_start", "flow_history"} <= set(names)
    addresses = [url(name, flow.pk) for flow in (waiting.flow, draft) for name in names]
    versions = [
        url(name, draft.pk, 1) for name in pages_of(FLOW_ROUTES, r"<int:pk>/versions/<int:number>/")
    ]
    assert not english(client, language, *addresses, *versions)


def test_what_is_done_to_a_flow_is_told(client: Client, language: Language, live: Flow) -> None:
    for name in ("deactivate", "activate", "pause", "resume"):
        response = client.post(url(f"flow_{name}", live.pk), follow=True)
        assert not english_texts(language, response)
    assert not english(client, language, url("flow_history", live.pk))


def test_the_picker_and_the_forms_of_the_steps(
    client: Client, language: Language, draft: Flow
) -> None:
    ids = ("setzen", "zaehlen", "anderer", "wenn", "pause", "halt", "mail", "warten")
    edits = ("configure", "move", "note", "policy", "delete")
    addresses = [f"{url('flow_step_add', draft.pk)}?place=//0"]
    addresses += [url(f"flow_step_{edit}", draft.pk, one) for one in ids for edit in edits]
    assert not english(client, language, *addresses)


def test_the_forms_of_the_triggers(client: Client, language: Language, live: Flow) -> None:
    keys = [key for key in registry.triggers if key.startswith("signals.auth")]
    known = live.flow_triggers.get()
    addresses = [url(f"flow_{name}", live.pk, known.pk) for name in ("trigger", "trigger_delete")]
    addresses += [url("flow_trigger_add", live.pk, key) for key in keys]
    assert not english(client, language, *addresses)


def test_pages_of_runs(
    client: Client, language: Language, waiting: FlowRun, failed: FlowRun
) -> None:
    runs = (waiting, failed)
    names = pages_of(RUN_ROUTES, r"<int:pk>/[^<]*")
    addresses = [url("flowrun_changelist"), *(url(name, run.pk) for run in runs for name in names)]
    addresses += [
        url("flowrun_operate", run.pk, action.slug)
        for run in runs
        for action in OPERATOR_ACTIONS.values()
    ]
    assert not english(client, language, *addresses)


def test_reasons_and_the_history_of_a_run(failed: FlowRun, language: Language) -> None:
    assert failed.reason.startswith("Schritt endlos (builtin.for) ist fehlgeschlagen: Die Schritt")
    assert not [event.message for event in failed.events.all() if language.foreign(event.message)]


def test_english_is_found(client: Client, language: Language, live: Flow) -> None:
    with translation.override("en"):
        page = client.get(url("flow_editor", live.pk), headers={"Accept-Language": "en"})
    assert {"Add step", "Pause", "Export"} <= set(english_texts(language, page))
