"""Texts as every database stores them."""

from __future__ import annotations

import re
from typing import Final

#: What some database or encoding refuses: NUL, and halves of surrogate pairs.
UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
#: What MariaDB's old character set utf8mb3 has no room for, such as an emoji.
BEYOND_THREE_BYTES: Final = re.compile("[\U00010000-\U0010ffff]")


def storable_text(value: object, length: int | None = None) -> str:
    """Return a value as text that every database stores: without NUL and lone surrogates."""
    text = str(value or "").replace("\x00", "").encode("utf-8", "replace").decode()
    return text[:length]


def key_problem(text: str, most: int) -> str:
    """Return what keeps a text from being a key, which is stored as it is or not at all."""
    if found := UNSTORABLE.search(text):
        return f"contains the character U+{ord(found.group()):04X}"
    return f"has more than {most} characters" if len(text) > most else ""
