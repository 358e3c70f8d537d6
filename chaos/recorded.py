"""F20: runs that a released version recorded continue under the present one.

``python -m chaos.record VERSION`` records those of the present version, as a file in
``chaos/versions``, when it is released.
"""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.color import no_style
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import JSONField, Model

from chaos.camp import Camp, call, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.errors import IllegalChangeError
from flowcontrol_core.models import (
    Flow,
    FlowRun,
    FlowTrigger,
    FlowVersion,
    Message,
    RunEvent,
    Status,
    TriggerEvent,
)
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests import operate
from tests.effects.actions import TOLD
from tests.effects.models import Effect
from tests.shop.models import Customer

FOLDER = Path(__file__).parent / "versions"
MODELS: tuple[type[Model], ...] = (
    *(Customer, Flow, FlowVersion, FlowTrigger, FlowRun),
    *(RunEvent, Message, TriggerEvent, Effect),
)
#: How far each recorded run has come, by the name of its customer.
SITUATIONS = ("new", "waits for a trigger", "paused", "waits for a time", "waits for a child")
LABELS = "abcd"


def record(camp: Camp) -> str:
    """Return the rows of runs in all kinds of situations, as JSON."""
    publish_flow(flow(step("effects.hold"), write("child")), key="child")
    steps = (
        write("a"),
        step("effects.listen"),
        write("b"),
        step("effects.hold"),
        call("c"),
        step("builtin.start_flow", flow="child", wait=True),
        write("d"),
    )
    publish_flow(flow(*steps, object="shop.customer"))
    publish_flow(flow(call("c", fault="die_after_call"), write("d")), key="killed")
    runs = {name: create_flowrun("flow", Customer.objects.create(name=name)) for name in SITUATIONS}
    create_flowrun("killed")
    new = runs.pop("new")
    operate.pause(new)
    (worker,) = camp.fork_workers(1)
    assert worker.exit_status() == -signal.SIGKILL, worker.output
    # From now on no worker is to make the killed call again.
    FlowRun.objects.filter(flow__key="killed").update(due_at=None)
    (worker,) = camp.fork_workers(1, LEASE=60)
    camp.wait_for_status(Status.WAITING, len(runs), worker)
    operate.pause(runs["paused"])
    for name in ("waits for a time", "waits for a child"):
        TOLD.fire(Customer.objects.get(name=name))
    delayed = FlowRun.objects.filter(wait_until__isnull=False)
    camp.wait_for(lambda: delayed.count() == 2, worker)
    operate.run_now(runs["waits for a child"])
    camp.wait_for(FlowRun.objects.filter(wait_child__isnull=False).exists, worker)
    camp.stop(worker)
    operate.resume(new)
    killed = FlowRun.objects.filter(flow__key="killed", status=Status.RUNNING)
    killed.update(due_at=new.created_at)
    return rows()


def rows() -> str:
    """Return all rows as JSON."""
    tables = {model._meta.label: list(model._base_manager.values()) for model in MODELS}
    return json.dumps({"tables": tables}, cls=DjangoJSONEncoder, indent=1, sort_keys=True)


@fault("F20", "runs of each released version continue")
def resume(camp: Camp, figures: Figures) -> None:
    versions = sorted(FOLDER.glob("*.json"))
    for path in versions:
        camp.clear()
        load(path)
        complete(camp, figures)
    figures.promise(versions, "no version was recorded")
    figures.note += ", ".join(path.stem for path in versions)


def load(path: Path) -> None:
    """Write recorded rows as they are; columns that are new since have their defaults."""
    content = json.loads(path.read_text(encoding="utf-8"))
    with transaction.atomic():
        published = {}
        for model in MODELS:
            for row in content["tables"].get(model._meta.label, []):
                if model is Flow:
                    # It refers to a version, which refers to it.
                    published[row["id"]] = row.pop("published_id")
                create(model, row)
        for flow_id, version in published.items():
            Flow.objects.filter(pk=flow_id).update(published=version)
    reset_sequences()


def create(model: type[Model], row: dict[str, Any]) -> None:
    """Write one row; a column that there is no more is left out."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    values = {
        name: value if isinstance(fields[name], JSONField) else fields[name].to_python(value)
        for name, value in row.items()
        if name in fields
    }
    model._base_manager.bulk_create([model(**values)])


def reset_sequences() -> None:
    """Have the database number new rows after those that were written with their numbers."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), MODELS):
            cursor.execute(statement)


def complete(camp: Camp, figures: Figures) -> None:
    """Let everything come that the recorded runs wait for; all of them have to end well."""
    workers = camp.fork_workers(2)
    for run in FlowRun.objects.filter(status=Status.PAUSED):
        operate.resume(run)
    helped: set[tuple[int, int]] = set()

    def help_on() -> bool:
        for run in FlowRun.objects.filter(status=Status.WAITING, wait_child=None):
            if (run.pk, run.sequence) in helped:
                continue
            helped.add((run.pk, run.sequence))
            if run.wait_trigger:
                TOLD.fire(Customer.objects.get(pk=run.object_key))
            elif run.wait_until:
                with suppress(IllegalChangeError):
                    operate.run_now(run)
        return camp.is_done()

    camp.wait_for(help_on, *workers)
    camp.check_complete(figures)
    runs = FlowRun.objects.all()
    figures.runs += runs.count()
    camp.check_once(figures, runs.filter(flow__key="flow"), "a", "b", "d")
    camp.check_once(figures, runs.filter(flow__key="child"), "child")
    camp.check_once(figures, runs.filter(flow__key="killed"), "d")
    figures.keys += camp.changed_keys()
    repeated = Effect.objects.filter(
        label="c", run__in=runs.filter(flow__key="killed").values("uuid")
    )
    figures.promise(repeated.count() == 2, "the call that was cut short was not made again")
    camp.end_processes()
