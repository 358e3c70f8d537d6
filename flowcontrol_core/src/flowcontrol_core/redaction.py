"""Takes secrets out of what the history keeps as text: errors, tracebacks, log lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from flowcontrol_core.engine.history import HIDDEN, SECRET

#: Shorter values are in too many words to be taken out of them.
MIN_LENGTH = 4
#: What may stand around the name is bounded, so that the time is linear in the text's length.
_ASSIGNED = re.compile(
    r"""((?:password|passwd|token|secret|api_?key)[\w-]{0,40}["']?\s{0,3}[=:]\s{0,3}["']?)"""
    r"""([^\s"'&,;]+)""",
    re.IGNORECASE,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Give a text without the secrets, without what is assigned to a name that tells of one, and
    without the characters that a database refuses.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def secrets_in(value: Any, key: str = "") -> Iterator[str]:
    """Give the values, as texts, whose keys say that they are secret, at any depth."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from secrets_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_in(item, key)
    elif value is not None and SECRET.search(key) and len(str(value)) >= MIN_LENGTH:
        yield str(value)


# These are secrets wherever they stand in a name ("accesstoken", "passwordhash").
_ANYWHERE = ("password", "passwd", "token", "secret", "session")
# These only as a word of the name ("api_key", "apiKey"), so that "keyboard" stays visible.
_WORDS = frozenset({"key", "keys", "otp", "otps", "totp", "hotp"})
# "apikey", "sshkey": a word that ends in "key" is one, unless it is a word of everyday life.
_HARMLESS = frozenset(
    {"donkey", "hockey", "jockey", "latchkey", "monkey", "turkey", "turnkey", "whiskey"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Say whether a field, property or method of this name is hidden from expressions."""
    lowered = name.lower()
    if any(part in lowered for part in _ANYWHERE):
        return True
    return any(_is_secret_word(word.lower()) for word in _WORD.findall(name))


def _is_secret_word(word: str) -> bool:
    if word in _WORDS:
        return True
    return word.endswith(("key", "keys")) and word.removesuffix("s") not in _HARMLESS
