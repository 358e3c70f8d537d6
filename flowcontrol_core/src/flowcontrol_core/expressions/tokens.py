"""Cuts an expression into tokens, each with its place; says what is wrong with what is no token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from flowcontrol_core.expressions.spans import Span

Kind = Literal["text", "number", "name", "operator", "mark", "end"]

# Letters of every language make names; numbers have ASCII digits only.
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<text>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
    | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<name>[^\W\d]\w*(?:\.\w+)*(?![\w.]))
    | (?P<operator>(?:==|!=|<=|>=|<(?!>)|>)(?!=))
    | (?P<mark>\|(?!\|)|[:()])
    """,
    re.VERBOSE | re.DOTALL,
)

WORD_OPERATORS = frozenset({"and", "or", "not", "in", "is"})
_PAIRS = {("not", "in"): "not in", ("is", "not"): "is not"}

_HINTS: tuple[tuple[str, str], ...] = (
    (r"===?", 'Write "==" to compare.'),
    (r"=!|!==|<>", 'Write "!=" for "is different from".'),
    (r"&&?", 'Write "and".'),
    (r"\|\|", 'Write "or".'),
    (r"!", 'Write "not".'),
    (r"=>|=<", 'Write ">=" or "<=".'),
    (r"=", 'Write "==" to compare.'),
    (r"<==|>==", 'Write "<=" or ">=".'),
    (r"[+\-*/^]", "There is no arithmetic; to add a number, use the filter add: state.tries|add:1"),
    (r"%", 'There is no "%"; to test for a multiple, use the filter divisibleby.'),
    (r"\[", "Write a dot and the key or number: state.items.0"),
    (r"\?", 'Use the filters "default" or "yesno".'),
    (r"[{}]", "In an expression names stand alone: object.total, not {{ object.total }}."),
)
_STRANGE = tuple((re.compile(pattern), hint) for pattern, hint in _HINTS)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; ``text`` is as written, but for operators of two words."""

    kind: Kind
    text: str
    place: Span


def scan(source: str, start: int, stop: int) -> list[Token]:
    """Give the tokens of a stretch of a text, the last one of kind ``end``.

    Raises ExpressionError, with the place.
    """
    tokens: list[Token] = []
    position = start
    while position < stop:
        match = _TOKEN.match(source, position, stop)
        if match is None:
            raise _strange(source, position, stop)
        if match.lastgroup != "space":
            _add(tokens, Token(_kind(match), match[0], Span(source, position, len(match[0]))))
        position = match.end()
    tokens.append(Token("end", "", Span(source, stop, 0)))
    return tokens


def _kind(match: re.Match[str]) -> Kind:
    kind: Kind = match.lastgroup  # type: ignore[assignment]
    return "operator" if kind == "name" and match[0] in WORD_OPERATORS else kind


def _add(tokens: list[Token], token: Token) -> None:
    """Add a token, as one with the last where they are an operator of two words."""
    pair = _PAIRS.get((tokens[-1].text, token.text)) if tokens else None
    if pair is None or tokens[-1].kind != "operator":
        tokens.append(token)
        return
    first = tokens[-1].place
    end = token.place.position + token.place.length
    tokens[-1] = Token("operator", pair, Span(first.source, first.position, end - first.position))


def _strange(source: str, position: int, stop: int) -> Exception:
    character = source[position]
    if character in "\"'":
        place = Span(source, position, stop - position)
        return place.error(
            f"The text that begins here is not closed. Add a {character} at its end."
        )
    for pattern, hint in _STRANGE:
        if match := pattern.match(source, position, stop):
            return Span(source, position, len(match[0])).error(f'"{match[0]}" is unknown. {hint}')
    if match := re.compile(r"[\w.]+").match(source, position, stop):
        return Span(source, position, len(match[0])).error(_strange_word(match[0]))
    return Span(source, position, 1).error(f'"{character}" has no meaning here. Remove it.')


def _strange_word(word: str) -> str:
    if word[0].isdigit():
        return f'"{word}" is not a number, and a name cannot begin with a digit.'
    return f'"{word}" is not a name. Between two names stands one dot: object.total'
