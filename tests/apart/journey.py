"""What a site does with its flows, from publishing to retention: ``python -m tests.apart.journey``.

Each function is one part, in this order; the first that fails ends the process.
"""

from __future__ import annotations

import io
import json
import tempfile
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.apps import apps  # noqa: E402
from django.contrib.admin.models import LogEntry  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core import checks  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402

from flowcontrol import flows, runs  # noqa: E402
from flowcontrol.base import BaseAction, Effects  # noqa: E402
from flowcontrol.engine import continue_flowruns  # noqa: E402
from flowcontrol.health import check_health  # noqa: E402
from flowcontrol.models import Flow, FlowRun, RunEvent  # noqa: E402
from flowcontrol.testing import (  # noqa: E402
    flow,
    manual_clock,
    publish_flow,
    step,
    temporary_registry,
)
from flowcontrol_core.models import BulkOperation, SkippedFiring  # noqa: E402
from flowcontrol_core.runs.operations.bulk import start_bulk_operation  # noqa: E402
from flowcontrol_core.runs.operations.retention import prune  # noqa: E402
from tests.shop.models import Customer, Order  # noqa: E402


class Rename(BaseAction):
    name = "rename"
    effects = Effects.DATABASE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        locked = run.lock_object()
        assert connections["default"].in_atomic_block
        locked.name += "!"
        locked.save()


class Fail(Rename):
    name = "fail"

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        super().run(run=run, obj=obj, config=config)
        raise ValueError("on purpose")


def address(name: str, *args: object) -> str:
    return reverse(f"admin:flowcontrol_core_{name}", args=args)


def logged_in() -> Client:
    client = Client()
    client.force_login(User.objects.get(username="ada"))
    return client


def open_page(client: Client, name: str, *args: object) -> str:
    response = client.get(address(name, *args))
    assert response.status_code == 200, (name, response.status_code)
    return response.content.decode()


def the_tables_are_apart() -> None:
    here = set(connections["flowcontrol"].introspection.table_names())
    there = set(connections["default"].introspection.table_names())
    assert {name for name in here if name != "django_migrations"} == {
        name for name in here if name.startswith("flowcontrol_core_")
    }
    assert {"auth_user", "django_content_type", "shop_customer"} <= there
    assert not any(name.startswith("flowcontrol_core_") for name in there)


def the_checks_are_satisfied() -> None:
    found = checks.run_checks(databases=["default", "flowcontrol"])
    assert [each for each in found if (each.id or "").startswith("flowcontrol")] == []


def the_permissions_are_where_the_users_are() -> None:
    names = Permission.objects.filter(content_type__app_label="flowcontrol_core")
    assert names.filter(codename="operate_flowrun").exists()


def a_flow_is_published_by_a_user() -> None:
    ada = User.objects.create_superuser("ada")
    flows.create_flow(key="drafted", name="Drafted", author=ada)
    welcome = publish_flow(
        flow(
            step("builtin.if", condition="object.is_active"),
            step("builtin.update_state", state={"name": "object.name"}, evaluate=True),
            object="shop.customer",
        ),
        key="welcome",
        name="Welcome",
        max_per_object=1,
    )
    flows.edit_draft(welcome, lambda old: old, revision=None, author=ada)


def a_run_starts_with_an_object() -> None:
    eve = Customer.objects.create(name="Eve")
    run = runs.start("welcome", eve, by=User.objects.get(username="ada"))
    assert (run.outcome, run.state["name"]) == ("complete", "Eve")
    assert (run.object_type, run.object_database) == ("shop.customer", "default")
    assert [found.pk for found in runs.find(obj=eve)] == [run.pk]


