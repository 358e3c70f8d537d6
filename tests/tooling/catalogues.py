"""The catalogues of all distributions: `python -m tests.tooling.catalogues` brings them up to date.

Babel reads the sources, keeps what is translated, and compiles: the programs of gettext are not
needed. What it prints is still to be translated. Translations of what no source has any longer stay
at the end of the file, for a branch that brings it back; `--forget` drops them.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from tests.databases import ROOT
from tests.tooling.sources import SOURCES, modules, read

LANGUAGES: Final = ("de",)
#: What marks a text, and which of its arguments are texts; a `c` marks the context.
KEYWORDS: Final = {
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
    "_": None,
}
HEAD: Final = "# The texts of Flowcontrol; `make messages` brings this file up to date."


def catalogue_path(source: Path, language: str) -> Path:
    """Return where the texts of a distribution are: in the package that is named like it."""
    return source / source.parent.name / "locale" / language / "LC_MESSAGES" / "django.po"


def python_texts(source: Path) -> Iterator[str]:
    """Return the sources as Python: a template is its marked texts."""
    for path in modules(source):
        yield read(path)
    for path in sorted(source.glob("**/templates/**/*.*")):
        # Brackets, as the tags of a template are indented as they like.
        yield f"(\n{templatize(read(path), origin=str(path))}\n)"


def extract_messages(source: Path) -> Catalog:
    """Return the messages that the sources of a distribution mark, without translations."""
    found = Catalog(charset="utf-8")
    for text in python_texts(source):
        lines = io.BytesIO(text.encode())
        marked = extract("python", lines, KEYWORDS, ["Translators"], {"encoding": "utf-8"})
        for _line, message, comments, context in marked:
            found.add(message, auto_comments=comments, context=context)
    return found


def new_catalogue(language: str) -> Catalog:
    """Return a catalogue without a message."""
    return Catalog(
        language,
        header_comment=HEAD,
        project="Flowcontrol",
        version="0.1",
        msgid_bugs_address="https://github.com/flowcontrol/flowcontrol/issues",
        revision_date=datetime.now(UTC),
        last_translator="Flowcontrol",
        language_team=language,
        charset="utf-8",
        fuzzy=False,
    )


def read_catalogue(path: Path, language: str) -> Catalog:
    """Return the catalogue of a file, or an empty one."""
    if not path.exists():
        return new_catalogue(language)
    with path.open("rb") as file:
        return read_po(file, language)


def read_compiled(path: Path) -> Catalog:
    """Return what the compiled form of a catalogue says."""
    with path.with_suffix(".mo").open("rb") as file:
        return read_mo(file)


def messages(catalogue: Catalog) -> list[Message]:
    """Return the messages of a catalogue, without its header."""
    return [message for message in catalogue if message.id]


def untranslated(catalogue: Catalog) -> list[Message]:
    """Return the messages that have no text, or not one for each number."""
    return [message for message in messages(catalogue) if not all(texts_of(message.string))]


def texts_of(texts: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the texts of a message, or of its translation: one, or one for each number."""
    return (texts,) if isinstance(texts, str) else tuple(texts or ("",))


def remember(catalogue: Catalog) -> None:
    """Take back what no source had any longer: it may have come again, from another branch."""
    for message in catalogue.obsolete.values():
        catalogue.add(message.id, message.string, context=message.context)
    catalogue.obsolete.clear()


def update_catalogue(source: Path, language: str, *, forget: bool = False) -> Catalog | None:
    """Write the catalogue of a distribution anew, and compile it; None, where it has no texts.

    What no source has any longer stays at the end of the file, unless it is to be forgotten.
    """
    template = extract_messages(source)
    if not messages(template):
        return None
    path = catalogue_path(source, language)
    catalogue = read_catalogue(path, language)
    remember(catalogue)
    catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(
            file, catalogue, width=0, no_location=True, sort_output=True, ignore_obsolete=forget
        )
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalogue)
    return catalogue


def main(arguments: Sequence[str] = ()) -> int:
    """Bring all catalogues up to date and print what is to be translated; 1, if anything is."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--forget", action="store_true", help="drop what no source has any longer")
    forget = parser.parse_args(arguments).forget
    missing = 0
    for source in SOURCES:
        for language in LANGUAGES:
            catalogue = update_catalogue(source, language, forget=forget)
            if catalogue is None:
                continue
            left = untranslated(catalogue)
            missing += len(left)
            name = catalogue_path(source, language).relative_to(ROOT)
            print(f"{name}: {len(messages(catalogue))} messages, {len(left)} untranslated")
            for message in left:
                print("    " + " | ".join(map(repr, texts_of(message.id))))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
