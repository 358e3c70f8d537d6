"""What a secret is, and how it is taken out of names, of JSON and of text: one table for all.

A name tells that its value is a secret. Values are hidden from people: in pages, the history,
errors, logs and exports. From expressions only those of model fields are, as a flow may need what
its state has. Known secrets are found in the spellings that libraries use.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, quote_plus

from flowcontrol_core import bounds
from flowcontrol_core.texts import storable_text

#: Stands where a secret was.
HIDDEN: Final = "•••"
#: Shorter values are parts of too many words to be taken out of a text.
MIN_LENGTH: Final = 4
#: From this length on, a value does not stand inside of a text by accident.
SURE_LENGTH: Final = 8

# Secrets wherever they stand in a name ("accesstoken", "passwordhash").
_ANYWHERE: Final = (
    "password", "passwd", "passphrase", "passcode", "token", "secret", "session", "credential",
    "authorization", "cookie", "bearer",
)  # fmt: skip
# Secrets as words in a row, however they are joined ("otp_code", "api_key", "apiKey", "apikey"), so
# that "hotpot" and "spin" stay visible. The setting SECRET_NAMES adds to them.
_WORDS: Final = frozenset(
    (word,) for word in ("pwd", "otp", "totp", "hotp", "jwt", "pin", "salt", "cvc", "cvv")
) | frozenset(
    (first, second)
    for second, before in {
        "key": ("api", "private", "access", "ssh", "signing", "encryption"),
        "code": ("auth",),
    }.items()
    for first in before
)
# "apikey", "sshkey": a word that ends in "key" is one, unless it is a word of everyday life.
_HARMLESS: Final = frozenset(
    {"donkey", "hockey", "jockey", "latchkey", "monkey", "turkey", "turnkey", "whiskey"}
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# The scheme of an Authorization header is not secret; what follows it is.
_SCHEME: Final = r"(?:(?:basic|bearer|digest|token)\s{1,3})?"
#: What a text assigns to a name; what may stand around the name is bounded, so that the time is
#: linear in the text.
_ASSIGNED: Final = re.compile(
    r"(?<![\w-])([a-z_][\w-]{0,120})\]?\\{0,3}[\"']?\s{0,3}(?:=>|[=:])\s{0,3}", re.IGNORECASE
)
_VALUE: Final = re.compile(
    rf"(?:(?P<quote>b?\\{{0,3}}[\"']){_SCHEME}(?P<quoted>(?:(?!(?P=quote))(?:\\.|.)){{1,10000}})"
    rf"|{_SCHEME}(?P<bare>[^\s\"'&,;<>]+))",
    re.IGNORECASE | re.DOTALL,
)
#: Secrets that are known by their form alone; what is kept is a group. Each is linear in time.
_FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        # A block of PEM, to the end of the text where its end is missing.
        r"-----BEGIN [A-Z0-9 ]{1,40}-----(?:.*?-----END [A-Z0-9 ]{1,40}-----|.*)",
        # The password of a URL.
        r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/?#:@\"']{0,200}:)[^\s\"'@]{1,500}(?=@)",
        # A header of cookies, with all of its values.
        r"(\bcookie\\{0,3}[\"']?\s{0,3}[=:]\s{0,3})[^\s\"'=]+=[^\r\n\"']*",
        r"(\bbearer\s{1,3})(?=\S{0,4000}\d|\S{20})[\w.~+/=-]{8,4000}",
        # A JSON web token.
        r"\beyJ[\w-]{5,4000}\.[\w-]{5,8000}(?:\.[\w-]{0,2000})?",
    )
)


class _Names:
    """The words in a row that are secrets, as they stand in a name."""

    def __init__(self, added: Iterable[str] = ()) -> None:
        own = (tuple(_words_of(name)) for name in added)
        self.rows = frozenset(tuple(map(_singular, row)) for row in _WORDS) | {*filter(None, own)}
        self.joined = frozenset(map("".join, self.rows))
        self.longest = max(map(len, self.rows))

    def has(self, words: list[str]) -> bool:
        """Return whether some of the words of a name, in a row, are those of a secret."""
        return not self.joined.isdisjoint(words) or any(
            tuple(words[start : start + size]) in self.rows
            for size in range(2, self.longest + 1)
            for start in range(len(words) - size + 1)
        )


def _words_of(name: str) -> list[str]:
    return [_singular(word.lower()) for word in _WORD.findall(name)]


def _singular(word: str) -> str:
    return word.removesuffix("s")


_names = _Names()
#: The secrets of the present call, in their spellings, by name.
IN_USE: ContextVar[Mapping[str, tuple[str, ...]] | None] = ContextVar("secrets", default=None)


def use_names(added: Iterable[str]) -> None:
    """Add names of a site's own to those of secrets, in place of those that were added before."""
    global _names  # noqa: PLW0603 - one table for the process
    _names = _Names(added)
    is_secret.cache_clear()
    is_secret_field.cache_clear()


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Return whether the name of a value, such as a key of JSON, says that it is a secret."""
    lowered = name.lower()
    return any(part in lowered for part in _ANYWHERE) or _names.has(_words_of(name))


@lru_cache(maxsize=4096)
def is_secret_field(name: str) -> bool:
    """Return whether a model's field, property or method of this name is a secret.

    Stricter than ``is_secret``: whatever is called a key is one ("key", "license_key").
    """
    words = _words_of(name)
    return is_secret(name) or any(word.endswith("key") and word not in _HARMLESS for word in words)


# --- text -----------------------------------------------------------------------------------


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets, and at most 100,000 characters of it: its ends.

    Taken out are the ``secrets`` and those of the present call, in their usual spellings; what is
    assigned to the name of one; and what is known by its form: PEM, passwords in URLs, tokens.
    Characters that a database refuses are replaced.
    """
    known = islice(secrets, bounds.REDACTED_SECRETS)
    spelled = {form for secret in known for form in _forms(secret)}
    spelled.update(form for forms in (IN_USE.get() or {}).values() for form in forms)
    parts = _ends(text, max(map(len, spelled), default=0))
    return storable_text("\n...\n".join(_redact(part, spelled) for part in parts))


