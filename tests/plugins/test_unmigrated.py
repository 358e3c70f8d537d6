"""A plugin whose migrations are not applied: it says so, and its runs wait until they are."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse

from flowcontrol import flows, hookimpl
from flowcontrol.base import BaseAction, Effects
from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.errors import DocumentError, PublishError
from flowcontrol.health import check_health
from flowcontrol.models import FlowRun, SkippedFiring, Status
from flowcontrol.plugins import PluginStatus, plugin_manager, with_migrations
from flowcontrol.testing import (
    flow,
    manual_clock,
    publish_flow,
    run_due,
    step,
    temporary_registry,
)
from flowcontrol_admin.objects import ObjectRights
from flowcontrol_core import tables
from flowcontrol_core.models import RunEvent
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.store.needs import is_there
from flowcontrol_example_audit.models import AuditEntry
from tests.ledger.actions import ACTIONS, CLOSED, Note, sent
from tests.ledger.models import Entry
from tests.shop.models import Customer

pytestmark = pytest.mark.django_db(transaction=True)

RECORDER = "django.db.migrations.recorder.MigrationRecorder.has_table"
LEDGER = "Run `manage.py migrate ledger`"


class NoteFromElsewhere(Note):
    """Belongs to no app: the table that it lacks tells which one is not migrated."""

    name = "note"


class Wait(BaseAction):
    name = "wait"
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        return run.suspend(until=run.now.replace(year=run.now.year + 1))


def migrate(app: str, name: str = "") -> None:
    call_command("migrate", app, *filter(None, [name]), verbosity=0, skip_checks=True)


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    """Register the actions of the ledger; migrate everything in the end."""
    sent.clear()
    with (
        temporary_registry(*ACTIONS, triggers=[CLOSED], plugin="ledger"),
        temporary_registry(NoteFromElsewhere, Wait, plugin="elsewhere"),
    ):
        yield
        migrate("ledger")
        migrate("flowcontrol_example_audit")


@pytest.fixture(params=["zero", "0001"])
def present(request: pytest.FixtureRequest) -> str:
    """What of the ledger's migrations is applied: none, or some."""
    return str(request.param)


def fresh(run: FlowRun) -> FlowRun:
    return FlowRun.objects.get(pk=run.pk)


def sweep() -> int:
    return continue_flowruns().executed


def status_of(name: str) -> Any:
    return next(each for each in with_migrations(plugin_manager.reports) if each.name == name)


def plugins() -> str:
    """Return what `manage.py flowcontrol plugins` writes, with its last line."""
    output = StringIO()
    try:
        call_command("flowcontrol", "plugins", stdout=output)
    except CommandError as error:
        return output.getvalue() + str(error)
    return output.getvalue()


# --- a run, from blocked to complete ---------------------------------------------------------


def test_its_runs_are_blocked_and_continue_after_the_migration() -> None:
    flow_ = publish_flow(flow(step("audit.record", text="Hello")))
    migrate("flowcontrol_example_audit", "zero")
    run = create_flowrun(flow_)
    sweep()
    row = fresh(run)
    assert (row.status, row.reason_code) == (Status.BLOCKED, "missing_migration")
    assert row.blocked_on == "migration:flowcontrol_example_audit"
    assert "Run `manage.py migrate flowcontrol_example_audit`" in row.reason
    assert sweep() == 0
    assert RunEvent.objects.filter(run=run).count() == 1
    migrate("flowcontrol_example_audit")
    assert sweep() == 1
    assert fresh(run).outcome == "complete"
    assert [entry.text for entry in AuditEntry.objects.all()] == ["Hello"]


@pytest.mark.parametrize("action", ["ledger.note", "ledger.send", "ledger.choose"])
def test_no_effect_is_doubled(action: str, present: str) -> None:
    retry = {"attempts": 3, "backoff": "1h", "jitter": "none"}
    flow_ = publish_flow(flow(step(action, retry=retry)))
    migrate("ledger", present)
    run = create_flowrun(flow_)
    sweep()
    assert (fresh(run).status, fresh(run).blocked_on) == (Status.BLOCKED, "migration:ledger")
    assert (sent, Customer.objects.count()) == ([], 0)
    migrate("ledger")
    sweep()
    assert fresh(run).outcome == "complete"
    written = {"ledger.note": (0, 1, 1), "ledger.send": (1, 0, 1), "ledger.choose": (0, 0, 0)}
    counts = (len(sent), Customer.objects.count(), Entry.objects.count())
    assert counts == written[action]


def test_a_run_started_at_once_is_blocked_too(present: str) -> None:
    flow_ = publish_flow(flow(step("ledger.note")))
    migrate("ledger", present)
    assert start_flowrun(flow_).status == Status.BLOCKED


