"""Lines for a terminal: colours where there is one, nothing cut off where there is none."""

from __future__ import annotations

import os
import shutil
import sys

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_WITHOUT_TERMINAL = 150


def paint(text: str, *styles: str) -> str:
    """Colour a text, on a terminal only; NO_COLOR is obeyed."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    codes = ";".join(_CODES[style] for style in styles)
    return f"\x1b[{codes}m{text}\x1b[0m"


def fit(text: str, used: int = 0) -> str:
    """Cut a text so that it fits into the rest of a line, of which some columns are used."""
    columns = _WITHOUT_TERMINAL
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size((100, 24)).columns
    room = max(columns - used, 20)
    text = " ".join(text.split())
    return text if len(text) <= room else f"{text[: room - 1]}…"


def heading(text: str) -> None:
    """Begin a part of the output."""
    print(f"\n{paint(text, 'bold')}\n{'─' * len(text)}")
