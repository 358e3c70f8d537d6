"""Input made at random: files, forms, addresses, command lines, and rows that were damaged.

Whatever comes in, the answer is a result or a clear error: never a 500, never a traceback for the
user, and nothing half written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import models, transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowcontrol.engine import create_flowrun
from flowcontrol.errors import FlowcontrolError
from flowcontrol.flows import annotate_step, associate_trigger, export_flows, import_flows
from flowcontrol.models import BulkOperation, Flow, FlowRun, FlowTrigger, FlowVersion
from flowcontrol.runs import OPERATOR_ACTIONS, start_bulk_operation
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from flowcontrol_core.flows import yaml_text
from flowcontrol_core.models import FlowEdit

pytestmark = [pytest.mark.django_db, pytest.mark.once]

#: All examples of a test share its rows; what one writes is undone.
#: A failing example is not made smaller: that would take minutes.
FEW = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    # Pages take their time on a busy machine.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MORE = settings(FEW, max_examples=40)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["\x00", "a\x00b", "9" * 60, "9" * 5_000, "-1", "1e999", "NaN", "null", "{", "[]", '"', "'",
     "\u202e", "\ufeff", "../../etc/passwd", "{{ object }}", "{% if %}", "object.", "a" * 3_000,
     "k3v9", "//0", "loop/body/0", "2024-02-30", "1h", "on", "True", "0", "test.mark", "%s",
     "%(a)s"]
)  # fmt: skip
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["step", "phase", "memo", "steps", "format", "id", "action", "config",
        "error",
                         "type", "branch", "tries", "at", "seconds", "changes", "$decimal", "a",
                         "pk__in", "count", "code", "values"]),
        inner, max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


@pytest.fixture
def site(db: None) -> dict[str, Any]:
    """A flow with a trigger, a draft, a waiting run, a failed one, and a bulk operation."""
    document = build(
        step("builtin.set_state", id="k3v9", state={"a": "1"}),
        step("builtin.if", id="fork", condition="state.a", then=[
            step("builtin.delay", id="wait", mode="for", amount="1", unit="days"),
        ]),
    )  # fmt: skip
    flow = publish_flow(document, key="welcome", name="Welcome")
    association = associate_trigger(flow, "signals.auth.logged_in")
    run = create_flowrun(flow, state={"n": 1})
    run_due()
    create_flowrun(flow)
    operation = start_bulk_operation("pause", {"flow__key": "welcome"})
    return {"flow": flow, "association": association, "run": run, "operation": operation}


@pytest.fixture
def client(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@contextmanager
def undone() -> Iterator[None]:
    """Undo whatever is written inside, where a sweep would refuse to be in a transaction."""
    savepoint = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(savepoint)


def assert_said(error: Exception) -> None:
    """Assert that an error is a sentence, not a traceback."""
    assert str(error).strip()
    assert "Traceback" not in str(error)


def rows() -> list[Any]:
    tables = (Flow, FlowVersion, FlowTrigger, FlowRun, BulkOperation)
    return [list(table.objects.order_by("pk").values()) for table in tables]


def url(name: str, *args: object) -> str:
    return reverse(f"admin:flowcontrol_core_{name}", args=args)


def addresses(site: dict[str, Any]) -> list[str]:
    flow, run = site["flow"].pk, site["run"].pk
    names = (
        "editor",
        "change",
        "history",
        "publish",
        "versions",
        "start",
        "delete",
        "trigger_pick",
    )
    return [
        url("flow_changelist"), url("flowrun_changelist"), url("flow_health"), url("flow_plugins"),
        url("flow_health_json"), url("flow_export_all"), url("flow_import"),
        *(url(f"flow_{name}", flow) for name in names),
        url("flow_version", flow, 1), url("flow_export", flow), url("flowrun_change", run),
        url("flow_trigger", flow, site["association"].pk), url("flow_step_configure", flow, "k3v9"),
        url("flow_step_add", flow), url("flow_step_move", flow, "k3v9"),
        url("flow_step_policy", flow, "fork"), url("flow_step_delete", flow, "fork"),
        *(url("flowrun_operate", run, action.slug) for action in OPERATOR_ACTIONS.values()),
    ]  # fmt: skip


def reading(site: dict[str, Any]) -> list[str]:
    """Return the addresses that between them read every column."""
    flow, run = site["flow"].pk, site["run"].pk
    names = ("editor", "history", "publish", "versions", "start", "change")
    return [
        url("flow_changelist"), url("flowrun_changelist"), url("flow_health"),
        *(url(f"flow_{name}", flow) for name in names),
        url("flow_version", flow, 1), url("flowrun_change", run),
        url("flow_trigger", flow, site["association"].pk), url("flow_step_configure", flow, "k3v9"),
        url("flowrun_operate", run, "edit-state"), url("flowrun_operate", run, "skip"),
    ]  # fmt: skip


# --- files ---------------------------------------------------------------------------------------


@st.composite
def damaged(draw: Callable[..., Any], text: str) -> str:
    """Return a text with some stretches replaced, doubled or removed."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 40)))
        put = draw(st.sampled_from(["", text[start:stop] * 2]) | TEXT)
        text = text[:start] + put + text[stop:]
    return text