def test_an_action_of_another_app_waits_for_the_table_that_it_lacks(present: str) -> None:
    retry = {"attempts": 2, "backoff": "1h", "jitter": "none"}
    flow_ = publish_flow(flow(step("elsewhere.note", id="a", retry=retry)))
    migrate("ledger", present)
    run = create_flowrun(flow_)
    sweep()
    row = fresh(run)
    assert (row.status, row.blocked_on) == (Status.BLOCKED, "migration:ledger")
    assert Customer.objects.count() == 0
    # The call does not count as one of its tries, and the history has its error.
    assert row.cursor[-1].get("tries", 0) == 0
    event = RunEvent.objects.get(run=run, kind="blocked")
    assert event.error is not None
    assert event.steps[0]["answer"] == "failed"
    migrate("ledger")
    sweep()
    assert fresh(run).outcome == "complete"
    assert (Customer.objects.count(), Entry.objects.count()) == (1, 1)


def test_what_the_steps_before_it_have_written_stands() -> None:
    flow_ = publish_flow(flow(step("audit.record", text="before"), step("elsewhere.note")))
    migrate("ledger", "zero")
    run = create_flowrun(flow_)
    sweep()
    assert fresh(run).status == Status.BLOCKED
    assert AuditEntry.objects.count() == 1
    migrate("ledger")
    sweep()
    assert (fresh(run).outcome, AuditEntry.objects.count()) == ("complete", 1)


def test_an_error_of_a_migrated_app_fails_its_step() -> None:
    class Broken(BaseAction):
        name = "broken"
        effects = Effects.DATABASE

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            list(Entry.objects.extra(where=["no_such_column = 1"]))

    with temporary_registry(Broken):
        run = create_flowrun(publish_flow(flow(step("test.broken"))))
        sweep()
    assert (fresh(run).outcome, fresh(run).reason_code) == ("errored", "step_failed")


def test_a_guard_that_reads_a_missing_column_waits_for_it() -> None:
    guarded = flow(step("elsewhere.wait"), guard="object.note == ''", object="ledger.entry")
    with manual_clock() as clock:
        run = create_flowrun(publish_flow(guarded), Entry.objects.create(text="x"))
        sweep()
        until = fresh(run).wait_until
        assert until is not None
        migrate("ledger", "0001")
        clock.advance(days=2)
        sweep()
        row = fresh(run)
        assert (row.status, row.blocked_on) == (Status.BLOCKED, "migration:ledger")
        assert row.wait_until == until
        migrate("ledger")
        sweep()
        # It waits on: what it waits for has not come.
        assert (fresh(run).status, fresh(run).wait_until) == (Status.WAITING, until)
        clock.advance(days=400)
        sweep()
    assert fresh(run).outcome == "complete"


def test_a_guard_is_not_to_blame_before_the_first_step(present: str) -> None:
    guarded = flow(step("builtin.update_state", state={"n": 1}), guard="object.note == ''")
    entry = Entry.objects.create(text="x")
    flow_ = publish_flow(guarded)
    run = create_flowrun(flow_, entry)
    migrate("ledger", present)
    sweep()
    assert (fresh(run).status, fresh(run).blocked_on) == (Status.BLOCKED, "migration:ledger")


# --- where it is said -----------------------------------------------------------------------


def test_the_listing_and_the_health_say_what_to_do(client: Client, admin_user: Any) -> None:
    migrate("flowcontrol_example_audit", "zero")
    report = status_of("audit")
    assert (report.status, report.is_broken) == (PluginStatus.NEEDS_MIGRATION, True)
    remedy = "manage.py migrate flowcontrol_example_audit"
    assert "0001_initial" in report.reason
    assert remedy in report.remedy
    assert "needs-migration" in plugins()
    assert plugins().endswith("Not migrated: audit.")
    issue = next(each for each in check_health().issues if each.code == "plugin_unmigrated")
    assert "audit" in issue.message
    assert (remedy in issue.remedy, issue.is_urgent) == (True, True)
    with pytest.raises(CommandError):
        call_command("flowcontrol", "doctor", stdout=(output := StringIO()))
    assert remedy in output.getvalue()
    client.force_login(admin_user)
    for name in ("plugins", "health"):
        page = client.get(reverse(f"admin:flowcontrol_core_flow_{name}")).content.decode()
        assert remedy in page
    migrate("flowcontrol_example_audit")
    assert status_of("audit").status is PluginStatus.ACTIVE
    assert "needs-migration" not in plugins()


def test_the_listing_survives_a_database_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_self: Any) -> Any:
        raise DatabaseError("the server is down")

    migrate("flowcontrol_example_audit", "zero")
    migrate("ledger", "zero")
    with monkeypatch.context() as patched:
        patched.setattr(RECORDER, refuse)
        assert status_of("audit").status is PluginStatus.ACTIVE
        assert tables.explain(DatabaseError("no such table: ledger_entry")) is None
        assert not is_there("migration:ledger")


def test_without_the_table_of_migrations_none_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(RECORDER, lambda _self: False)
        assert status_of("audit").status is PluginStatus.NEEDS_MIGRATION
        assert status_of("builtin").status is PluginStatus.ACTIVE


