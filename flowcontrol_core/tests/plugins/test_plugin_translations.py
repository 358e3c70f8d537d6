"""A plugin that is not a Django app ships its translations in a folder beside its module."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils.translation import gettext, override

from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.plugins.discovery import PluginSource, find_plugins
from flowcontrol_core.plugins.manager import PluginManager
from flowcontrol_core.plugins.reports import PluginStatus

PLUGIN = """
from django.utils.translation import gettext_lazy as _
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.plugins.hookspecs import hookimpl

class Send(BaseAction):
    name = "send"
    verbose_name = _("Send a pigeon")
    effects = Effects.NONE
    def run(self, *, run, obj, config): ...

@hookimpl
def flowcontrol_actions():
    return [Send]
"""
HEAD = "Content-Type: text/plain; charset=UTF-8\n"


def write_catalogue(folder: Path, language: str, texts: dict[str, str]) -> None:
    """Write a compiled catalogue, as msgfmt does."""
    pairs = sorted((key.encode(), text.encode()) for key, text in {"": HEAD, **texts}.items())
    count, data, table = len(pairs), b"", []
    start = 28 + 16 * len(pairs)
    for column in (0, 1):
        for pair in pairs:
            table.append(struct.pack("<II", len(pair[column]), start + len(data)))
            data += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 28 + 16 * count)
    file = folder / "locale" / language / "LC_MESSAGES" / "django.mo"
    file.parent.mkdir(parents=True)
    file.write_bytes(head + b"".join(table) + data)


@pytest.fixture
def registry(site: Any, settings: Any) -> Registry:
    """Return what is registered after a plain plugin with a German catalogue was loaded."""
    # pytest-django restores the setting, and Django then forgets its catalogues.
    settings.LOCALE_PATHS = []
    modules = {"fake_pigeon.__init__": "", "fake_pigeon.plugin": PLUGIN}
    site.install("fake-pigeon", plugins="pigeon = fake_pigeon.plugin", modules=modules)
    texts = {"Send a pigeon": "Eine Taube schicken"}
    write_catalogue(site.folder / "fake_pigeon", "de", texts)
    return Registry()


def load(registry: Registry) -> None:
    def pigeons() -> list[PluginSource]:
        return [each for each in find_plugins() if each.name == "pigeon"]

    manager = PluginManager(registry, pigeons)
    manager.load()
    [report] = manager.reports
    assert report.status is PluginStatus.ACTIVE, report.traceback


def label(registry: Registry) -> str:
    return str(registry.get_action("pigeon.send").action.verbose_name)


def test_the_label_of_a_plain_plugin_shows_in_the_language_of_the_reader(
    registry: Registry,
) -> None:
    with override("de"):
        # The catalogue of the language has been read by now: it is read again.
        assert gettext("Send a pigeon") == "Send a pigeon"
    load(registry)
    with override("de"):
        assert label(registry) == "Eine Taube schicken"
    with override("de-at"):
        assert label(registry) == "Eine Taube schicken"
    with override("en"):
        assert label(registry) == "Send a pigeon"


def test_the_texts_of_the_project_go_before_those_of_a_plain_plugin(
    registry: Registry, settings: Any, tmp_path: Path
) -> None:
    write_catalogue(tmp_path, "de", {"Send a pigeon": "Taube losschicken"})
    settings.LOCALE_PATHS = [str(tmp_path / "locale")]
    load(registry)
    with override("de"):
        assert label(registry) == "Taube losschicken"


def test_a_plugin_that_failed_adds_no_texts(registry: Registry, site: Any) -> None:
    site.write("fake_pigeon.plugin", f"{PLUGIN}\nraise ZeroDivisionError")
    manager = PluginManager(registry, lambda: [PluginSource("pigeon", "fake_pigeon.plugin")])
    manager.load()
    assert manager.reports[0].status is PluginStatus.FAILED
    assert django_settings.LOCALE_PATHS == []


def test_folder_beside_a_single_module_is_not_its_own(site: Any, settings: Any) -> None:
    settings.LOCALE_PATHS = []
    site.install("fake-crow", plugins="pigeon = fake_crow", modules={"fake_crow": PLUGIN})
    write_catalogue(site.folder, "de", {"Send a pigeon": "Eine Taube schicken"})
    load(Registry())
    assert settings.LOCALE_PATHS == []


def test_plugin_with_a_damaged_catalogue_is_reported_and_breaks_no_page(
    registry: Registry, site: Any
) -> None:
    (file,) = site.folder.glob("fake_pigeon/locale/*/*/django.mo")
    file.write_bytes(b"garbage")
    manager = PluginManager(
        registry, lambda: [each for each in find_plugins() if each.name == "pigeon"]
    )
    manager.load()
    assert manager.reports[0].is_broken
    with override("de"):
        assert gettext("Save")
