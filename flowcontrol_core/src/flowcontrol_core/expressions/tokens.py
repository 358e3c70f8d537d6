"""Cuts an expression into tokens, each with its span; explains what is not a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext_lazy

from flowcontrol_core.errors import ExpressionError, gettext
from flowcontrol_core.expressions.spans import Span

TokenKind = Literal["text", "number", "name", "rest", "operator", "mark", "end"]

# Letters of every language make names; numbers have ASCII digits only. A sign is an operator: the
# parser puts it to the number it belongs to. Names after a bracket begin with a dot.
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<text>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
    | (?P<rest>(?<=[\])])(?:\.\w+)+(?![\w.]))
    | (?P<number>(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<name>[^\W\d]\w*(?:\.\w+)*(?![\w.]))
    | (?P<operator>(?:==|!=|<=|>=|<(?!>)|>)(?!=)|\*(?!\*)|/(?!/)|[+\-%])
    | (?P<mark>\|(?!\|)|[:(),\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[\w.]+")

WORD_OPERATORS = frozenset({"and", "or", "not", "in", "is"})
_PAIRS = frozenset({("not", "in"), ("is", "not")})

_COMPARE = gettext_lazy('Write "==" to compare.')
_HINTS = (
    (r"===?", _COMPARE),
    (r"=!|!==|<>", gettext_lazy('Write "!=" for "is different from".')),
    (r"&&?", gettext_lazy('Write "and".')),
    (r"\|\|", gettext_lazy('Write "or".')),
    (r"!", gettext_lazy('Write "not".')),
    (r"=>|=<", gettext_lazy('Write ">=" or "<=".')),
    (r"=", _COMPARE),
    (r"<==|>==", gettext_lazy('Write "<=" or ">=".')),
    (r"\*\*|\^", gettext_lazy("There are no powers; multiply: side * side")),
    (r"//", gettext_lazy('Write one "/" to divide.')),
    (r"\?", gettext_lazy('Use the filters "default" or "yesno".')),
    (
        r"[{}]",
        gettext_lazy("In an expression names stand alone: object.total, not {{ object.total }}."),
    ),
)
_STRANGE = tuple((re.compile(pattern), hint) for pattern, hint in _HINTS)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; ``text`` is as written, but for operators of two words."""

    kind: TokenKind
    text: str
    span: Span


def scan(source: str, start: int, stop: int) -> list[Token]:
    """Return the tokens of a stretch of a text, the last one of kind ``end``.

    Raises ExpressionError, with the span.
    """
    tokens: list[Token] = []
    for token in _single_tokens(source, start, stop):
        if tokens and (tokens[-1].text, token.text) in _PAIRS and token.kind == "operator":
            tokens[-1] = _joined(tokens[-1], token)
        else:
            tokens.append(token)
    return [*tokens, Token("end", "", Span(source, stop, 0))]


def _single_tokens(source: str, start: int, stop: int) -> Iterator[Token]:
    position = start
    while position < stop:
        match = _TOKEN.match(source, position, stop)
        if match is None:
            raise _strange(source, position, stop)
        if match.lastgroup != "space":
            yield Token(_kind(match), match[0], Span(source, position, len(match[0])))
        position = match.end()


def _kind(match: re.Match[str]) -> TokenKind:
    kind: TokenKind = match.lastgroup  # type: ignore[assignment]
    return "operator" if kind == "name" and match[0] in WORD_OPERATORS else kind


def _joined(first: Token, second: Token) -> Token:
    """Return an operator of two words as one token."""
    start, end = first.span.position, second.span.position + second.span.length
    span = Span(first.span.source, start, end - start)
    return Token("operator", f"{first.text} {second.text}", span)


def _strange(source: str, position: int, stop: int) -> ExpressionError:
    character = source[position]
    if character in "\"'":
        text = gettext("The text that begins here is not closed. Add a %(quote)s at its end.")
        return Span(source, position, stop - position).error(text, quote=character)
    for pattern, hint in _STRANGE:
        if match := pattern.match(source, position, stop):
            text = gettext('"%(token)s" is unknown. %(hint)s')
            return Span(source, position, len(match[0])).error(text, token=match[0], hint=hint)
    if match := _WORD.match(source, position, stop):
        return Span(source, position, len(match[0])).error(_about(match[0]), word=match[0])
    text = gettext('"%(character)s" has no meaning here. Remove it.')
    return Span(source, position, 1).error(text, character=character)


def _about(word: str) -> str:
    if word[0].isdigit():
        return gettext('"%(word)s" is not a number, and a name cannot begin with a digit.')
    return gettext('"%(word)s" is not a name. Between two names stands one dot: object.total')