@MORE
@given(data=st.data())
def test_a_damaged_file_is_imported_or_refused_as_a_whole(
    site: dict[str, Any], data: st.DataObject
) -> None:
    text = data.draw(damaged(export_flows([site["flow"]])))
    publish = data.draw(st.booleans())
    before = rows()
    with undone():
        try:
            import_flows(text, publish=publish)
        except FlowcontrolError as error:
            assert_said(error)
            assert rows() == before


@FEW
@given(content=JSON)
def test_a_file_of_anything_is_imported_or_refused_as_a_whole(
    site: dict[str, Any], content: Any
) -> None:
    before = rows()
    for shape in (content, {"format": 1, "flows": [content]}, {
        "format": 1, "flows": [{"key": "new", "name": "New", "document": content}],
    }):  # fmt: skip
        with undone():
            try:
                import_flows(yaml_text.dump(shape))
            except FlowcontrolError as error:
                assert_said(error)
                assert rows() == before


@FEW
@given(content=st.binary(max_size=200))
def test_bytes_are_imported_by_no_door(
    site: dict[str, Any], client: Client, content: bytes
) -> None:
    before = rows()
    file = BytesIO(content)
    file.name = "flows.yaml"
    assert client.post(url("flow_import"), {"file": file}).status_code == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", TextIOWrapper(BytesIO(content)))
        with pytest.raises(CommandError):
            call_command("flowcontrol", "import", "-", stdout=StringIO(), stderr=StringIO())
    assert rows() == before


# --- forms and addresses -------------------------------------------------------------------------


@MORE
@given(data=st.data())
def test_a_form_takes_what_fits_and_says_what_does_not(
    site: dict[str, Any], client: Client, data: st.DataObject
) -> None:
    where = data.draw(st.sampled_from(addresses(site)))
    shown = client.get(where)
    form = shown.context.get("form") if shown.context else None
    names = [form.add_prefix(name) for name in form.fields] if form is not None else []
    names += ["revision", "reason", "action", "place", "text", "mode", "active", "seen"]
    sent = data.draw(st.dictionaries(st.sampled_from(names), TEXT, max_size=6))
    revision = {"revision": "1"} if data.draw(st.booleans()) else {}
    with undone():
        assert client.post(where, {**sent, **revision}).status_code < 500


@MORE
@given(data=st.data())
def test_an_address_takes_what_fits_and_refuses_what_does_not(
    site: dict[str, Any], client: Client, data: st.DataObject
) -> None:
    where = data.draw(st.sampled_from(addresses(site)))
    names = st.sampled_from(
        ["q", "o", "p", "all", "e", "flow", "status__exact", "outcome__exact", "live", "overdue",
         "step", "object_type", "page", "draft", "place", "object", "_popup", "_to_field",
         "_facets"]
    )  # fmt: skip
    query = data.draw(st.dictionaries(names, TEXT, max_size=4))
    assert client.get(where, query).status_code < 500


@FEW
@given(data=st.data())
def test_an_address_of_anything_is_found_or_not(
    site: dict[str, Any], client: Client, data: st.DataObject
) -> None:
    part = st.text("abz019._-/ é%\x00", max_size=12) | st.sampled_from(["9" * 30, "1", "add", ".."])
    words = st.sampled_from(["flow", "flowrun", "steps", "triggers", "versions", "configure"])
    path = "/".join(data.draw(st.lists(part | words, max_size=5)))
    for method in (client.get, client.post):
        with undone():
            assert method(f"/admin/flowcontrol_core/{path}").status_code < 500


