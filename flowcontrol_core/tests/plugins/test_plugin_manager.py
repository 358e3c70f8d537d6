"""Each plugin is loaded alone: a broken one is reported, leaves nothing, and harms no other."""

# The fixtures' classes live in conftest.py, which cannot be imported: they are Any here.

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import importlib_metadata
import pytest

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.plugins.discovery import PluginSource, find_plugins
from flowcontrol_core.plugins.hookspecs import hookimpl
from flowcontrol_core.plugins.manager import PluginManager
from flowcontrol_core.plugins.reports import PluginReport, PluginStatus

HEAD = """
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.plugins.hookspecs import hookimpl
from flowcontrol_core.actions.trigger import Trigger

class Send(BaseAction):
    name = "send"
    effects = Effects.NONE
    def run(self, *, run, obj, config): ...

class Receive(Send):
    name = "receive"
"""
GOOD = (
    HEAD
    + """
@hookimpl
def flowcontrol_actions():
    return [Send, Receive]

@hookimpl
def flowcontrol_triggers():
    yield Trigger(name="arrived", label="Arrived")
"""
)
SENDS = (
    HEAD
    + """
@hookimpl
def flowcontrol_actions():
    return [Send]
"""
)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def manager(
    registry: Registry, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PluginManager:
    """Return a manager that sees the distributions of this test only: the others are many."""
    distributions = importlib_metadata.distributions

    def of_this_test() -> Iterable[Any]:
        return distributions(path=[path for path in sys.path if path.startswith(str(tmp_path))])

    monkeypatch.setattr(importlib_metadata, "distributions", of_this_test)
    return PluginManager(registry, find_plugins)


def install(site: Any, name: str, source: str, **options: Any) -> None:
    """Install the distribution ``fake-<name>`` with one plugin of that name."""
    package = f"fake_{name}"
    modules = {f"{package}.__init__": "", f"{package}.plugin": source}
    site.install(f"fake-{name}", plugins=f"{name} = {package}.plugin", modules=modules, **options)


def load(manager: PluginManager) -> dict[str, PluginReport]:
    manager.load()
    return {report.name: report for report in manager.reports}


def load_one(manager: PluginManager, site: Any, source: str) -> PluginReport:
    """Load a plugin ``bad`` beside a good one, which has to stay what it is."""
    install(site, "bad", source)
    install(site, "good", GOOD)
    reports = load(manager)
    assert reports["good"].status is PluginStatus.ACTIVE
    return reports["bad"]


def assert_only_good_is_left(registry: Registry) -> None:
    assert sorted(registry.actions) == ["good.receive", "good.send"]
    assert sorted(registry.triggers) == ["good.arrived"]


def test_good_plugin_is_active_and_registered(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    install(site, "good", GOOD, version="1.2")
    [report] = load(manager).values()
    assert report == PluginReport(
        name="good",
        distribution="fake-good",
        version="1.2",
        module="fake_good.plugin",
        status=PluginStatus.ACTIVE,
        actions=("good.send", "good.receive"),
        triggers=("good.arrived",),
    )
    assert registry.get_action("good.send").distribution == "fake-good"
    assert registry.get_trigger("good.arrived").label == "Arrived"


@pytest.mark.parametrize("value", [("good",), ["other", "good"], "other, good"])
def test_plugin_disabled_by_the_settings_is_not_imported(
    manager: PluginManager, site: Any, settings: Any, value: object
) -> None:
    settings.FLOWCONTROL = {"DISABLE_PLUGINS": value}
    install(site, "good", GOOD)
    report = load(manager)["good"]
    assert report.status is PluginStatus.DISABLED
    assert 'FLOWCONTROL["DISABLE_PLUGINS"]' in report.remedy
    assert "fake_good" not in sys.modules


def test_plugin_disabled_by_the_environment_is_not_imported(
    manager: PluginManager, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWCONTROL_DISABLE_PLUGINS", "bad")
    report = load_one(manager, site, "raise RuntimeError")
    assert report.status is PluginStatus.DISABLED
    assert "environment variable FLOWCONTROL_DISABLE_PLUGINS" in report.remedy
    assert "fake_bad" not in sys.modules


def test_conflict_names_both_distributions_and_loads_neither(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    install(site, "good", GOOD)
    site.install("fake-one", version="1.1", plugins="sms = fake_one", modules={"fake_one": SENDS})
    site.install("fake-two", version="2.2", plugins="sms = fake_two", modules={"fake_two": SENDS})
    manager.load()
    conflicts = [each for each in manager.reports if each.name == "sms"]
    assert [each.status for each in conflicts] == [PluginStatus.CONFLICT] * 2
    for report in conflicts:
        assert "fake-one 1.1 (fake_one) and fake-two 2.2 (fake_two)" in report.reason
        assert report.remedy == (
            'Uninstall fake-one or fake-two, or name the owner in FLOWCONTROL["PLUGIN_OWNERS"].'
        )
    assert not {"fake_one", "fake_two"} & set(sys.modules)
    assert_only_good_is_left(registry)


@pytest.mark.parametrize(
    ("name", "owner", "known"),
    [
        ("builtin", "flowcontrol-actions-builtin", {}),
        ("sms", "acme-sms", {"PLUGIN_OWNERS": {"sms": "Acme_SMS"}}),
    ],
)
@pytest.mark.parametrize("stranger", ["aaa-stranger", "zzz-stranger"])
def test_owner_of_a_name_keeps_it_whoever_else_claims_it(
    manager: PluginManager,
    registry: Registry,
    site: Any,
    settings: Any,
    name: str,
    owner: str,
    known: dict[str, Any],
    stranger: str,
) -> None:
    settings.FLOWCONTROL = known
    site.install(owner, plugins=f"{name} = fake_owner", modules={"fake_owner": SENDS})
    site.install(stranger, plugins=f"{name} = fake_stranger", modules={"fake_stranger": SENDS})
    manager.load()
    reports = {report.distribution: report for report in manager.reports}
    assert reports[owner].status is PluginStatus.ACTIVE
    assert reports[stranger].status is PluginStatus.CONFLICT
    assert reports[stranger].reason == f"The plugin name {name!r} belongs to {owner}."
    assert reports[stranger].remedy == f"Uninstall {stranger}."
    assert registry.get_action(f"{name}.send").distribution == owner
    assert "fake_stranger" not in sys.modules


def test_name_of_a_distribution_of_ours_that_is_not_installed_stays_free(
    manager: PluginManager, site: Any
) -> None:
    site.install("fake-one", plugins="builtin = fake_one", modules={"fake_one": SENDS})
    manager.load()
    assert [report.status for report in manager.reports] == [PluginStatus.CONFLICT]


STEALS = SENDS.replace('name = "send"', 'name = "send"\n    aliases = ("{alias}",)')


@pytest.mark.parametrize("stranger", ["a_stranger", "z_stranger"])
@pytest.mark.parametrize("alias", ["sms.send", "sms.earlier"])
@pytest.mark.parametrize("disabled", [False, True])
def test_alias_takes_no_key_of_another_distribution(
    manager: PluginManager,
    registry: Registry,
    site: Any,
    settings: Any,
    stranger: str,
    alias: str,
    *,
    disabled: bool,
) -> None:
    settings.FLOWCONTROL = {"DISABLE_PLUGINS": ["sms"]} if disabled else {}
    install(site, "sms", SENDS)
    install(site, stranger, STEALS.format(alias=alias))
    reports = load(manager)
    assert reports["sms"].status is (PluginStatus.DISABLED if disabled else PluginStatus.ACTIVE)
    assert reports[stranger].status is PluginStatus.FAILED
    assert "a key of the plugin 'sms' of fake-sms" in reports[stranger].reason
    assert list(registry.actions) == ([] if disabled else ["sms.send"])
    assert not registry.knows_action(alias) or registry.get_action(alias).plugin == "sms"


def test_alias_of_a_plugin_that_is_gone_or_ones_own_is_taken(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    both = {
        "fake_one": STEALS.format(alias="gone.send"),
        "fake_two": STEALS.format(alias="one.text"),
    }
    site.install("fake-both", plugins="one = fake_one\ntwo = fake_two", modules=both)
    assert [report.status for report in load(manager).values()] == [PluginStatus.ACTIVE] * 2
    assert registry.get_action("gone.send").key == "one.send"
    assert registry.get_action("one.text").key == "two.send"


def test_plugin_for_another_core_is_not_imported(
    manager: PluginManager, site: Any, second_site: Any
) -> None:
    second_site.install("flowcontrol-core", version="1.5")
    install(site, "sms", GOOD, requires=("flowcontrol-core>=2",))
    report = load(manager)["sms"]
    assert report.status is PluginStatus.INCOMPATIBLE
    assert report.reason == (
        "It asks for flowcontrol-core>=2, but flowcontrol-core 1.5 is installed."
    )
    assert "fit each other" in report.remedy
    assert "fake_sms" not in sys.modules


BROKEN_IMPORTS = {
    "exception": ("raise ZeroDivisionError('no')", "ZeroDivisionError: no"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax": ("def (", "SyntaxError: invalid syntax"),
    "missing": ("import fake_twilio", "ModuleNotFoundError: No module named 'fake_twilio'"),
    "unprintable": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "Odd: <exception str() failed>",
    ),
}


@pytest.mark.parametrize("case", BROKEN_IMPORTS)
def test_plugin_that_cannot_be_imported_fails_alone(
    manager: PluginManager,
    registry: Registry,
    site: Any,
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    source, reason = BROKEN_IMPORTS[case]
    report = load_one(manager, site, source)
    assert report.status is PluginStatus.FAILED
    assert reason in report.reason
    assert "fake_bad" in report.traceback
    assert report.remedy == "Put 'bad' into FLOWCONTROL_DISABLE_PLUGINS or uninstall fake-bad."
    assert_only_good_is_left(registry)
    [record] = [each for each in caplog.records if each.name == "flowcontrol.plugins"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is None
    assert "\n" not in record.getMessage()


def test_distribution_whose_metadata_is_damaged_is_a_row(manager: PluginManager, site: Any) -> None:
    install(site, "good", GOOD)
    info = site.install("fake-bad", plugins="bad = fake_bad.plugin")
    (info / "METADATA").write_bytes(b"Name: fake-b\xff\n")
    reports = load(manager)
    assert reports.pop("good").status is PluginStatus.ACTIVE
    [report] = reports.values()
    assert (report.status, report.is_broken) == (PluginStatus.FAILED, True)
    assert "Its metadata cannot be read: UnicodeDecodeError" in report.reason
    assert report.remedy == f"Install {info.name} anew, or remove it."


def test_keyboard_interrupt_is_not_swallowed(manager: PluginManager, site: Any) -> None:
    install(site, "bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        manager.load()


FILTER = """
from flowcontrol.expressions import ExpressionFilter, ExpressionFunction
@hookimpl
"""
REFUSED_HOOKS = {
    "misspelled": (
        "@hookimpl\ndef flowcontrol_action(): return []",
        "unknown hook flowcontrol_action. Did you mean “flowcontrol_actions”?",
    ),
    "unknown": (
        "@hookimpl\ndef celebrate(): return []",
        "The hooks are flowcontrol_actions, flowcontrol_filters, flowcontrol_ready, flow",
    ),
    "misspelled specname": (
        "@hookimpl(specname='flowcontrol_trigger')\ndef mine(): return []",
        "Did you mean “flowcontrol_triggers”?",
    ),
    "parameter": ("@hookimpl\ndef flowcontrol_actions(registry): return []", "registry"),
    "undecorated": ("def flowcontrol_actions(): return []", "is not decorated"),
    "none at all": ("", "implements no hook"),
    "asynchronous": ("@hookimpl\nasync def flowcontrol_ready(): ...", "is asynchronous"),
    "wrapper": ("@hookimpl(wrapper=True)\ndef flowcontrol_actions(): yield", "is a wrapper"),
    "nothing": ("@hookimpl\ndef flowcontrol_actions(): ...", "returns nothing: return a list"),
    "one class": ("@hookimpl\ndef flowcontrol_actions(): return Send", "return a list"),
    "one trigger": (
        "@hookimpl\ndef flowcontrol_triggers(): return Trigger(name='a', label='A')",
        "return a list",
    ),
    "no filter": (
        "@hookimpl\ndef flowcontrol_filters(): return [str.upper]",
        "must be an instance of flowcontrol.expressions.ExpressionFilter",
    ),
    "filter of Django": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFilter('lower', str)]",
        "'bad.lower' has a name that belongs to Django",
    ),
    "filter that Django has and expressions do not": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFilter('safe', str)]",
        "'bad.safe' has a name that belongs to Django",
    ),
    "filter of many arguments": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFilter('x', lambda a, b, c: a)]",
        "at most one argument, not (a, b, c)",
    ),
    "filter without a name": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFilter('A b', str)]",
        "'bad.A b' is not a name",
    ),
    "function that cannot be called": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFunction('x', 3)]",
        "cannot be called",
    ),
    "function of any arguments": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFunction('x', lambda *a: a)]",
        "'x' takes *a",
    ),
    "function with unknown parameters": (
        f"{FILTER}def flowcontrol_filters(): return [ExpressionFunction('x', max)]",
        "Wrap it in a function",
    ),
    "asynchronous function": (
        f"async def f(a): ...\n{FILTER}def flowcontrol_filters(): yield ExpressionFunction('x', f)",
        "is asynchronous",
    ),
    "no action": ("@hookimpl\ndef flowcontrol_actions(): return [int]", "not an action"),
    "raises": ("@hookimpl\ndef flowcontrol_actions(): return [1 / 0]", "ZeroDivisionError"),
    "exits": ("@hookimpl\ndef flowcontrol_actions(): raise SystemExit(4)", "SystemExit: 4"),
}


