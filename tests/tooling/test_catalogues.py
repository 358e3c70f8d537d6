"""Every text is translated, in the compiled catalogues that the wheels carry."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from hatchling.builders.wheel import WheelBuilder

from tests.tooling.catalogues import (
    LANGUAGES,
    catalogue_path,
    extract_messages,
    messages,
    new_catalogue,
    read_catalogue,
    read_compiled,
    remember,
    texts_of,
    untranslated,
)
from tests.tooling.sources import SOURCES

TEXTS = {source: extract_messages(source) for source in SOURCES}
CATALOGUES = [
    pytest.param(source, language, id=f"{source.parent.name}-{language}")
    for source, language in product(SOURCES, LANGUAGES)
    if messages(TEXTS[source])
]
every_catalogue = pytest.mark.parametrize(("source", "language"), CATALOGUES)

#: What a text has to take over as it is: what is filled in, and elements.
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z%]|\{\w*\}|</?\w+[^>]*>")


@every_catalogue
def test_catalogue_has_the_texts_of_the_sources(source: Path, language: str) -> None:
    found = {(texts_of(message.id), message.context) for message in messages(TEXTS[source])}
    known = read_catalogue(catalogue_path(source, language), language)
    assert {(texts_of(each.id), each.context) for each in messages(known)} == found, "make messages"


@every_catalogue
def test_every_text_is_translated_for_certain(source: Path, language: str) -> None:
    known = read_catalogue(catalogue_path(source, language), language)
    assert not [message.id for message in untranslated(known)]
    assert not [message.id for message in messages(known) if message.fuzzy]


@every_catalogue
def test_translations_take_over_what_is_filled_in(source: Path, language: str) -> None:
    known = read_catalogue(catalogue_path(source, language), language)
    wrong = [
        text
        for message in messages(known)
        for original, text in zip(texts_of(message.id), texts_of(message.string), strict=True)
        if Counter(PLACEHOLDER.findall(text)) != Counter(PLACEHOLDER.findall(original))
    ]
    assert not wrong, "\n".join(wrong)


@every_catalogue
def test_translations_begin_and_end_like_the_text(source: Path, language: str) -> None:
    """Texts are put together with others: spaces and stops at their ends count."""
    ends = re.compile(r"^(\s*).*?([.:…?!]?\s*)$", re.DOTALL)
    known = read_catalogue(catalogue_path(source, language), language)
    wrong = [
        text
        for message in messages(known)
        for original, text in zip(texts_of(message.id), texts_of(message.string), strict=True)
        if ends.sub(r"\1|\2", text) != ends.sub(r"\1|\2", original)
    ]
    assert not wrong, "\n".join(wrong)


@every_catalogue
def test_compiled_catalogue_says_what_the_catalogue_says(source: Path, language: str) -> None:
    path = catalogue_path(source, language)
    written = {
        (texts_of(message.id), message.context): texts_of(message.string)
        for message in messages(read_catalogue(path, language))
    }
    compiled = {
        (texts_of(message.id), message.context): texts_of(message.string)
        for message in messages(read_compiled(path))
    }
    assert compiled == written, "make messages"


@every_catalogue
def test_wheel_carries_the_compiled_catalogue(source: Path, language: str) -> None:
    packed = {Path(file.path) for file in WheelBuilder(str(source.parent)).recurse_included_files()}
    path = catalogue_path(source, language)
    assert {path, path.with_suffix(".mo")} <= packed


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_of_several_distributions_is_translated_alike(language: str) -> None:
    """Django keeps one translation of a message: that of the app that stands first."""
    known = defaultdict(set)
    for source in SOURCES:
        for message in messages(read_catalogue(catalogue_path(source, language), language)):
            known[texts_of(message.id), message.context].add(texts_of(message.string))
    assert not {message: texts for message, texts in known.items() if len(texts) > 1}


def test_a_text_that_comes_back_has_its_translation(tmp_path: Path) -> None:
    """Branches are merged in any order."""
    template, path = Catalog(), tmp_path / "django.po"
    template.add(("run", "runs"))
    catalogue = new_catalogue("de")
    catalogue.add(("run", "runs"), ("Lauf", "Läufe"))
    for texts in (Catalog(), template):
        remember(catalogue)
        catalogue.update(texts, no_fuzzy_matching=True)
        with path.open("wb") as file:
            write_po(file, catalogue)
        catalogue = read_catalogue(path, "de")
    assert [message.string for message in messages(catalogue)] == [("Lauf", "Läufe")]
