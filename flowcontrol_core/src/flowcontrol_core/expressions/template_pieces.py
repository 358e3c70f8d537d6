"""Cuts a text template into text, ``{{ variables }}`` and ``{% tags %}``; comments are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from flowcontrol_core.errors import gettext
from flowcontrol_core.expressions.spans import Span

_OPENING = re.compile(r"\{[{%#]")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_WORD = re.compile(r"\s*(\S*)\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a template; ``start`` and ``stop`` are what is inside the braces.

    Of a tag, ``word`` is its name and ``start`` where its arguments begin.
    """

    kind: Literal["text", "variable", "tag"]
    span: Span
    start: int
    stop: int
    word: str = ""


def cut(source: str) -> Iterator[Piece]:
    """Yield the pieces of a template. Raises ExpressionError for braces that are not closed."""
    position = text_from = 0
    line_end = uncommented = -1
    while opening := _OPENING.search(source, position):
        if opening.end() > line_end:
            found = source.find("\n", opening.end())
            line_end = len(source) if found < 0 else found
        is_text = opening[0] == "{#" and line_end == uncommented
        stop = None if is_text else _closing(source, opening, line_end)
        if stop is None:
            # No other comment of this line has an end, either.
            position, uncommented = opening.end(), line_end
            continue
        if opening.start() > text_from:
            yield _text(source, text_from, opening.start())
        if opening[0] != "{#":
            yield _piece(source, opening, stop)
        position = text_from = stop + 2
    if text_from < len(source):
        yield _text(source, text_from, len(source))


def _closing(source: str, opening: re.Match[str], line_end: int) -> int | None:
    """Return where the inside ends; None for a "{#" that is just text."""
    closing = _CLOSING[opening[0]]
    stop = source.find(closing, opening.end(), line_end)
    if stop >= 0:
        return stop
    if opening[0] == "{#":
        return None
    text = gettext('"%(opening)s" is not closed. Add "%(closing)s" in the same line.')
    raise Span(source, opening.start(), 2).error(text, opening=opening[0], closing=closing)


def _text(source: str, start: int, stop: int) -> Piece:
    return Piece("text", Span(source, start, stop - start), start, stop)


def _piece(source: str, opening: re.Match[str], stop: int) -> Piece:
    span = Span(source, opening.start(), stop + 2 - opening.start())
    if opening[0] == "{{":
        return Piece("variable", span, opening.end(), stop)
    word = _WORD.match(source, opening.end(), stop)
    if word is None or not word[1]:
        text = gettext("The tag is empty. Remove it, or write a tag such as %(example)s.")
        raise span.error(text, example="{% if name %}")
    return Piece("tag", span, word.end(), stop, word[1])
