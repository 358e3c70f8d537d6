"""Which plugins are installed is read from metadata, and nothing is imported for it."""

# The fixtures' classes live in conftest.py, which cannot be imported: they are Any here.

from __future__ import annotations

import subprocess
import sys
from typing import Any

import importlib_metadata
import pytest

from flowcontrol_core.plugins.discovery import (
    CORE,
    PluginSource,
    disabled_by_environment,
    find_conflicts,
    find_plugins,
    incompatibility,
    installed_version,
    plugin_apps,
)

EXPLODES = "raise RuntimeError('imported')"


def fakes() -> list[PluginSource]:
    return [source for source in find_plugins() if source.distribution.startswith("fake")]


def fake_apps(**options: Any) -> list[str]:
    return [app for app in plugin_apps(**options) if app.startswith("fake_")]


def run_python(code: str) -> str:
    """Run code in a new interpreter, for what an import does."""
    env = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    return done.stdout.strip()


def test_plugins_are_found_in_the_order_of_their_names(site: Any) -> None:
    site.install("fake-b", plugins="bee = fake_b.plugin", version="2.1")
    site.install("fake-a", plugins="sea = fake_a.plugin\nant = fake_a.other")
    assert [(each.name, each.module, each.distribution, each.version) for each in fakes()] == [
        ("ant", "fake_a.other", "fake-a", "1.0"),
        ("bee", "fake_b.plugin", "fake-b", "2.1"),
        ("sea", "fake_a.plugin", "fake-a", "1.0"),
    ]


def test_plugin_carries_its_requirements_and_its_app(site: Any) -> None:
    site.install(
        "fake-audit",
        plugins="audit = fake_audit.plugin",
        apps="audit = fake_audit.apps.AuditConfig\nother = fake_other",
        requires=("flowcontrol-core>=0.1", "Django"),
    )
    [source] = fakes()
    assert source.requires == ("flowcontrol-core>=0.1", "Django")
    assert source.app == "fake_audit.apps.AuditConfig"


