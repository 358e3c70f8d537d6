"""What a secret is, and how it is taken out of names, of JSON and of text: one table for all.

A name tells that its value is a secret. Values are hidden in the history, in errors, in logs, in
exports and in what expressions see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

#: Stands where a secret was.
HIDDEN = "•••"
#: Shorter values are parts of too many words to be taken out of a text.
MIN_LENGTH = 4

# Secrets wherever they stand in a name ("accesstoken", "passwordhash").
_ANYWHERE = (
    "password", "passwd", "passphrase", "token", "secret", "session", "credential", "authorization",
    "cookie", "bearer",
)  # fmt: skip
# Secrets only as a word of the name ("otp_code"), so that "hotpot" and "spin" stay visible.
_WORDS = frozenset({"pwd", "otp", "otps", "totp", "hotp", "jwt", "pin", "salt", "cvc", "cvv"})
# Secrets as two words in a row, however they are joined ("api_key", "apiKey", "apikey").
_PAIRS = frozenset(
    (first, "key") for first in ("api", "private", "access", "ssh", "signing", "encryption")
) | {("auth", "code")}
_JOINED = frozenset("".join(pair) for pair in _PAIRS)
# "apikey", "sshkey": a word that ends in "key" is one, unless it is a word of everyday life.
_HARMLESS = frozenset(
    {"donkey", "hockey", "jockey", "latchkey", "monkey", "turkey", "turnkey", "whiskey"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
#: What may stand around the name is bounded, so that the time is linear in the text's length.
_ASSIGNED = re.compile(
    rf"""((?:\b(?:{"|".join(sorted(_WORDS))})|(?:{"|".join(_ANYWHERE)}|"""
    rf"""{"|".join(f"{first}[_-]?{second}" for first, second in sorted(_PAIRS))})[\w-]{{0,40}})"""
    # The scheme of an Authorization header is not secret; what follows it is.
    r"""["']?\s{0,3}[=:]\s{0,3}["']?(?:(?:basic|bearer|digest|token)\s{1,3})?)([^\s"'&,;]+)""",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Return whether the name of a value, such as a key of JSON, says that it is a secret."""
    lowered = name.lower()
    if any(part in lowered for part in _ANYWHERE):
        return True
    words = [word.lower().removesuffix("s") for word in _WORD.findall(name)]
    return (
        not _WORDS.isdisjoint(words)
        or not _JOINED.isdisjoint(words)
        or not _PAIRS.isdisjoint(pairwise(words))
    )


@lru_cache(maxsize=4096)
def is_secret_field(name: str) -> bool:
    """Return whether a model's field, property or method of this name is a secret.

    Stricter than ``is_secret``: whatever is called a key is one ("key", "license_key").
    """
    words = (word.lower().removesuffix("s") for word in _WORD.findall(name))
    return is_secret(name) or any(word.endswith("key") and word not in _HARMLESS for word in words)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the secrets, and without what is assigned to a name of one.

    Characters that a database refuses are replaced.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)
    return storable_text(text)


def storable_text(value: object, length: int | None = None) -> str:
    """Return a value as text that every database stores: without NUL and lone surrogates."""
    text = str(value or "").replace("\x00", "").encode("utf-8", "replace").decode()
    return text[:length]


def redact_json(value: Any, name: str = "") -> Any:
    """Return a copy of a JSON value with ``HIDDEN`` for what stands under the name of a secret."""
    if is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: redact_json(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    return value


def secrets_in(value: Any, name: str = "") -> Iterator[str]:
    """Yield, as texts, the values at any depth that stand under the name of a secret."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets_in(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_in(item, name)
    elif value is not None and is_secret(name) and len(str(value)) >= MIN_LENGTH:
        yield str(value)