def _redact(text: str, spelled: Iterable[str]) -> str:
    for form in sorted(spelled, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    for pattern in _FORMS:
        text = pattern.sub(lambda found: f"{found[1] if found.re.groups else ''}{HIDDEN}", text)
    return "".join(_without_assigned(text))


def _without_assigned(text: str) -> Iterator[str]:
    """Yield the parts of a text, without what it assigns to the name of a secret."""
    end = 0
    for found in _ASSIGNED.finditer(text):
        if found.start() < end or not is_secret(found[1]):
            continue
        if value := _VALUE.match(text, found.end()):
            hidden = "quoted" if value["quoted"] else "bare"
            yield text[end : value.start(hidden)]
            yield HIDDEN
            end = value.end()
    yield text[end:]


def _ends(text: str, longest: int) -> list[str]:
    """Return a text, or both ends of one that is too long, cut where no secret is cut in two."""
    most = bounds.REDACTED_CHARACTERS
    if len(text) <= most:
        return [text]
    half = most // 2
    head, tail = text[:half], text[-half:]
    # A secret that the cut divides is dropped with the words beside the cut.
    margin = max(longest, bounds.REDACTED_MARGIN)
    return [head[:-margin].rpartition("\n")[0], tail[margin:].partition("\n")[2]]


def spellings(secret: str) -> tuple[str, ...]:
    """Return how a secret is written: as it is, in Python, JSON, HTML, URLs, base64 and hex."""
    raw = secret.encode("utf-8", "surrogatepass")
    in_json = json.dumps(secret)[1:-1]
    urls = [quote(raw, safe=""), quote(raw), quote_plus(raw)]
    found = [
        secret,
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(raw)[2:-1],
        repr(secret)[1:-1].replace("'", "\\'"),
        in_json,
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(in_json)[1:-1],
        html.escape(secret),
        *urls,
        *(re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), url) for url in urls),
        *_base64_forms(raw),
        raw.hex(),
        raw.hex().upper(),
    ]
    return tuple(dict.fromkeys(form for form in found if len(form) >= MIN_LENGTH))


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield what base64 makes of bytes, wherever they stand in what is encoded."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode()
        # The characters on both sides belong to the neighbours as well.
        whole = text[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        yield from (whole, whole.replace("+", "-").replace("/", "_"))


def _forms(secret: str) -> tuple[str, ...]:
    return spellings(secret) if len(secret) >= MIN_LENGTH else ()


# --- the secrets of a call ------------------------------------------------------------------


@contextmanager
def hiding(secrets: Mapping[str, str]) -> Iterator[None]:
    """Let ``redact`` take out secrets, given by name, for the length of a call."""
    token = IN_USE.set({name: _forms(value) for name, value in secrets.items()})
    try:
        yield
    finally:
        IN_USE.reset(token)


def secret_in(text: str) -> str:
    """Return the name of a secret of the present call whose value a text contains, or is."""
    for name, forms in (IN_USE.get() or {}).items():
        if any(form == text or (len(form) >= SURE_LENGTH and form in text) for form in forms):
            return name
    return ""


# --- JSON -----------------------------------------------------------------------------------


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
            # What stands inside of a secret is one.
            yield from secrets_in(item, name if is_secret(name) else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item, name)
    elif value is not None and is_secret(name) and len(str(value)) >= MIN_LENGTH:
        yield str(value)
