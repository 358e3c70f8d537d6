"""Which names of attributes say that they hold a secret: those are hidden, even if listed."""

from __future__ import annotations

import re
from functools import lru_cache

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
