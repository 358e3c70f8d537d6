"""What is to be true for two tenants, ``a`` and ``b``: their tables hold the same primary keys.

``python -m tests.tenants.scenarios KIND NAME`` executes one of them, in a process whose tables are
those of the kind (``schemas`` or ``databases``), and ends with an error where it is not true.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django import forms
from django.core.management import call_command, execute_from_command_line
from django.db import connections, transaction
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from flowcontrol.base import BaseAction, Effects
from flowcontrol.engine import continue_flowruns, create_flowrun, start_flowrun
from flowcontrol.registry import register_trigger
from flowcontrol.testing import flow, publish_flow, step, temporary_registry
from flowcontrol_core.apps import load_dispatcher
from flowcontrol_core.flows.flow_triggers import associate_trigger
from flowcontrol_core.models import Flow, FlowRun, FlowTrigger, Worker
from flowcontrol_core.runs.store.connection import alias
from tests.shop.models import Customer

Within = Callable[[str], AbstractContextManager[Any]]
TENANTS = ("a", "b")


class Say(BaseAction):
    """Writes its word into the state, and does what a scenario asks for."""

    name = "say"
    effects = Effects.EXTERNAL
    do: Callable[[Any], object] = staticmethod(lambda run: None)

    class Config(forms.Form):
        word = forms.CharField()

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["word"] = config.word
        type(self).do(run)


class Write(Say):
    """Writes its word into a table of the tenant, too, in the transaction of its checkpoint."""

    name = "write"
    effects = Effects.DATABASE

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        Customer.objects.create(name=config.word)
        super().run(run=run, obj=obj, config=config)


def publish_in(within: Within) -> None:
    """Publish a flow in each tenant: another one, under the same primary key."""
    for name in TENANTS:
        with within(name):
            FlowRun.objects.all().delete()
            Flow.objects.all().delete()
            for key, action in (("flow", "say.say"), ("writing", "say.write")):
                steps = flow(step(action, word=name, id="first"))
                publish_flow(steps, key=key, name=f"Flow of {name}")


def words(within: Within) -> dict[str, list[Any]]:
    found = {}
    for name in TENANTS:
        with within(name):
            found[name] = list(FlowRun.objects.order_by("pk").values_list("state__word", flat=True))
    return found


def executes_its_own_flows(within: Within) -> None:
    for _ in range(2):
        for name in TENANTS:
            with within(name):
                create_flowrun("flow")
                assert start_flowrun("flow").outcome == "complete"
                assert start_flowrun(Flow.objects.get(key="flow")).outcome == "complete"
                assert continue_flowruns().executed == 1
    assert words(within) == {"a": ["a"] * 6, "b": ["b"] * 6}


def hears_its_own_triggers(within: Within) -> None:
    paid = register_trigger("shop.paid", label="Paid")
    with within("a"):
        associate_trigger(Flow.objects.get(key="flow"), "shop.paid")
    for name, heard in (("a", True), ("b", False), ("a", True)):
        with within(name):
            assert paid.is_listened_to() == heard, name
            paid.fire()
    for name in TENANTS:
        with within(name):
            continue_flowruns()
    assert words(within) == {"a": ["a", "a"], "b": []}
    with within("a"):
        FlowTrigger.objects.all().delete()
    with within("b"):
        assert not paid.is_listened_to()


def extends_its_own_leases(within: Within) -> None:
    """The heartbeat is a thread with a connection of its own."""
    left: list[float] = []

    def wait(run: Any) -> None:
        time.sleep(1.5)
        row = FlowRun.objects.get(pk=run.pk)
        assert row.due_at is not None
        left.append((row.due_at - row.since).total_seconds())

    Say.do = staticmethod(wait)
    with override_settings(FLOWCONTROL={"LEASE": 1.0}), within("b"):
        create_flowrun("flow")
        continue_flowruns()
    assert left[0] > 2, left
    assert words(within) == {"a": [], "b": ["b"]}


def has_its_own_workers(within: Within) -> None:
    for name in TENANTS:
        with within(name):
            Worker.objects.all().delete()
    for name in TENANTS:
        with within(name):
            continue_flowruns()
            assert Worker.objects.count() == 1, name


def starts_no_child_elsewhere(within: Within) -> None:
    """The key of the run that starts it would be that of another run there."""

    def start(run: Any) -> None:
        with within("b"):
            create_flowrun("flow")

    Say.do = staticmethod(start)
    with within("a"):
        create_flowrun("flow")
        continue_flowruns()
    Say.do = staticmethod(lambda run: None)
    with within("b"):
        run = FlowRun.objects.get()
        assert (run.parent_id, run.depth) == (None, 1)
        continue_flowruns()
    assert words(within) == {"a": ["a"], "b": ["b"]}


def executes_inline_what_it_has_committed(within: Within) -> None:
    with override_settings(FLOWCONTROL={"DISPATCH": "inline"}):
        Say.do = staticmethod(partial(_start_in_the_other, within, []))
        with within("a"):
            create_flowrun("flow")
    assert words(within) == {"a": ["a"], "b": ["b"]}


def _start_in_the_other(within: Within, begun: list[Any], run: Any) -> None:
    if not begun:
        begun.append(run.pk)
        with within("b"):
            create_flowrun("flow")


def is_seen_in_its_own_admin(within: Within) -> None:
    from django.contrib.auth.models import User

    for name in TENANTS:
        with within(name):
            User.objects.all().delete()
            User.objects.create_superuser("root", password="root")
            start_flowrun("flow")
            client = Client(headers={"host": f"{name}.localhost"})
            assert client.login(username="root", password="root")
            for page in ("flow_changelist", "flowrun_changelist"):
                text = client.get(reverse(f"admin:flowcontrol_core_{page}")).content.decode()
                assert f"Flow of {name}" in text, page
                assert not any(f"Flow of {each}" in text for each in TENANTS if each != name), page


def works_in_threads(within: Within) -> None:
    """As of a worker with several threads, which all sweep the same tenant."""
    for name in TENANTS:
        with within(name):
            for _ in range(6):
                create_flowrun("flow")
    with within("b"):
        call_command("flowcontrol", "worker", once=True, concurrency=3, verbosity=0)
    assert words(within) == {"a": [None] * 6, "b": ["b"] * 6}


def commands_go_through_all_tenants(within: Within) -> None:
    """Of django-tenants: for one schema, and for all."""
    for name in TENANTS:
        with within(name):
            create_flowrun("flow")
    execute_from_command_line(["manage.py", "tenant_command", "flowcontrol", "run", "--schema=b"])
    assert words(within) == {"a": [None], "b": ["b"]}
    line = ["manage.py", "all_tenants_command", "--no-public", "flowcontrol", "run"]
    execute_from_command_line(line)
    assert words(within) == {"a": ["a"], "b": ["b"]}


def one_worker_goes_through_all_tenants(within: Within) -> None:
    """Until it is told to stop, which it does after the run in hand."""
    done: list[Any] = []

    def work(run: Any) -> None:
        done.append(run.pk)
        if len(done) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    Say.do = staticmethod(work)
    for _ in range(3):
        for name in TENANTS:
            with within(name):
                create_flowrun("flow")
    call_command("work_for_all")
    assert words(within) == {"a": ["a"] * 3, "b": ["b", None, None]}
    with within("b"):
        waiting = FlowRun.objects.exclude(status="done")
        assert {run.attempt for run in waiting} == {0}
        assert continue_flowruns().executed == 2


def messages_of_celery_name_their_tenant(within: Within) -> None:
    from celery import Celery
    from celery.contrib.testing.worker import start_worker

    app = Celery("tenants", broker="memory://", set_as_current=True)
    app.conf.update(task_default_queue="tenants", worker_hijack_root_logger=False)
    app.set_default()
    from tests.tenants.celery_signals import continue_for_all

    with override_settings(FLOWCONTROL={"DISPATCH": "celery"}):
        load_dispatcher()
        for name in TENANTS:
            with within(name):
                create_flowrun("flow", at=timezone.now())
        with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
            continue_for_all.delay()
            _wait_for(lambda: words(within) == {"a": ["a"], "b": ["b"]})
            with within("b"):
                create_flowrun("flow")
            _wait_for(lambda: words(within) == {"a": ["a"], "b": ["b", "b"]})


def _wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def writes_in_its_own_tables(within: Within) -> None:
    for name in TENANTS:
        with within(name):
            Customer.objects.all().delete()
            create_flowrun("writing")
            continue_flowruns()
    for name in TENANTS:
        with within(name):
            assert [*Customer.objects.values_list("name", flat=True)] == [name]
            assert FlowRun.objects.get().outcome == "complete", FlowRun.objects.get().reason


def returns_from_another_tenant(within: Within) -> None:
    """A step that stays in one does not take the engine along."""
    Say.do = staticmethod(lambda run: within("b").__enter__())
    for key in ("flow", "writing"):
        with within("a"):
            before = getattr(connections["default"], "tenant", None)
            create_flowrun(key)
            create_flowrun(key)
            assert continue_flowruns().executed == 2
            assert getattr(connections["default"], "tenant", None) is before
    assert words(within) == {"a": ["a"] * 4, "b": []}


def forgets_what_is_rolled_back(within: Within) -> None:
    paid = register_trigger("shop.rolled_back", label="Paid")
    with within("a"), transaction.atomic(using=alias()):
        associate_trigger(Flow.objects.get(key="flow"), "shop.rolled_back")
        assert paid.is_listened_to()
        with within("b"):
            assert not paid.is_listened_to()
        transaction.set_rollback(True, using=alias())
    for name in TENANTS:
        with within(name):
            assert not paid.is_listened_to()


SCENARIOS = (
    executes_its_own_flows,
    hears_its_own_triggers,
    extends_its_own_leases,
    has_its_own_workers,
    starts_no_child_elsewhere,
    executes_inline_what_it_has_committed,
    is_seen_in_its_own_admin,
    works_in_threads,
    writes_in_its_own_tables,
    returns_from_another_tenant,
    forgets_what_is_rolled_back,
)
OF_SCHEMAS = (
    *SCENARIOS,
    commands_go_through_all_tenants,
    one_worker_goes_through_all_tenants,
    messages_of_celery_name_their_tenant,
)


def prepare(kind: str) -> None:
    """Create the tables of both tenants."""
    if kind == "schemas":
        from django_tenants.utils import get_tenant_domain_model, get_tenant_model

        call_command("migrate_schemas", shared=True, run_syncdb=True, verbosity=0)
        for name in TENANTS:
            shop = get_tenant_model().objects.create(schema_name=name)
            get_tenant_domain_model().objects.create(domain=f"{name}.localhost", tenant=shop)
            with connections["default"].cursor() as cursor:
                cursor.execute(f"CREATE SCHEMA {name}")
        call_command("migrate_schemas", tenant=True, run_syncdb=True, verbosity=0)
        return
    for name in TENANTS:
        call_command("migrate", database=name, run_syncdb=True, verbosity=0)


def main(kind: str, name: str) -> None:
    if name == "prepare":
        prepare(kind)
        return
    within: Within
    if kind == "schemas":
        from django_tenants.utils import schema_context

        within = schema_context
    else:
        from tests.tenants.router import tenant_database

        within = tenant_database
    with temporary_registry(Say, Write, plugin="say"):
        publish_in(within)
        globals()[name](within)


if __name__ == "__main__":
    assert os.environ["DJANGO_SETTINGS_MODULE"].startswith("tests.tenants.")
    main(*sys.argv[1:])
