"""Text templates, for mails: variables with filters and a handful of tags, compiled once.

The tags are Django's ``if``, ``for``, ``with``, ``firstof``, ``now`` and ``comment``, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.compiler import build, collect_names
from flowcontrol_core.expressions.lookup import Read
from flowcontrol_core.expressions.nodes import Literal, Node
from flowcontrol_core.expressions.parser import Parser, check_length
from flowcontrol_core.expressions.renderer import (
    Body,
    Case,
    FirstOf,
    For,
    Frame,
    If,
    Now,
    Part,
    Text,
    Variable,
    With,
)
from flowcontrol_core.expressions.scope import RESERVED_NAMES, Scope
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.template_pieces import Piece, cut
from flowcontrol_core.suggest import did_you_mean

_TAGS = ("comment", "firstof", "for", "if", "now", "with")
_INNER_TAGS = ("elif", "else", "empty", "endcomment", "endfor", "endif", "endwith")
_FOR = re.compile(r"\s*(\w+(?:\s*,\s*\w+)*)\s+in\s")
_REVERSED = re.compile(r"\sreversed\s*$")
_ASSIGNMENT = re.compile(
    r"""\s*(?P<name>\w+)=(?P<value>(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"'])+)"""
)
_NAME = re.compile(r"[^\W\d_]\w*")
_NOT_FOR_VARIABLES = RESERVED_NAMES | {
    *("and", "or", "not", "in", "is", "True", "False", "None", "forloop"),
    *("true", "false", "null", "none"),
}


class TextTemplate:
    """A template, ready to be rendered any number of times, by any number of threads.

    ``source`` is the text; ``names`` are the dotted lookups it makes in the scope.
    """

    __slots__ = ("_body", "names", "source")

    def __init__(self, source: str, body: Body, names: frozenset[tuple[str, ...]]) -> None:
        self.source = source
        self.names = names
        self._body = body

    def __repr__(self) -> str:
        return f"<TextTemplate {self.source[:50]!r}>"

    def render(self, scope: Scope) -> str:
        """Give the text. Raises ExpressionError, and nothing else."""
        frame = Frame(scope)
        try:
            self._body.render(frame)
        except ExpressionError as error:
            if error.source:
                raise
            raise ExpressionError(error.message, source=self.source) from error.__cause__
        except Exception as error:
            raise ExpressionError(
                f"The template failed: {type(error).__name__}: {error}", source=self.source
            ) from error
        return frame.output()


def compile_template(text: str, *, html: bool = False) -> TextTemplate:
    """Compile a template; with ``html``, values are escaped.

    Raises ExpressionError, with the place that is wrong.
    """
    check_length(text, bounds.TEMPLATE_CHARACTERS, "The template")
    compiler = _Compiler(text, html=html)
    body = compiler.compile()
    return TextTemplate(text, body, frozenset(compiler.names))


class _Compiler:
    """Reads the pieces of one template, from the first to the last."""

    def __init__(self, source: str, *, html: bool) -> None:
        self.names: set[tuple[str, ...]] = set()
        self._source = source
        self._html = html
        self._pieces = list(cut(source))
        self._next = 0
        self._depth = 0
        # The variables of the tags we are inside of; they are no names of the scope.
        self._variables: list[str] = []
        self._compilers: dict[str, Callable[[Piece], Part]] = {
            "comment": self._comment,
            "firstof": self._first_of,
            "for": self._for,
            "if": self._if,
            "now": self._now,
            "with": self._with,
        }

    def compile(self) -> Body:
        body, _ = self._body(None)
        return body

    def _body(self, tag: Piece | None, *ends: str) -> tuple[Body, Piece]:
        """Read up to one of the tags in ``ends`` and give that one too; or to the end."""
        self._depth += 1
        if tag is not None and self._depth > bounds.NESTING:
            raise tag.place.error(f"Tags are nested more than {bounds.NESTING} levels deep.")
        parts: list[Part] = []
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            self._next += 1
            if piece.kind == "tag" and piece.word in ends:
                self._depth -= 1
                return Body(tuple(parts)), piece
            parts.append(self._part(piece))
        if tag is not None:
            raise tag.place.error(f"This tag is not closed. Add {{% {ends[-1]} %}}.")
        return Body(tuple(parts)), _END

    def _part(self, piece: Piece) -> Part:
        if piece.kind == "text":
            return Text(piece.place.text)
        if piece.kind == "variable":
            return Variable(self._value(piece.start, piece.stop), self._html)
        if piece.word not in self._compilers:
            raise piece.place.error(_unknown_tag(piece.word))
        return self._compilers[piece.word](piece)

    def _comment(self, piece: Piece) -> Part:
        while self._next < len(self._pieces):
            inside = self._pieces[self._next]
            self._next += 1
            if inside.word == "endcomment":
                return Body()
        raise piece.place.error("This comment is not closed. Add {% endcomment %}.")

    def _if(self, piece: Piece) -> Part:
        cases: list[Case] = []
        tag = piece
        while tag.word in ("if", "elif"):
            condition = self._condition(tag)
            body, end = self._body(tag, "elif", "else", "endif")
            cases.append(Case(condition, body))
            tag = end
        if tag.word == "else":
            body, _ = self._body(tag, "endif")
            cases.append(Case(None, body))
        return If(tuple(cases))

    def _for(self, piece: Piece) -> Part:
        head = _FOR.match(self._source, piece.start, piece.stop)
        if head is None:
            raise piece.place.error("Write a loop like this: {% for item in state.items %}")
        names = tuple(name.strip() for name in head[1].split(","))
        for name in names:
            self._check_variable(name, piece.place)
        tail = _REVERSED.search(self._source, head.end(), piece.stop)
        stop = tail.start() if tail else piece.stop
        read = self._value(head.end(), stop)
        stretch = self._source[head.end() : stop].strip()
        place = Span(self._source, self._source.index(stretch, head.end()), len(stretch))
        body, end = self._inside(piece, (*names, "forloop"), "empty", "endfor")
        empty = self._body(end, "endfor")[0] if end.word == "empty" else Body()
        return For(names, read, place, body, empty, is_reversed=tail is not None)

    def _with(self, piece: Piece) -> Part:
        values: dict[str, Read] = {}
        position = piece.start
        while found := _ASSIGNMENT.match(self._source, position, piece.stop):
            self._check_variable(found["name"], piece.place)
            values[found["name"]] = self._value(*found.span("value"))
            position = found.end()
        if not values or self._source[position : piece.stop].strip():
            raise piece.place.error("Write the tag like this: {% with total=object.total %}")
        body, _ = self._inside(piece, tuple(values), "endwith")
        return With(values, body)

    def _inside(self, tag: Piece, variables: tuple[str, ...], *ends: str) -> tuple[Body, Piece]:
        """Read a body that has variables of its own."""
        before = len(self._variables)
        self._variables += variables
        result = self._body(tag, *ends)
        del self._variables[before:]
        return result

    def _first_of(self, piece: Piece) -> Part:
        nodes = self._parser(piece.start, piece.stop).parse_values()
        return FirstOf(tuple(map(self._build, nodes)), self._html)

    def _now(self, piece: Piece) -> Part:
        node = self._parser(piece.start, piece.stop).parse_value()
        if not isinstance(node, Literal) or not isinstance(node.value, str):
            raise piece.place.error('Write the format in quotes: {% now "Y-m-d" %}')
        if len(node.value) > bounds.DATE_FORMAT_CHARACTERS:
            raise piece.place.error(
                f"The format has more than {bounds.DATE_FORMAT_CHARACTERS} characters."
            )
        return Now(node.value)

    def _condition(self, tag: Piece) -> Read:
        return self._build(self._parser(tag.start, tag.stop).parse_condition())

    def _value(self, start: int, stop: int) -> Read:
        return self._build(self._parser(start, stop).parse_value())

    def _parser(self, start: int, stop: int) -> Parser:
        if stop - start > bounds.EXPRESSION_CHARACTERS:
            raise Span(self._source, start, stop - start).error(
                f"This has {stop - start:,} characters; "
                f"at most {bounds.EXPRESSION_CHARACTERS:,} are possible."
            )
        return Parser(self._source, start, stop, html=self._html)

    def _build(self, node: Node) -> Read:
        self.names |= {path for path in collect_names(node) if path[0] not in self._variables}
        return build(node, html=self._html)

    def _check_variable(self, name: str, place: Span) -> None:
        if not _NAME.fullmatch(name):
            raise place.error(f'"{name}" cannot be the name of a variable: begin with a letter.')
        if name in _NOT_FOR_VARIABLES:
            raise place.error(f'"{name}" has a meaning of its own. Choose another name.')


_END = Piece("tag", Span("", 0, 0), 0, 0)


def _unknown_tag(word: str) -> str:
    if word in _INNER_TAGS:
        return f'"{word}" has no tag before it that it belongs to. Remove it.'
    advice = did_you_mean(word, _TAGS, f"Possible are: {', '.join(_TAGS)}.")
    return f'There is no tag "{word}". {advice}'
