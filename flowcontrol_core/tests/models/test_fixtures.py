"""Fixtures with natural keys: flows, versions, flow triggers and runs go there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.models import Model

from flowcontrol import flows
from flowcontrol.testing import flow, publish_flow, step
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import NotStartedError
from flowcontrol_core.models import (
    ConsumedSlot,
    Flow,
    FlowRun,
    FlowTrigger,
    FlowVersion,
    RunEvent,
    Status,
)
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from tests.shop.models import Customer

pytestmark = pytest.mark.django_db
MODELS = list(apps.get_app_config("flowcontrol_core").get_models())


def dump(path: Path, *options: str) -> None:
    call_command(
        "dumpdata",
        "flowcontrol_core",
        "--natural-primary",
        "--natural-foreign",
        *options,
        output=str(path),
        verbosity=0,
    )


def empty() -> None:
    """Delete all rows, and let the keys of new ones begin elsewhere."""
    Flow.objects.update(published=None)
    for model in reversed(MODELS):
        model._base_manager.all()._raw_delete("default")
    first = Flow.objects.create(key="first", name="First")
    FlowVersion.objects.create(flow=first, number=1)


def described(run: FlowRun) -> Any:
    """Return what stays the same of a run, whatever the primary keys are."""
    related = (run.parent, run.origin)
    return (
        run.flow.key, run.version.number, run.status, run.outcome, run.state, run.cursor, run.about,
        run.slot, run.slot_object, run.slot_ever, [str(other and other.uuid) for other in related],
        [(event.kind, event.code, event.steps) for event in run.events.order_by("pk")],
    )  # fmt: skip


def guarded(document: Document) -> Document:
    return replace(document, guard="state")


@pytest.fixture
def site() -> Customer:
    """A flow with two versions and a trigger, one with a draft, runs of all kinds."""
    ada = Customer.objects.create(name="Ada")
    document = flow(
        step("builtin.delay", mode="for", amount="1", id="a"),
        step("builtin.update_state", state={"n": "1"}, id="b"),
        object="shop.customer",
    )
    main = publish_flow(document, key="main", max_per_object=1, max_concurrent=3)
    main.flow_triggers.create(trigger="signals.shop.customer.created", condition="object")
    create_flowrun(main, ada)
    continue_flowruns()
    flows.edit_draft(main, guarded, revision=None, author=None)
    flows.publish(main)
    publish_flow(flow(step("builtin.update_state", state={"n": 2})), key="child")
    parent = publish_flow(flow(step("builtin.start_flow", flow="child")), key="parent")
    flows.edit_draft(parent, guarded, revision=None, author=None)
    create_flowrun(parent)
    continue_flowruns()
    continue_flowruns()
    return ada


@pytest.mark.parametrize("indent", ["--format=json", "--format=jsonl"])
def test_all_of_it_goes_there_and_back(site: Customer, tmp_path: Path, indent: str) -> None:
    path = tmp_path / f"flows.{indent.rpartition('=')[2]}"
    before = {str(run.uuid): described(run) for run in FlowRun.objects.all()}
    assert len(before) == 3
    assert any(parent != "None" for *_, (parent, _origin), _events in before.values())
    versions = set(FlowVersion.objects.values_list("flow__key", "number", "digest"))
    published = dict(Flow.objects.values_list("key", "published__number"))
    drafts = set(FlowVersion.objects.values_list("draft_of__key", "number"))
    triggers = list(FlowTrigger.objects.values_list("flow__key", "trigger", "condition"))
    dump(path, indent)
    empty()
    call_command("loaddata", str(path), verbosity=0)
    Flow.objects.get(key="first").delete()
    assert {str(run.uuid): described(run) for run in FlowRun.objects.all()} == before
    assert set(FlowVersion.objects.values_list("flow__key", "number", "digest")) == versions
    assert dict(Flow.objects.values_list("key", "published__number")) == published
    assert set(FlowVersion.objects.values_list("draft_of__key", "number")) == drafts
    assert list(FlowTrigger.objects.values_list("flow__key", "trigger", "condition")) == triggers


def test_runs_go_on_after_it_and_limits_hold(site: Customer, tmp_path: Path) -> None:
    dump(tmp_path / "flows.json")
    empty()
    call_command("loaddata", str(tmp_path / "flows.json"), verbosity=0)
    with pytest.raises(NotStartedError, match="max_per_object"):
        create_flowrun("main", site)
    FlowRun.objects.filter(status=Status.WAITING).update(due_at="2020-01-01T00:00:00Z")
    FlowRun.objects.filter(status=Status.WAITING).update(wait_until="2020-01-01T00:00:00Z")
    continue_flowruns()
    run = FlowRun.objects.get(flow__key="main")
    assert (run.outcome, run.state) == ("complete", {"n": "1"})
    assert RunEvent.objects.filter(run=run).count() > 1


def test_loading_twice_makes_no_second_row(site: Customer, tmp_path: Path) -> None:
    dump(tmp_path / "flows.json")
    counts = {model: count(model) for model in MODELS}
    call_command("loaddata", str(tmp_path / "flows.json"), verbosity=0)
    assert {model: count(model) for model in MODELS} == counts


def count(model: type[Model]) -> int:
    return model._base_manager.count()


def test_no_primary_key_of_a_flow_a_version_or_a_run_is_dumped(
    site: Customer, tmp_path: Path
) -> None:
    ConsumedSlot.objects.create(digest="d" * 64)
    dump(tmp_path / "flows.json")
    rows = json.loads((tmp_path / "flows.json").read_text())
    named = {row["model"].rpartition(".")[2] for row in rows if "pk" not in row}
    assert named == {"flow", "flowversion", "flowrun"}
    runs = [row["fields"] for row in rows if row["model"].endswith(".flowrun")]
    assert {tuple(fields["version"]) for fields in runs} == {
        ("main", 1),
        ("child", 1),
        ("parent", 1),
    }
