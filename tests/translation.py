"""A reader of another language: the texts of a few messages, for the length of a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.utils import translation
from django.utils.translation import trans_real


@contextmanager
def words(texts: Mapping[str, str], language: str = "de") -> Iterator[None]:
    """Read in another language, in which these messages have these texts, in any number.

    Django has no public way to add a message: its catalog is a list of dictionaries, the first one
    that knows a message counts.
    """
    catalog = trans_real.translation(language)._catalog  # type: ignore[attr-defined]
    known: dict[Any, str] = dict(texts)
    known |= {(message, form): text for message, text in texts.items() for form in (0, 1)}
    catalog._catalogs.insert(0, known)
    catalog._plurals.insert(0, catalog._plurals[0])
    try:
        with translation.override(language):
            yield
    finally:
        del catalog._catalogs[0], catalog._plurals[0]