COUNT = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from flowcontrol_core.plugins.discovery import find_plugins, plugin_apps
assert "fake-audit" in [source.distribution for source in find_plugins()]
plugin_apps(), find_plugins()
print(sum("fake" in path and path.endswith("METADATA") for path in opened))
"""


@pytest.mark.parametrize("requires", [(), ("flowcontrol-core>=0.1", "Django")])
def test_the_metadata_of_a_plugin_is_read_once(site: Any, requires: tuple[str, ...]) -> None:
    site.install("fake-audit", plugins="audit = fake_audit.plugin", requires=requires)
    assert run_python(COUNT) == "1"


def test_finding_plugins_and_apps_imports_nothing(site: Any) -> None:
    site.install(
        "fake-audit",
        plugins="audit = fake_audit.plugin",
        apps="audit = fake_audit",
        modules={"fake_audit.__init__": EXPLODES, "fake_audit.plugin": EXPLODES},
    )
    assert [each.name for each in fakes()] == ["audit"]
    assert fake_apps() == ["fake_audit"]
    assert "fake_audit" not in sys.modules


def test_settings_module_may_ask_for_plugin_apps_before_django_is_imported() -> None:
    code = (
        "import sys; from flowcontrol_core.plugins.discovery import plugin_apps; plugin_apps();"
        "print([name for name in sys.modules if name.split('.')[0] == 'django'])"
    )
    assert run_python(code) == "[]"


def test_hookimpl_is_imported_without_django_and_without_the_rest_of_the_core() -> None:
    code = (
        "import sys; from flowcontrol_core.plugins.hookspecs import hookimpl;"
        "print(sorted(name for name in sys.modules if name.startswith(('django', 'flowc'))))"
    )
    expected = [
        "flowcontrol_core",
        "flowcontrol_core.plugins",
        "flowcontrol_core.plugins.discovery",
        "flowcontrol_core.plugins.hookspecs",
    ]
    assert run_python(code) == str(expected)


def test_plugin_apps_are_sorted_by_plugin_and_named_once(site: Any) -> None:
    site.install("fake-z", apps="a = fake_z.apps.ZConfig\nz = fake_shared")
    site.install("fake-y", apps="b = fake_y\nc = fake_shared")
    assert fake_apps() == ["fake_z.apps.ZConfig", "fake_y", "fake_shared"]


def test_app_in_the_notation_of_entry_points_becomes_a_dotted_path(site: Any) -> None:
    site.install("fake-z", apps="z = fake_z.apps:ZConfig")
    assert fake_apps() == ["fake_z.apps.ZConfig"]


def test_excluded_plugins_add_no_app(site: Any) -> None:
    site.install("fake-z", apps="one = fake_one\ntwo = fake_two")
    assert fake_apps(exclude=["one"]) == ["fake_two"]


def test_exclude_refuses_a_single_string() -> None:
    with pytest.raises(TypeError, match=r"exclude=\['sms'\]"):
        plugin_apps(exclude="sms")


def test_plugins_disabled_by_the_environment_add_no_app(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("fake-z", apps="one = fake_one\ntwo = fake_two\nthree = fake_three")
    monkeypatch.setenv("FLOWCONTROL_DISABLE_PLUGINS", " one ,, three")
    assert disabled_by_environment() == {"one", "three"}
    assert fake_apps() == ["fake_two"]


def test_distribution_visible_twice_counts_once_and_as_the_import_sees_it(
    site: Any, second_site: Any
) -> None:
    site.install("fake-sms", plugins="sms = fake_sms.plugin\nold = fake_sms.old")
    second_site.install("Fake_SMS", version="2.0", plugins="sms = fake_sms.plugin")
    found = [each for each in find_plugins() if each.distribution.lower().startswith("fake")]
    assert [(each.name, each.version) for each in found] == [("sms", "2.0")]
    assert find_conflicts(found) == {}


def test_two_distributions_with_the_same_plugin_name_are_a_conflict(site: Any) -> None:
    site.install("fake-sms", plugins="sms = fake_sms.plugin")
    site.install("fake-other", plugins="sms = fake_other.plugin\nmail = fake_other.mail")
    conflicts = find_conflicts(fakes())
    assert {name: [str(each) for each in rivals] for name, rivals in conflicts.items()} == {
        "sms": ["fake-other 1.0 (fake_other.plugin)", "fake-sms 1.0 (fake_sms.plugin)"]
    }


@pytest.mark.parametrize("damage", ["no metadata", "metadata", "bytes", "no equals sign"])
def test_broken_metadata_of_one_distribution_hides_no_other(site: Any, damage: str) -> None:
    site.install("fake-good", plugins="good = fake_good.plugin")
    info = site.install("fake-bad", plugins="bad = fake_bad.plugin")
    if damage == "no metadata":
        (info / "METADATA").unlink()
    elif damage == "metadata":
        (info / "METADATA").write_bytes(b"Metadata-Version: 2.1\nName: fake-b\xff\n")
    elif damage == "bytes":
        (info / "entry_points.txt").write_bytes(b"[flowcontrol.plugins]\n\xff = x\n")
    else:
        (info / "entry_points.txt").write_text("[flowcontrol.plugins]\nnonsense\n")
    found = {each.name: each for each in fakes()}
    [damaged] = found.keys() - {"good"}
    assert (found["good"].problem, found[damaged].module) == ("", "")
    assert damaged in ("fake-bad", info.name)
    assert "Its metadata cannot be read" in found[damaged].problem


@pytest.mark.parametrize(
    "requires",
    [
        (),
        ("Django>=99",),
        ("flowcontrol-core",),
        ("flowcontrol-core>=1.4,<2",),
        ("Flowcontrol_Core>=1.4",),
        ("flowcontrol-core>=9; python_version < '3'",),
        ("flowcontrol-core[celery]>=9; extra == 'celery'",),
        ("flowcontrol-core-extras>=9",),
    ],
)
def test_plugin_that_asks_for_what_is_installed_is_compatible(
    requires: tuple[str, ...],
) -> None:
    source = PluginSource("sms", "fake_sms", requires=requires)
    assert incompatibility(source, "1.5.0b1") == ""


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        (
            ("Django", "flowcontrol-core>=2"),
            "asks for flowcontrol-core>=2, but flowcontrol-core 1.5.0b1",
        ),
        (("flowcontrol_core<1.5; python_version > '3'",), "asks for flowcontrol-core<1.5, but"),
        (("flowcontrol-core>=1", "flowcontrol-core<1.5"), "asks for flowcontrol-core<1.5, but"),
        (("flowcontrol-core=>1",), "requirement 'flowcontrol-core=>1' cannot be read"),
    ],
)
def test_plugin_that_asks_for_another_core_is_incompatible(
    requires: tuple[str, ...], reason: str
) -> None:
    source = PluginSource("sms", "fake_sms", requires=requires)
    assert reason in incompatibility(source, "1.5.0b1")


def test_core_in_a_source_tree_without_metadata_refuses_no_plugin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        raise importlib_metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib_metadata, "version", version)
    source = PluginSource("sms", "fake_sms", requires=("flowcontrol-core>=99",))
    assert incompatibility(source, installed_version(CORE)) == ""


def test_the_version_of_the_core_is_that_of_its_distribution(second_site: Any) -> None:
    second_site.install("flowcontrol-core", version="3.2")
    source = PluginSource("sms", "fake_sms", requires=("flowcontrol-core<3",))
    assert "flowcontrol-core 3.2 is installed" in incompatibility(source, installed_version(CORE))