def a_trigger_starts_a_run_after_the_commit() -> None:
    placed = publish_flow(
        flow(step("builtin.if", condition="object.total > 1"), object="shop.order"), key="placed"
    )
    placed.flow_triggers.create(trigger="signals.shop.order.created")
    eve = Customer.objects.get(name="Eve")
    order = Order.objects.create(customer=eve, total=5)
    continue_flowruns()
    run = FlowRun.objects.for_object(order).get()
    assert (run.outcome, run.trigger) == ("complete", "signals.shop.order.created")


def what_a_transaction_rolls_back_starts_nothing() -> None:
    before = FlowRun.objects.count()
    eve = Customer.objects.get(name="Eve")
    with transaction.atomic():
        Order.objects.create(customer=eve, total=5)
        transaction.set_rollback(True)
    assert FlowRun.objects.count() == before
    with transaction.atomic():
        order = Order.objects.create(customer=eve, total=5)
        continue_flowruns()
        assert FlowRun.objects.count() == before
    assert FlowRun.objects.for_object(order).get().outcome == "complete"


def a_run_that_is_started_in_a_transaction_waits_for_its_commit() -> None:
    publish_flow(
        flow(step("builtin.if", condition="object.name"), object="shop.customer"), key="in"
    )
    with transaction.atomic():
        bob = Customer.objects.create(name="Bob")
        started = runs.start("in", bob)
        created = runs.create("in", bob)
        continue_flowruns()
        for run in (started, created):
            assert runs.get(run).status == "pending"
    assert [runs.get(run).outcome for run in (started, created)] == ["complete", "complete"]


def a_database_step_and_its_object_are_in_two_databases() -> None:
    document = flow(
        step("apart.rename"), step("apart.fail", retry={"attempts": 1}), object="shop.customer"
    )
    publish_flow(document, key="rename")
    mia = Customer.objects.create(name="Mia")
    run = runs.start("rename", mia)
    assert (run.outcome, "on purpose" in run.reason) == ("errored", True)
    mia.refresh_from_db()
    assert mia.name == "Mia!"


def the_pages_of_the_admin_work() -> None:
    client = logged_in()
    welcome = Flow.objects.get(key="welcome")
    run = FlowRun.objects.filter(flow=welcome).get()
    assert "Welcome" in open_page(client, "flow_changelist")
    for name in ("flow_editor", "flow_versions", "flow_history", "flow_publish", "flow_start"):
        assert "Welcome" in open_page(client, name, welcome.pk)
    assert "ada" in open_page(client, "flow_versions", welcome.pk)
    assert "Eve" in open_page(client, "flowrun_changelist")
    page = client.get(f"{address('flowrun_changelist')}?object_type=shop.customer&q=Eve")
    assert "Eve" in page.content.decode()
    shown = open_page(client, "flowrun_change", run.pk)
    assert reverse("admin:shop_customer_change", args=[run.object_key]) in shown
    assert "no longer exists" not in shown
    for name in ("flow_health", "flow_plugins"):
        open_page(client, name)


def a_run_is_started_and_operated_in_the_admin() -> None:
    client = logged_in()
    publish_flow(flow(step("builtin.delay", mode="for", amount=1, unit="days")), key="later")
    later = Flow.objects.get(key="later")
    answer = client.post(address("flow_start", later.pk), {"state": "{}", "reason": "why"})
    assert answer.status_code == 302, answer.content
    run = FlowRun.objects.get(flow=later)
    assert run.status == "waiting"
    answer = client.post(address("flowrun_operate", run.pk, "cancel"), {"reason": "enough"})
    assert answer.status_code == 302, answer.content
    assert runs.get(run).outcome == "canceled"
    assert RunEvent.objects.filter(run=run, actor="ada").exists()
    assert LogEntry.objects.filter(user__username="ada").exists()


def a_bulk_operation_is_done() -> None:
    later = Flow.objects.get(key="later")
    many = [runs.create("later") for _ in range(3)]
    continue_flowruns()
    start_bulk_operation("cancel", {"flow_id": later.pk, "status": "waiting"}, by="ada")
    continue_flowruns()
    assert {runs.get(run).outcome for run in many} == {"canceled"}
    assert BulkOperation.objects.get().done == 3


