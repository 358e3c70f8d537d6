"""One test for each id, with what triggers it, and that a sound site has none of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from django.test.utils import isolate_apps

from flowcontrol_core import checks
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.fields import ExpressionField
from flowcontrol_core.checks import (
    SQLITE_OPTIONS,
    check_debug,
    check_dispatch,
    check_flows,
    check_package,
    check_plugins,
    check_pool,
    check_routers,
    check_settings,
    check_sqlite,
    check_time_zone,
)
from flowcontrol_core.conf import Settings
from flowcontrol_core.expressions.visibility import has_name, names_to_list
from flowcontrol_core.models import Flow, FlowTrigger, FlowVersion
from flowcontrol_core.plugins.discovery import plugin_apps
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import PluginReport, PluginStatus
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow, temporary_registry
from tests.databases import ROOT
from tests.shop.models import Customer

Check = Callable[..., list[CheckMessage]]


def ids(messages: Iterable[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def only(messages: list[CheckMessage], id_: str) -> CheckMessage:
    """Return the one message, which has this id, a hint, and is found by Django too."""
    assert ids(messages) == [f"flowcontrol.{id_}"]
    assert messages[0].hint
    return messages[0]


def test_e001_an_unknown_setting_is_answered_with_the_nearest(settings: Any) -> None:
    settings.FLOWCONTROL = {"LEASES": 60}
    message = only(check_settings(), "E001")
    assert 'FLOWCONTROL["LEASES"] is not a setting' in message.msg
    assert message.hint == "Did you mean “LEASE”?"


def test_e001_an_unknown_setting_without_a_near_one_is_answered_with_all(settings: Any) -> None:
    settings.FLOWCONTROL = {"COLOUR_OF_SKY": 1}
    assert "CLAIM_BATCH, " in (only(check_settings(), "E001").hint or "")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("DISPATCH", 1, "a text"),
        ("LEASE", "60", "a number of seconds"),
        ("LEASE", True, "a number of seconds"),
        ("LEASE", 0, "a number, more than 0"),
        ("LEASE", float("nan"), "a number, more than 0"),
        ("COALESCE", -1, "a number, 0 or more"),
        ("CLAIM_BATCH", 1.5, "a whole number"),
        ("CLAIM_BATCH", -1, "a number, more than 0"),
        ("STRICT_PLUGINS", "no", "True or False"),
        ("DISABLE_PLUGINS", "sms", "a list of texts"),
        ("SIGNAL_MODELS", [1], "a list of texts"),
        ("EXPRESSION_FIELDS", {"shop.order": "total"}, "lists of texts"),
        ("EXPRESSION_FIELDS", [], "lists of texts"),
        ("PLUGIN_OWNERS", {"sms": 1}, "texts by name"),
        ("PLUGIN_OWNERS", ["sms"], "texts by name"),
    ],
)
def test_e002_a_value_of_the_wrong_kind(
    settings: Any, name: str, value: object, wanted: str
) -> None:
    settings.FLOWCONTROL = {name: value}
    message = only(check_settings(), "E002")
    assert f'FLOWCONTROL["{name}"] is {value!r}, which is not {wanted}' in message.msg


def test_e002_the_setting_is_not_a_dictionary(settings: Any) -> None:
    settings.FLOWCONTROL = [("LEASE", 60)]
    assert "not a dictionary" in only(check_settings(), "E002").msg


def test_the_defaults_and_usual_values_are_right(settings: Any) -> None:
    settings.FLOWCONTROL = {item.name: getattr(Settings(), item.name) for item in fields(Settings)}
    assert check_settings() == []
    settings.FLOWCONTROL = {
        "LEASE": 30,
        "COALESCE": 0,
        "DISABLE_PLUGINS": ["sms"],
        "EXPRESSION_FIELDS": {"shop.order": ("total",)},
    }
    assert check_settings() == []


def test_e003_times_without_a_zone(settings: Any) -> None:
    assert check_time_zone() == []
    settings.USE_TZ = False
    only(check_time_zone(), "E003")


def test_e004_an_unknown_dispatch_is_answered_with_the_nearest(settings: Any) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "in-line"}
    assert only(check_dispatch(), "E004").hint == "Did you mean “inline”?"
    settings.FLOWCONTROL = {"DISPATCH": "pigeon"}
    assert only(check_dispatch(), "E004").hint == "Write one of 'sweep', 'inline', 'celery'."


def test_e005_celery_without_celery(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "celery"}
    assert check_dispatch() == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "flowcontrol-core[celery]" in (only(check_dispatch(), "E005").hint or "")


def test_e006_the_other_distribution_with_our_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_package() == []
    info = tmp_path / "django_flowcontrol-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: django-flowcontrol\nVersion: 0.3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = only(check_package(), "E006")
    assert "django-flowcontrol 0.3 is installed too" in message.msg
    assert "pip uninstall django-flowcontrol" in (message.hint or "")


def test_e007_another_package_is_imported_under_our_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "flowcontrol"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flowcontrol")
    assert f"is imported from {folder.resolve()}" in only(check_package(), "E007").msg


def test_e007_the_package_is_what_the_other_distribution_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flowcontrol").mkdir()
    # As after it was uninstalled: a folder with the files that only we have.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "flowcontrol")
    message = only(check_package(), "E007")
    assert "Files of the package `flowcontrol` are missing" in message.msg
    assert "pip install --force-reinstall --no-deps flowcontrol-core" in (message.hint or "")
    with pytest.raises(ImportError, match="django-flowcontrol, which has a package of the same"):
        plugin_apps()


BROKEN = PluginReport(
    name="sms",
    distribution="acme-sms",
    version="0.9",
    module="acme_sms.plugin",
    status=PluginStatus.FAILED,
    reason="ImportError: no gateway",
    remedy="Uninstall acme-sms.",
)


def use_plugins(monkeypatch: pytest.MonkeyPatch, *reports: PluginReport) -> None:
    monkeypatch.setattr(plugin_manager, "reports", reports)


def test_w004_a_broken_plugin_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_plugins(monkeypatch, BROKEN)
    message = only(check_plugins(), "W004")
    assert message.msg == ("The plugin 'sms' (acme-sms 0.9) is not loaded. ImportError: no gateway")
    assert message.hint == "Uninstall acme-sms."


def test_e008_a_broken_plugin_is_an_error_under_strict_plugins(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    use_plugins(monkeypatch, BROKEN)
    settings.FLOWCONTROL = {"STRICT_PLUGINS": True}
    assert only(check_plugins(), "E008").is_serious()


def test_a_disabled_plugin_is_not_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    disabled = PluginReport(
        name="fax", distribution="", version="", module="fax", status=PluginStatus.DISABLED
    )
    use_plugins(monkeypatch, disabled)
    assert check_plugins() == []


def use_sqlite(monkeypatch: pytest.MonkeyPatch, name: str = "site.db", **options: Any) -> None:
    settings = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    }
    monkeypatch.setattr(connections, "settings", settings)


@pytest.mark.parametrize(
    ("id_", "missing"),
    [("W001", "transaction_mode"), ("W002", "init_command"), ("W003", "timeout")],
)
def test_w001_to_w003_sqlite_is_told_the_options_to_write(
    monkeypatch: pytest.MonkeyPatch, id_: str, missing: str
) -> None:
    options: dict[str, Any] = {
        name: value for name, value in SQLITE_OPTIONS.items() if name != missing
    }
    use_sqlite(monkeypatch, **options)
    hint = only(check_sqlite(), id_).hint or ""
    assert hint.startswith('Write DATABASES["default"]["OPTIONS"] = {')
    written = eval(hint.partition(" = ")[2].rstrip("."))
    use_sqlite(monkeypatch, **written)
    assert check_sqlite() == []


def test_the_options_to_write_keep_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use_sqlite(monkeypatch, cached_statements=50, init_command="PRAGMA cache_size=2000;")
    hint = check_sqlite()[0].hint or ""
    assert "'cached_statements': 50" in hint
    assert "PRAGMA cache_size=2000; PRAGMA journal_mode=WAL;" in hint


def test_a_database_in_memory_needs_no_wal(monkeypatch: pytest.MonkeyPatch) -> None:
    use_sqlite(monkeypatch, ":memory:", transaction_mode="IMMEDIATE", timeout=20)
    assert check_sqlite() == []


def test_another_database_is_not_asked_for_sqlite_options(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "site"}}
    monkeypatch.setattr(connections, "settings", settings)
    assert check_sqlite() == []


def test_w010_debug_costs_a_worker_memory(settings: Any) -> None:
    assert check_debug() == []
    settings.DEBUG = True
    assert "DEBUG = False" in str(only(check_debug(), "W010").hint)
    # Without a word of databases, Django 6.1 has all of them checked.
    run = partial(run_checks, tags=["flowcontrol"], databases=[])
    assert "flowcontrol.W010" not in ids(run())
    assert "flowcontrol.W010" in ids(run(include_deployment_checks=True))


class Small(BaseAction):
    name = "check"
    effects = Effects.NONE

    class Config(forms.Form):
        condition = ExpressionField()

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        return None


@pytest.fixture
def active() -> Flow:
    """An active flow whose action is gone after the fixture."""
    with temporary_registry(Small):
        return publish_flow(flow(step("test.check", condition="1 > 0")), key="greet")


@pytest.mark.django_db
class TestFlows:
    def test_w005_a_missing_action_is_named_with_flow_and_step(self, active: Flow) -> None:
        message = only(check_flows(databases=["default"]), "W005")
        assert "The flow 'greet' is active, but: step 's1', steps[0].action: " in message.msg
        assert "'test.check' is not registered" in message.msg

    def test_w005_a_configuration_that_no_longer_validates(self, active: Flow) -> None:
        class Stricter(Small):
            class Config(Small.Config):
                condition = ExpressionField(max_length=3)

        with temporary_registry(Stricter):
            message = only(check_flows(databases=["default"]), "W005")
        assert "steps[0].config.condition" in message.msg

    def test_w005_a_document_that_cannot_be_read(self, active: Flow) -> None:
        FlowVersion.objects.update(document={"format": 99})
        assert set(ids(check_flows(databases=["default"]))) == {"flowcontrol.W005"}

    def test_w006_a_missing_trigger_is_named(self, active: Flow) -> None:
        FlowTrigger.objects.create(flow=active, trigger="acme.came")
        with temporary_registry(Small):
            message = only(check_flows(databases=["default"]), "W006")
        assert "'greet' is active, but: trigger 'acme.came', " in message.msg
        FlowTrigger.objects.update(active=False)
        with temporary_registry(Small):
            assert check_flows(databases=["default"]) == []

    def test_a_sound_flow_is_not_a_fault(self, active: Flow) -> None:
        with temporary_registry(Small):
            assert check_flows(databases=["default"]) == []

    def test_an_inactive_flow_is_not_checked(self, active: Flow) -> None:
        Flow.objects.update(active=False)
        assert check_flows(databases=["default"]) == []


def test_the_database_is_read_on_request_only(django_assert_num_queries: Any, db: None) -> None:
    with django_assert_num_queries(0):
        assert check_flows() == check_flows(databases=["other"]) == []


@pytest.mark.django_db
def test_the_checks_are_registered_and_a_sound_site_has_no_fault(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    use_plugins(monkeypatch)
    found = [
        message
        for message in run_checks(databases=["default"])
        if str(message.id).startswith("flowcontrol.")
    ]
    assert found == []
    settings.USE_TZ = False
    assert "flowcontrol.E003" in ids(run_checks(tags=[checks.TAG]))


@pytest.mark.parametrize(
    ("listing", "text", "hint"),
    [
        ({"shop.customer": ["nmae"]}, "lists 'nmae', which shop.Customer does not", "“name”"),
        ({"Shop.Customer": ["name", "nmae"]}, "lists 'nmae'", "“name”"),
        ({"shop.order": ["custmer_id"]}, "lists 'custmer_id'", "“customer_id”"),
        ({"shop.order": ["zzzz"]}, "lists 'zzzz'", "Possible are: id, customer, customer_id,"),
        ({"shop.custmer": ["name"]}, "there is no such model", "“shop.customer”"),
        ({"shop.customer.name": ["name"]}, "there is no such model", "“shop.customer”"),
        ({"zzzz": []}, "there is no such model", "app_label.model"),
    ],
)
def test_w016_a_visible_name_that_there_is_not(
    settings: Any, listing: Any, text: str, hint: str
) -> None:
    settings.FLOWCONTROL = {"EXPRESSION_FIELDS": listing}
    message = only(checks.check_visible_names(), "W016")
    assert text in message.msg
    assert hint in (message.hint or "")
    assert "api_token" not in (message.hint or "")


@pytest.mark.parametrize(
    "listing",
    [
        {"shop.customer": ["pk", "id", "name", "api_token", "orders", "__str__"]},
        {"shop.order": ["customer", "customer_id", "get_status_display", "status"]},
        {},
        [],
        {"shop.order": "total"},
        {"shop.order": [1]},
    ],
)
def test_w016_names_that_there_are_and_what_is_of_the_wrong_kind(
    settings: Any, listing: Any
) -> None:
    settings.FLOWCONTROL = {"EXPRESSION_FIELDS": listing}
    assert checks.check_visible_names() == []


@isolate_apps("tests.shop")
def test_w016_names_that_a_class_computes_and_annotates() -> None:
    class Nicked(Customer):
        nick: str

        class Meta:
            proxy = True
            app_label = "shop"

        @property
        def initials(self) -> str:
            return self.name[:1]

    assert has_name(Nicked, "nick")
    assert "initials" in names_to_list(Nicked)
    assert not has_name(Customer, "nick")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("DISABLE_PLUGINS", ["bultin"]),
        ("DISABLE_PLUGINS", "bultin"),
        ("PLUGIN_OWNERS", {"bultin": "acme"}),
    ],
)
def test_w017_a_plugin_that_is_not_installed(settings: Any, setting: str, value: Any) -> None:
    settings.FLOWCONTROL = {setting: value}
    message = only(checks.check_plugin_names(), "W017")
    assert f"called 'bultin', which the setting FLOWCONTROL[\"{setting}\"]" in message.msg
    assert message.hint == "Did you mean “builtin”?"


def test_w017_a_plugin_that_the_environment_disables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCONTROL_DISABLE_PLUGINS", "builtin, zzzz")
    message = only(checks.check_plugin_names(), "W017")
    assert "'zzzz', which the environment variable FLOWCONTROL_DISABLE_PLUGINS" in message.msg
    assert "builtin" in (message.hint or "")


@pytest.mark.parametrize("value", [["builtin"], "builtin", (), None])
def test_w017_plugins_that_are_installed(settings: Any, value: Any) -> None:
    settings.FLOWCONTROL = {"DISABLE_PLUGINS": value, "PLUGIN_OWNERS": {"admin": "acme"}}
    assert checks.check_plugin_names() == []
    settings.FLOWCONTROL = {"PLUGIN_OWNERS": ["sms"]}
    assert checks.check_plugin_names() == []


def test_each_id_is_documented_and_no_other() -> None:
    source = Path(checks.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r"\b[EW]\d{3}\b", source))
    page = (ROOT / "docs" / "reference" / "checks.md").read_text(encoding="utf-8")
    assert used == set(re.findall(r"^\| `flowcontrol\.([EW]\d{3})`", page, re.MULTILINE))
    assert len(used) == 23


class Routed:
    """A router that answers for the models of Flowcontrol: for flows, for others, for reading."""

    def __init__(self, flows: str, others: str, read: str, *, migrate: bool = True) -> None:
        self.flows, self.others, self.read, self.migrate = flows, others, read, migrate

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return self.read if model._meta.app_label == "flowcontrol_core" else None

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        if model._meta.app_label != "flowcontrol_core":
            return None
        return self.flows if model is Flow else self.others

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return self.migrate


def test_a_site_without_routers_needs_no_advice_about_them() -> None:
    assert check_routers() == []


def test_e011_flows_and_runs_in_two_databases(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Routed("default", "runs", "default")]
    assert "to default, runs." in only(check_routers(), "E011").msg


@pytest.mark.parametrize(
    "router", [Routed("gone", "gone", "gone"), Routed(*["default"] * 3, migrate=False)]
)
def test_e012_a_database_without_tables(settings: Any, router: Routed) -> None:
    settings.DATABASE_ROUTERS = [router]
    assert "which has no tables" in only(check_routers(), "E012").msg


def test_w011_runs_that_are_read_from_a_replica(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Routed("default", "default", "replica")]
    assert "from replica, but write them to default" in only(check_routers(), "W011").msg


@pytest.mark.parametrize(
    ("pool", "is_too_small"),
    [
        ({"min_size": 1, "max_size": 1}, True),
        ({"min_size": 1}, True),
        ({"max_size": 2}, False),
        (True, False),
        (False, False),
        ({}, False),
    ],
)
def test_w015_a_pool_without_a_connection_for_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch, pool: Any, is_too_small: bool
) -> None:
    options = connections.settings["default"].get("OPTIONS", {})
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", {**options, "pool": pool})
    if is_too_small:
        assert '{"max_size": 2}' in str(only(check_pool(), "W015").hint)
    else:
        assert check_pool() == []