@FEW
@given(data=st.data())
def test_a_bulk_action_takes_what_fits(
    site: dict[str, Any], client: Client, data: st.DataObject
) -> None:
    names = [f"{name}_runs" for name in OPERATOR_ACTIONS]
    sent = {
        "action": data.draw(st.sampled_from(names) | TEXT),
        "_selected_action": data.draw(st.lists(TEXT | st.just(str(site["run"].pk)), max_size=3)),
        **data.draw(
            st.dictionaries(
                st.sampled_from(["confirmed", "reason", "step", "changes", "state", "index",
                                 "select_across", "current_version"]),
                TEXT, max_size=5,
            )
        ),
    }  # fmt: skip
    with undone():
        assert client.post(url("flowrun_changelist"), sent).status_code < 500


# --- the command line ----------------------------------------------------------------------------

WORDS = TEXT | st.sampled_from(
    ["1", "--reason", "--by", "--step", "--state", "--changes", "--flow", "--status", "--outcome",
     "--limit", "--batches", "--json", "--drafts", "--publish", "welcome", "waiting", "retry", "{}",
     '{"a": {"$decimal": "x"}}', '{"a": [[[1]]]}', "k3v9", "--current-version"]
)  # fmt: skip
COMMANDS = [
    "export", "import", "plugins", "doctor", "prune", "bulk", "run",
    *(action.slug for action in OPERATOR_ACTIONS.values()),
]  # fmt: skip


@MORE
@given(command=st.sampled_from(COMMANDS) | TEXT, words=st.lists(WORDS, max_size=5))
def test_a_command_line_is_done_or_refused_with_a_sentence(
    site: dict[str, Any], command: str, words: list[str]
) -> None:
    before = rows()
    with undone(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"")))
        out = StringIO()
        try:
            call_command("flowcontrol", command, *words, stdout=out, stderr=StringIO())
        except CommandError as error:
            assert_said(error)
            if command not in ("run", "doctor", "plugins"):
                assert rows() == before
        except SystemExit:
            # What argparse does for --help.
            assert any(word.startswith(("-h", "--h")) for word in words)


# --- damaged rows --------------------------------------------------------------------------------


def columns() -> list[tuple[type[models.Model], str]]:
    """Return every JSON column of the core, from its models."""
    return [
        (model, field.name)
        for model in apps.get_app_config("flowcontrol_core").get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, models.JSONField)
    ]


def test_the_columns_come_from_the_models() -> None:
    assert len(columns()) >= 16


@pytest.mark.parametrize(("model", "column"), columns(), ids=str)
def test_a_row_that_was_damaged_stops_no_page_no_command_and_no_sweep(
    site: dict[str, Any], client: Client, model: type[models.Model], column: str
) -> None:
    if not model._default_manager.exists():
        _insert(model, site)
    pages = reading(site)

    @settings(FEW, max_examples=2)
    @given(
        value=JSON.filter(lambda value: value is not None),
        shown=st.lists(st.sampled_from(pages), min_size=4, max_size=4, unique=True),
    )
    def damage(value: Any, shown: list[str]) -> None:
        with undone():
            model._default_manager.update(**{column: value})
            for where in shown:
                assert client.get(where).status_code < 500, (where, value)
            for command in ("doctor", "export"):
                try:
                    call_command("flowcontrol", command, stdout=StringIO())
                except CommandError as error:
                    assert_said(error)
            run_due()

    damage()


def _insert(model: type[models.Model], site: dict[str, Any]) -> None:
    """Write a row of a model that the site has none of."""
    if model is FlowEdit:
        annotate_step(site["flow"], "k3v9", "who greets", revision=None)
        return
    run, at = site["run"], site["run"].created_at
    given_fields: dict[str, dict[str, Any]] = {
        "TriggerEvent": {"key": "signals.auth.logged_in", "created_at": at},
        "Message": {"run": run, "kind": "pause", "created_at": at},
        "Worker": {"name": "w", "host": "h", "pid": 1, "started_at": at, "last_sweep_at": at},
    }
    model._default_manager.create(**given_fields[model.__name__])
