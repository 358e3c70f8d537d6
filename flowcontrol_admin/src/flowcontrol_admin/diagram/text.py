"""How wide a text is drawn, and where it is cut: estimated, for the server has no fonts."""

from __future__ import annotations

from typing import NamedTuple
from unicodedata import combining, east_asian_width

#: Widths of characters as parts of the size of the font, a little wider than usual fonts have them.
_NARROW = frozenset("iljtfrI.,:;'|!()[]{}/\\ “”·-")
_WIDE = frozenset("mwMWQO@%&—…")
ELLIPSIS = "…"


class Font(NamedTuple):
    """A font as the style sets it: its size in pixels, and how much wider bold letters are."""

    size: int
    stretch: float = 1.0


TITLE, TEXT, LABEL = Font(12, 1.12), Font(11), Font(11, 1.08)


def width_of(text: str, font: Font) -> int:
    """Return about how many pixels a text is wide."""
    return round(sum(map(_part, text)) * font.size * font.stretch)


def cut(text: str, font: Font, most: int) -> str:
    """Return a text that is at most this many pixels wide; a cut one ends with an ellipsis."""
    room = most / (font.size * font.stretch)
    with_ellipsis = room - _part(ELLIPSIS)
    used, kept = 0.0, 0
    for number, character in enumerate(text):
        used += _part(character)
        if used <= with_ellipsis:
            kept = number + 1
        elif used > room:
            return text[:kept].rstrip() + ELLIPSIS
    return text


def _part(character: str) -> float:
    part = _PLAIN.get(character)
    return _other_part(character) if part is None else part


def _other_part(character: str) -> float:
    if character in _NARROW:
        return 0.37
    if character in _WIDE:
        return 0.95
    if combining(character):
        return 0.0
    if east_asian_width(character) in "WF":
        return 1.0
    return 0.72 if character.isupper() else 0.6


#: Those of the characters that most texts consist of.
_PLAIN = {character: _other_part(character) for character in map(chr, range(128))}
