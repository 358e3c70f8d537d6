"""Lines for a terminal: colours and cut lines on a terminal, plain long lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_WITHOUT_TERMINAL = 150


def paint(text: str, *styles: str) -> str:
    """Return a text with colours, on a terminal and without NO_COLOR only."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    codes = ";".join(_CODES[style] for style in styles)
    return f"\x1b[{codes}m{text}\x1b[0m"


def fit(text: str, used: int = 0) -> str:
    """Return a text, cut to the rest of a line of which some columns are used."""
    columns = _WITHOUT_TERMINAL
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size((100, 24)).columns
    room = max(columns - used, 20)
    text = " ".join(text.split())
    return text if len(text) <= room else f"{text[: room - 1]}…"


def heading(text: str) -> None:
    """Print the heading of a part of the output."""
    print(f"\n{paint(text, 'bold')}\n{'─' * len(text)}")