def a_deleted_object_is_looked_for_where_it_is() -> None:
    publish_flow(flow(step("builtin.if", condition="object.name"), object="shop.customer"), key="q")
    zoe = Customer.objects.create(name="Zoe")
    run = runs.create("q", zoe)
    FlowRun.objects.filter(pk=run.pk, status="pending")
    zoe.delete()
    continue_flowruns()
    assert runs.get(run).outcome in ("complete", "obsolete")


def a_deleted_user_is_no_concern_of_the_flows() -> None:
    ada = User.objects.get(username="ada")
    User.objects.create_superuser("bea")
    ada.delete()
    version = Flow.objects.get(key="drafted").versions.get()
    assert version.author == "ada"
    User.objects.get(username="bea").delete()
    User.objects.create_superuser("ada")


def health_is_asked() -> None:
    issues = {issue.code for issue in check_health().issues}
    assert "database" not in issues
    out = io.StringIO()
    call_command("flowcontrol", "doctor", "--json", stdout=out)
    json.loads(out.getvalue())


def fixtures_go_there_and_back() -> None:
    models = list(apps.get_app_config("flowcontrol_core").get_models())
    counts = {model: model._base_manager.count() for model in models}
    runs_before = set(FlowRun.objects.values_list("uuid", "version__number", "object_database"))
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/flows.json"
        natural = ("--natural-primary", "--natural-foreign", "--database=flowcontrol")
        call_command("dumpdata", "flowcontrol_core", *natural, output=file, verbosity=0)
        Flow.objects.update(published=None)
        for model in reversed(models):
            model._base_manager.all()._raw_delete("flowcontrol")
        call_command("loaddata", file, database="flowcontrol", verbosity=0)
    assert {model: model._base_manager.count() for model in models} == counts
    runs_after = set(FlowRun.objects.values_list("uuid", "version__number", "object_database"))
    assert runs_after == runs_before


def old_runs_are_pruned() -> None:
    live = list(FlowRun.objects.live().values_list("flow__key", "status", "reason_code"))
    assert live == [], live
    count = FlowRun.objects.count()
    Flow.objects.update(retention_days=1)
    with manual_clock() as clock:
        latest = FlowRun.objects.order_by("-created_at").values_list("created_at", flat=True)[0]
        clock.set(latest + timedelta(days=3_000))
        pruned = prune()
    assert pruned.runs == count, (pruned, count)
    assert not FlowRun.objects.exists()


def nothing_asks_the_wrong_database() -> None:
    with CaptureQueriesContext(connections["default"]) as there:
        publish_flow(flow(step("builtin.update_state", state={"a": "1"})), key="plain")
        runs.start("plain")
        continue_flowruns()
    assert [query["sql"] for query in there] == []
    assert not SkippedFiring.objects.exists()


PARTS: list[Any] = [
    the_tables_are_apart,
    the_checks_are_satisfied,
    the_permissions_are_where_the_users_are,
    a_flow_is_published_by_a_user,
    a_run_starts_with_an_object,
    a_trigger_starts_a_run_after_the_commit,
    what_a_transaction_rolls_back_starts_nothing,
    a_run_that_is_started_in_a_transaction_waits_for_its_commit,
    a_database_step_and_its_object_are_in_two_databases,
    the_pages_of_the_admin_work,
    a_run_is_started_and_operated_in_the_admin,
    a_bulk_operation_is_done,
    a_deleted_object_is_looked_for_where_it_is,
    a_deleted_user_is_no_concern_of_the_flows,
    health_is_asked,
    fixtures_go_there_and_back,
    old_runs_are_pruned,
    nothing_asks_the_wrong_database,
]

if __name__ == "__main__":
    with temporary_registry(Rename, Fail, plugin="apart"):
        for part in PARTS:
            part()