@pytest.mark.parametrize("case", REFUSED_HOOKS)
def test_hook_that_would_do_nothing_or_harm_is_refused(
    manager: PluginManager, registry: Registry, site: Any, case: str
) -> None:
    source, reason = REFUSED_HOOKS[case]
    report = load_one(manager, site, HEAD + source)
    assert report.status is PluginStatus.FAILED
    assert reason in report.reason
    assert_only_good_is_left(registry)


def test_hook_of_a_later_core_may_be_marked_as_optional(manager: PluginManager, site: Any) -> None:
    later = "@hookimpl(optionalhook=True)\ndef flowcontrol_panels(): return []\n"
    assert load_one(manager, site, SENDS + later).status is PluginStatus.ACTIVE


def test_filters_and_functions_of_a_plugin_are_registered_and_go_with_it(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    filters = f"""{HEAD}{FILTER}def flowcontrol_filters():
    yield ExpressionFilter("shout", lambda text: text)
    yield ExpressionFunction("pick", lambda a, b=None: a)
"""
    failing = f"{filters}@hookimpl\ndef flowcontrol_ready(): raise ValueError"
    install(site, "alpha", failing.replace("shout", "roar").replace("pick", "take"))
    install(site, "beta", filters)
    install(site, "gamma", filters.replace("pick", "other"))
    reports = load(manager)
    assert reports["beta"].filters == ("|beta.shout", "beta.pick()")
    assert reports["gamma"].status is PluginStatus.ACTIVE
    # Where two plugins have a name, neither has it alone.
    known = ["pick()", "other()", "|beta.shout", "|gamma.shout", "beta.pick()"]
    gone = ["|shout", "|roar", "take()", "|alpha.roar"]
    assert [key for key in known + gone if registry.knows(key)] == known


def test_plugin_that_fails_half_way_leaves_nothing(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    half = GOOD + "    yield Trigger(name='Bad Name', label='')"
    report = load_one(manager, site, half)
    assert report.status is PluginStatus.FAILED
    assert "'bad.Bad Name'" in report.reason
    assert (report.actions, report.triggers) == ((), ())
    assert_only_good_is_left(registry)


def test_plugin_that_claims_the_key_of_another_fails_and_names_both(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    install(site, "good", GOOD)
    thief = SENDS.replace('name = "send"', 'name = "send"\n    aliases = ("good.send",)')
    install(site, "thief", thief)
    report = load(manager)["thief"]
    assert report.status is PluginStatus.FAILED
    assert "fake-good" in report.reason
    assert "fake-thief" in report.reason
    assert_only_good_is_left(registry)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("my-sms = fake_odd", "first part of keys"),
        ("sms = fake_odd:hooks", "must name a module"),
        ("sms = fake_odd [extra]", "must name a module"),
    ],
)
def test_entry_point_that_is_not_a_plugin_is_refused_before_import(
    manager: PluginManager, site: Any, line: str, reason: str
) -> None:
    site.install("fake-odd", plugins=line, modules={"fake_odd": SENDS})
    [report] = load(manager).values()
    assert report.status is PluginStatus.FAILED
    assert reason in report.reason
    assert "fake_odd" not in sys.modules


def test_one_module_under_two_names_is_loaded_under_the_first(
    manager: PluginManager, registry: Registry, site: Any
) -> None:
    site.install("fake-t", plugins="a = fake_twice\nb = fake_twice", modules={"fake_twice": SENDS})
    reports = load(manager)
    assert reports["a"].status is PluginStatus.ACTIVE
    assert reports["b"].status is PluginStatus.FAILED
    assert "is the plugin 'a' already" in reports["b"].reason
    assert list(registry.actions) == ["a.send"]


READY = (
    GOOD
    + """
called = []

@hookimpl
def flowcontrol_ready():
    import flowcontrol_core.plugins.manager
    called.append(1)
"""
)


def test_ready_is_called_once_when_all_plugins_are_registered(
    registry: Registry, manager: PluginManager, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(sys, "fake_seen", lambda: seen.append(sorted(registry.actions)), False)
    ready = "\n@hookimpl\ndef flowcontrol_ready():\n    import sys; sys.fake_seen()\n"
    install(site, "early", SENDS + ready)
    install(site, "late", SENDS)
    load(manager)
    load(manager)
    assert seen == [["early.send", "late.send"]]


@pytest.mark.parametrize("fault", ["raise ValueError('no signal')", "raise SystemExit(5)"])
def test_plugin_that_fails_when_ready_is_taken_back_and_the_others_stay(
    manager: PluginManager, registry: Registry, site: Any, fault: str
) -> None:
    report = load_one(manager, site, f"{GOOD}\n@hookimpl\ndef flowcontrol_ready(): {fault}")
    assert report.status is PluginStatus.FAILED
    assert (report.actions, report.triggers) == ((), ())
    assert "flowcontrol_ready" in report.traceback
    assert_only_good_is_left(registry)
    assert registry.get_trigger("good.arrived").key == "good.arrived"
    assert registry.get_action("good.send").distribution == "fake-good"


def test_app_of_a_plugin_that_is_not_installed_is_named(manager: PluginManager, site: Any) -> None:
    install(site, "audit", "raise RuntimeError", apps="audit = fake_audit.apps.AuditConfig")
    report = load(manager)["audit"]
    assert report.status is PluginStatus.NEEDS_APP
    assert report.remedy == (
        "Add fake_audit.apps.AuditConfig to INSTALLED_APPS through plugin_apps()."
    )
    assert "fake_audit" not in sys.modules


CONFIG = """
from django.apps import AppConfig
class AuditConfig(AppConfig):
    name = "fake_audit"
"""


@pytest.mark.parametrize("offered", ["fake_audit", "fake_audit.apps.AuditConfig"])
@pytest.mark.parametrize(
    "installed", ["fake_audit", "fake_audit.apps.AuditConfig", "fake_project.Replaced"]
)
def test_plugin_whose_app_is_installed_is_loaded(
    manager: PluginManager, site: Any, settings: Any, offered: str, installed: str
) -> None:
    install(site, "audit", SENDS, apps=f"audit = {offered}")
    site.write("fake_audit.apps", CONFIG)
    site.write("fake_project", CONFIG.replace("AuditConfig", "Replaced"))
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, installed]
    assert load(manager)["audit"].status is PluginStatus.ACTIVE


MODEL = """
from django.db import models
class Entry(models.Model): ...
"""


def test_plugin_that_imports_models_of_no_installed_app_needs_the_app(
    manager: PluginManager, site: Any
) -> None:
    install(site, "log", "import fake_log.models")
    site.write("fake_log.models", MODEL)
    report = load(manager)["log"]
    assert report.status is PluginStatus.NEEDS_APP
    assert report.remedy.startswith("Add fake_log to INSTALLED_APPS.")
    assert "explicit app_label" in report.traceback


def test_discovery_that_fails_is_reported_and_not_raised(registry: Registry) -> None:
    def unreadable() -> list[PluginSource]:
        raise OSError("disk")

    manager = PluginManager(registry, unreadable)
    manager.load()
    [report] = manager.reports
    assert report.status is PluginStatus.FAILED
    assert report.reason == "OSError: disk"


def test_thread_that_comes_second_waits_until_the_first_has_loaded(registry: Registry) -> None:
    seen: list[int] = []
    calls: list[int] = []
    arrived = threading.Event()

    def second() -> None:
        arrived.set()
        managers[0].load()
        seen.append(len(managers[0].reports))

    thread = threading.Thread(target=second)

    def find() -> list[PluginSource]:
        calls.append(1)
        thread.start()
        assert arrived.wait(10)
        return [PluginSource("odd", "fake_nowhere")]

    managers = [PluginManager(registry, find)]
    managers[0].load()
    thread.join(10)
    assert (seen, calls) == ([1], [1])


def test_load_called_while_loading_gets_back_at_once(registry: Registry) -> None:
    calls: list[int] = []

    def find() -> list[PluginSource]:
        calls.append(1)
        managers[0].load()
        return []

    managers = [PluginManager(registry, find)]
    managers[0].load()
    assert calls == [1]


class Wave(BaseAction):
    name = "wave"
    effects = Effects.NONE

    def run(self, *, run: Any, obj: Any, config: Any) -> None: ...


@hookimpl
def flowcontrol_actions() -> list[type[BaseAction]]:
    return [Wave]


def test_module_can_be_added_by_hand(registry: Registry, manager: PluginManager) -> None:
    module = ModuleType("fake_by_hand")
    module.flowcontrol_actions = flowcontrol_actions  # type: ignore[attr-defined]
    assert manager.add_module(module, "hand").actions == ("hand.wave",)
    assert list(registry.actions) == ["hand.wave"]
    again = manager.add_module(module, "hand")
    assert again.status is PluginStatus.FAILED
    assert "used twice" in again.reason
    assert list(registry.actions) == ["hand.wave"]
    assert [report.status for report in manager.reports] == [
        PluginStatus.ACTIVE,
        PluginStatus.FAILED,
    ]


@pytest.mark.parametrize("hook", ["flowcontrol_triggers", "flowcontrol_ready"])
def test_plugin_that_failed_holds_its_name_no_longer(registry: Registry, hook: str) -> None:
    manager = PluginManager(registry)

    @hookimpl(specname=hook)
    def fails() -> None:
        raise LookupError

    module = ModuleType("fake_by_hand")
    module.flowcontrol_actions = flowcontrol_actions  # type: ignore[attr-defined]
    module.fails = fails  # type: ignore[attr-defined]
    assert manager.add_module(module, "hand").status is PluginStatus.FAILED
    assert not registry.actions
    del module.fails
    assert manager.add_module(module, "hand").status is PluginStatus.ACTIVE
    assert list(registry.actions) == ["hand.wave"]


def test_what_a_failing_ready_registers_itself_is_taken_back(registry: Registry) -> None:
    @hookimpl
    def flowcontrol_ready() -> None:
        registry.add_action(Wave, plugin="elsewhere")
        raise LookupError

    module = ModuleType("fake_by_hand")
    module.flowcontrol_ready = flowcontrol_ready  # type: ignore[attr-defined]
    assert PluginManager(registry).add_module(module, "hand").status is PluginStatus.FAILED
    assert not registry.actions