def test_the_listing_asks_once_for_all_plugins(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, django_assert_num_queries(1):
        patched.setattr(RECORDER, lambda _self: True)
        with_migrations(plugin_manager.reports)


def test_it_is_not_published_before(present: str) -> None:
    draft = flows.create_flow(key="draft", name="Draft", document=flow(step("ledger.note", id="n")))
    migrate("ledger", present)
    with pytest.raises(PublishError) as refused:
        flows.publish(draft)
    assert [problem.step for problem in refused.value.problems] == ["n"]
    assert LEDGER in str(refused.value)
    migrate("ledger")
    assert flows.publish(draft).published_at is not None


def test_no_page_fails(client: Client, admin_user: Any, present: str) -> None:
    client.force_login(admin_user)
    steps = [step("ledger.choose", id="c"), step("elsewhere.note", id="e")]
    draft = flows.create_flow(key="draft", name="Draft", document=flow(*steps))
    live = publish_flow(flow(*steps), key="live")
    association = flows.associate_trigger(live, "ledger.closed")
    run = create_flowrun(live)
    migrate("ledger", present)
    run_due()
    pages = [
        *((f"flow_{name}", draft.pk) for name in ("editor", "publish", "change")),
        *((f"flow_{name}", live.pk) for name in ("editor", "publish", "versions", "start")),
        ("flow_step_configure", draft.pk, "c"),
        ("flow_version", live.pk, 1),
        ("flow_changelist",),
        ("flowrun_changelist",),
        ("flowrun_change", run.pk),
    ]
    for name, *args in pages:
        response = client.get(reverse(f"admin:flowcontrol_core_{name}", args=args))
        assert response.status_code == 200, (name, response.content)
    said = [
        ("flow_editor", draft.pk),
        ("flow_publish", draft.pk),
        ("flow_step_configure", draft.pk, "c"),
    ]
    for name, *args in said:
        response = client.get(reverse(f"admin:flowcontrol_core_{name}", args=args))
        assert "manage.py migrate ledger" in response.content.decode(), name
    picker = reverse("admin:flowcontrol_core_flow_step_add", args=[draft.pk])
    assert client.get(picker, {"place": "//0"}).status_code == 200
    typed = {"revision": 1, "action": "ledger.choose", "place": "//0"}
    assert client.post(picker, typed, follow=True).status_code == 200
    response = client.get(
        reverse("admin:flowcontrol_core_flow_trigger", args=[live.pk, association.pk])
    )
    assert response.status_code < 500
    assert "manage.py migrate ledger" in response.content.decode()


def test_no_page_about_its_objects_fails(
    client: Client, admin_user: Any, present: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(admin_user)
    document = flow(step("elsewhere.wait"), guard="object.note == ''", object="ledger.entry")
    live = publish_flow(document)
    run = create_flowrun(live, Entry.objects.create(text="x"))
    migrate("ledger", present)
    # The permission of each object is asked for, so each is read.
    monkeypatch.setattr(ObjectRights, "may_view_every", lambda _self, model: model is None)
    for name, *args in (("changelist",), ("change", run.pk)):
        address = reverse(f"admin:flowcontrol_core_flowrun_{name}", args=args)
        assert client.get(address).status_code < 500
    start = reverse("admin:flowcontrol_core_flow_start", args=[live.pk])
    assert client.get(start).status_code == 200
    response = client.post(start, {"object": "1"})
    assert response.status_code < 500
    assert "manage.py migrate ledger" in response.content.decode()


def test_migrate_is_not_kept_from_running_by_the_checks(present: str) -> None:
    live = publish_flow(flow(step("ledger.choose", id="c")))
    flows.associate_trigger(live, "ledger.closed")
    migrate("ledger", present)
    messages = [
        message.msg
        for message in checks.run_checks(databases=["default"])
        if message.id in ("flowcontrol.W005", "flowcontrol.W006")
    ]
    assert len(messages) == 2
    assert all(LEDGER in message for message in messages)
    call_command("migrate", "ledger", verbosity=0, skip_checks=False, stderr=StringIO())
    assert not tables.find_unmigrated(["ledger"])


def test_a_trigger_that_reads_it_says_so_and_raises_nothing(present: str) -> None:
    live = publish_flow(flow(step("builtin.update_state", state={"n": 1})))
    association = flows.associate_trigger(live, "ledger.closed")
    migrate("ledger", present)
    CLOSED.fire()
    skipped = SkippedFiring.objects.get(flow_trigger=association)
    assert LEDGER in skipped.detail
    with pytest.raises(DocumentError, match=r"manage\.py migrate ledger"):
        flows.change_trigger(association, condition="True")
    migrate("ledger")
    Entry.objects.create(text="x")
    CLOSED.fire()
    assert FlowRun.objects.filter(flow=live).count() == 1


def test_a_plugin_without_an_app_needs_none() -> None:
    @hookimpl
    def flowcontrol_actions() -> list[type[BaseAction]]:
        return [Wait]

    module = ModuleType("plain_plugin")
    vars(module).update(flowcontrol_actions=flowcontrol_actions)
    try:
        assert plugin_manager.add_module(module, "plain").app == ""
        assert status_of("plain").status is PluginStatus.ACTIVE
    finally:
        plugin_manager._pluggy.unregister(name="plain")
        plugin_manager.reports = plugin_manager.reports[:-1]
