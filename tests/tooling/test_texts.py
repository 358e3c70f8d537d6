"""Every text that a person reads is marked for translation, and `makemessages` finds it.

What only developers read (registration, system checks, logs, the command line) is plain English, as
in Django itself.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tests.cases import each
from tests.databases import ROOT
from tests.tooling.catalogues import extract_messages, messages, texts_of
from tests.tooling.sources import SOURCES, at, modules, read
from tests.tooling.texts import Module, find_sinks

#: Modules whose texts are for developers, or that stand between the texts and Django, and why.
EXEMPT = {
    "flowcontrol_core/src/flowcontrol_core/errors.py": "the seam itself, and what developers read",
    "flowcontrol_core/src/flowcontrol_core/testing": "tests are read by developers",
    "flowcontrol_core/src/flowcontrol_core/management": "the command line is plain English",
    "plugins_example/flowcontrol_example_sms": "the first action of the README, in fifteen lines",
}
TEMPLATES = sorted(path for folder in SOURCES for path in folder.glob("**/templates/**/*.html"))

TAG_OR_VALUE = re.compile(
    r"(?s){% *(comment|blocktrans\w*)\b.*?{% *end\1 *%}"
    r"|{% *block (?:bodyclass|enctype).*?endblock *%}|{#.*?#}|{%.*?%}|{{.*?}}",
)
UNSEEN = re.compile(r"(?is)<(script|style|code)\b.*?</\1>|<!--.*?-->|<!doctype[^>]*>")
READ_ALOUD = re.compile(r"\b(?:title|alt|placeholder|aria-label)=\"([^\"]*)\"")
ELEMENT = re.compile(r"<[^>]*>", re.DOTALL)
WORD = re.compile(r"(?<!&)\b[A-Za-z]{2,}\b(?!;)")
MSGID = re.compile(r'^msg(?:ctxt|id|id_plural) ((?:".*"\n)+)', re.MULTILINE)


ALL = [
    Module(path)
    for folder in SOURCES
    for path in modules(folder)
    if not path.relative_to(ROOT).as_posix().startswith(tuple(EXEMPT))
]


def package(module: Module) -> str:
    """Return the package in which a function can hand on messages: `flowcontrol_core/document`."""
    parts = module.path.relative_to(ROOT).parts
    return "/".join(parts[parts.index("src") + 1 :][:2])


def places(module: Module, nodes: Iterator[ast.expr]) -> list[str]:
    return [f"{at(module.path, node.lineno)}: {ast.unparse(node)[:90]}" for node in nodes]


def test_what_marks_a_text_has_a_name_that_makemessages_knows() -> None:
    wrong = [
        f"{at(module.path, alias.lineno)}: {alias.name} as {alias.asname}"
        for module in ALL
        for alias in module.imported_markers
        if alias.asname not in {None, "_"} or (alias.asname and "ngettext" in alias.name)
    ]
    assert not wrong, "\n".join(wrong)


def test_marked_text_is_a_literal() -> None:
    wrong = [
        f"{at(module.path, call.lineno)}: {ast.unparse(call)[:90]}"
        for module in ALL
        for call, texts in module.marked()
        if not all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in texts)
    ]
    assert not wrong, "\n".join(wrong)


def test_messages_of_errors_that_people_read_are_marked() -> None:
    wrong = []
    for _, found in groupby(sorted(ALL, key=package), key=package):
        members = list(found)
        sinks = find_sinks(members)
        for module in members:
            wrong += places(module, module.bare_messages(sinks))
    assert not wrong, "\n".join(wrong)


def test_labels_help_and_names_are_marked() -> None:
    wrong = [line for module in ALL for line in places(module, module.bare_labels())]
    assert not wrong, "\n".join(wrong)


@each("template", TEMPLATES)
def test_words_of_a_template_are_marked(template: Path) -> None:
    text = UNSEEN.sub("", TAG_OR_VALUE.sub("", read(template)))
    seen = [*READ_ALOUD.findall(text), *ELEMENT.split(text)]
    words = [part.strip() for part in seen if WORD.search(part)]
    assert not words, at(template, 1)


def catalogue_of(source: Path, folder: Path) -> set[str]:
    """Return the texts that `makemessages` finds in a copy of a source."""
    if shutil.which("xgettext") is None:
        required = {"CI", "FLOWCONTROL_REQUIRE_SERVICES"} & os.environ.keys()
        assert not required, "the package gettext is not installed"
        pytest.skip("xgettext is not installed")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "locale"))
    (folder / "locale").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale=de", "--no-location"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr
    catalogue = (folder / "locale/de/LC_MESSAGES/django.po").read_text(encoding="utf-8")
    return {ast.literal_eval(f"({text})") for text in MSGID.findall(catalogue)}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_makemessages_finds_each_text(source: Path, tmp_path: Path) -> None:
    marked = {
        text.value
        for path in modules(source)
        for _, texts in Module(path).marked()
        for text in texts
        if isinstance(text, ast.Constant)
    }
    if marked:
        found = catalogue_of(source, tmp_path / "source")
        assert marked <= found
        own = messages(extract_messages(source))
        assert found - {""} == {
            text for each in own for text in [*texts_of(each.id), each.context]
        } - {None}
