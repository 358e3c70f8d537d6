"""What a person sees of a page, and which of it is English where another language is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from itertools import chain

from babel.messages.catalog import Message

from tests.tooling.catalogues import catalogue_path, messages, read_catalogue, texts_of
from tests.tooling.sources import SOURCES

#: What is code or data, in any language.
UNREAD = {"script", "style", "code", "pre", "textarea"}
#: Elements that have no end.
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
READ_ALOUD = {"title", "alt", "placeholder", "aria-label"}
BUTTONS = {"submit", "button", "reset"}

_FILLED_IN = re.compile(r"%\(\w+\)[a-z]|\{\w+\}")
#: Names of code, calls, examples and quoted values in a text.
_CODE = re.compile(r"`[^`]*`|„\w+“|\{.*\}|[\"'][^\"']*[\"']|\S*[._/:|=(]\w\S*|\b[A-Z]{2}\w*_\w*")
_WORD = re.compile(r"[^\W\d_]{3,}")


class Visible(HTMLParser):
    """Collects the texts that a page shows or has read aloud, in the order of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        given = dict(attrs)
        self.texts += [value for name in READ_ALOUD if (value := given.get(name))]
        if given.get("type") in BUTTONS:
            self.texts.append(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not UNREAD & set(self._open):
            self.texts.append(" ".join(data.split()))


class Language:
    """The catalogues of a language, turned round: what is not of the language."""

    def __init__(self, language: str) -> None:
        self._messages: list[Message] = list(
            chain.from_iterable(
                messages(read_catalogue(catalogue_path(source, language), language))
                for source in SOURCES
            )
        )

    @cached_property
    def foreign_words(self) -> set[str]:
        """The words of the originals that no translation has."""
        originals = (text for message in self._messages for text in texts_of(message.id))
        own = (text for message in self._messages for text in texts_of(message.string))
        return words(originals) - words(own)

    @cached_property
    def foreign_texts(self) -> list[re.Pattern[str]]:
        """The originals whose translations are others, whatever is filled in."""
        alike = {text.lower() for message in self._messages for text in texts_of(message.string)}
        return [
            pattern_of(text)
            for message in self._messages
            for text in texts_of(message.id)
            if text.lower() not in alike and _WORD.search(_FILLED_IN.sub("", text))
        ]

    def foreign(self, text: str) -> bool:
        """Return whether a text is an original, or has a word of one."""
        return bool(words([text]) & self.foreign_words) or any(
            pattern.fullmatch(text) for pattern in self.foreign_texts
        )


def words(texts: Iterator[str] | list[str]) -> set[str]:
    """Return the words of some texts, without code and what is filled in."""
    bare = (_CODE.sub(" ", _FILLED_IN.sub(" ", text)) for text in texts)
    return {word.lower() for text in bare for word in _WORD.findall(text)}


def pattern_of(text: str) -> re.Pattern[str]:
    """Return what finds a message on a page, whatever is filled in."""
    return re.compile(".+?".join(map(re.escape, _FILLED_IN.split(text))), re.DOTALL)
