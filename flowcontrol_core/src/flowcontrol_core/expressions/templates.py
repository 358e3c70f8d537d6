"""Text templates, for mails: variables with filters and a handful of tags, compiled once.

The tags are Django's ``if``, ``for``, ``with``, ``firstof``, ``now`` and ``comment``, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from flowcontrol_core import bounds
from flowcontrol_core.errors import gettext, raise_interruption
from flowcontrol_core.expressions import budget, renderer
from flowcontrol_core.expressions.compiler import build
from flowcontrol_core.expressions.expression import Compiled, check_length
from flowcontrol_core.expressions.lookup import Read
from flowcontrol_core.expressions.nodes import Literal, Node
from flowcontrol_core.expressions.parser import (
    CONSTANTS,
    CONSTANTS_ELSEWHERE,
    ExpressionParser,
    Places,
)
from flowcontrol_core.expressions.renderer import Part
from flowcontrol_core.expressions.scope import RESERVED_NAMES, Scope
from flowcontrol_core.expressions.spans import Span
from flowcontrol_core.expressions.template_pieces import Piece, cut
from flowcontrol_core.expressions.tokens import WORD_OPERATORS
from flowcontrol_core.suggest import nearest_or_all

_INNER_TAGS = ("elif", "else", "empty", "endcomment", "endfor", "endif", "endwith")
_FOR = re.compile(r"\s*(\w+(?:\s*,\s*\w+)*)\s+in\s")
_REVERSED = re.compile(r"\sreversed\s*$")
_ASSIGNMENT = re.compile(
    r"""\s*(?P<name>\w+)=(?P<value>(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"'])+)"""
)
_NAME = re.compile(r"[^\W\d_]\w*")
_NOT_FOR_VARIABLES = RESERVED_NAMES | WORD_OPERATORS | {"forloop", *CONSTANTS, *CONSTANTS_ELSEWHERE}


class TextTemplate(Compiled):
    """A template, compiled."""

    __slots__ = ("_body",)

    def __init__(self, source: str, places: Places, body: Part) -> None:
        super().__init__(source, places)
        self._body = body

    def evaluate(self, scope: Scope) -> str:
        """Return the rendered text. Raises ExpressionError, and nothing else."""
        rendering = renderer.RenderScope(scope)
        try:
            self._body(rendering)
        except BaseException as error:  # noqa: BLE001 - a property of a model may raise anything
            raise_interruption(error)
            self._fail(gettext("The template failed"), error)
        return rendering.output()


def compile_template(text: str, *, html: bool = False) -> TextTemplate:
    """Compile a template; with ``html``, values are escaped.

    Raises ExpressionError, with the span that is wrong.
    """
    check_length(Span(text, 0, len(text)), bounds.TEMPLATE_CHARACTERS)
    return _TemplateCompiler(text, html=html).compile()


class _TemplateCompiler:
    """Reads the pieces of one template, from the first to the last."""

    def __init__(self, source: str, *, html: bool) -> None:
        self._places: dict[tuple[str, ...], Span] = {}
        self._source = source
        self._html = html
        self._pieces = list(cut(source))
        self._next = 0
        self._depth = 0
        # What the present body takes at most each time, beside what is inside of its tags.
        self._steps = 0
        # The variables of the tags around the present piece; they are not names of the scope.
        self._variables: list[str] = []

    def compile(self) -> TextTemplate:
        body, _ = self._body(None)
        return TextTemplate(self._source, self._places, body)

    def _body(self, tag: Piece | None, *ends: str) -> tuple[Part, Piece]:
        """Read up to one of the tags in ``ends``, which is returned too; or to the end."""
        outer, self._steps = self._steps, 0
        self._depth += 1
        if tag is not None and self._depth > bounds.EXPRESSION_NESTING:
            text = gettext("Tags are nested more than %(n)d levels deep.")
            raise tag.span.error(text, n=bounds.EXPRESSION_NESTING)
        parts: list[Part] = []
        while self._next < len(self._pieces):
            piece = self._take()
            if piece.kind == "tag" and piece.word in ends:
                self._depth -= 1
                body = renderer.render_sequence(parts, self._steps + len(parts))
                self._steps = outer
                return body, piece
            parts.append(self._part(piece))
        if tag is not None:
            raise tag.span.error(
                gettext("This tag is not closed. Add %(tag)s."), tag=_tag(ends[-1])
            )
        return renderer.render_sequence(parts, self._steps + len(parts)), _END

    def _take(self) -> Piece:
        self._next += 1
        return self._pieces[self._next - 1]

    def _part(self, piece: Piece) -> Part:
        if piece.kind == "text":
            return renderer.render_text(piece.span.text)
        if piece.kind == "variable":
            return renderer.render_variable(self._value(piece.start, piece.stop), html=self._html)
        if piece.word not in self.TAGS:
            raise _unknown_tag(piece)
        return self.TAGS[piece.word](self, piece)

    def _comment(self, piece: Piece) -> Part:
        while self._next < len(self._pieces):
            if self._take().word == "endcomment":
                return _NOTHING
        text = gettext("This comment is not closed. Add %(tag)s.")
        raise piece.span.error(text, tag=_tag("endcomment"))

    def _if(self, piece: Piece) -> Part:
        cases: list[tuple[Read, Part]] = []
        tag = piece
        while tag.word in ("if", "elif"):
            parser = self._parser(tag.start, tag.stop)
            condition = self._build(parser, parser.parse_expression())
            body, end = self._body(tag, "elif", "else", "endif")
            cases.append((condition, body))
            tag = end
        otherwise = self._body(tag, "endif")[0] if tag.word == "else" else _NOTHING
        return renderer.render_choice(cases, otherwise)

    def _for(self, piece: Piece) -> Part:
        head = _FOR.match(self._source, piece.start, piece.stop)
        if head is None:
            text = gettext("Write a loop like this: %(example)s")
            raise piece.span.error(text, example="{% for item in state.items %}")
        names = tuple(name.strip() for name in head[1].split(","))
        for name in names:
            _check_variable(name, piece.span)
        tail = _REVERSED.search(self._source, head.end(), piece.stop)
        stop = tail.start() if tail else piece.stop
        read = self._value(head.end(), stop)
        stretch = self._source[head.end() : stop].strip()
        span = Span(self._source, self._source.index(stretch, head.end()), len(stretch))
        body, end = self._inside(piece, (*names, "forloop"), "empty", "endfor")
        empty = self._body(end, "endfor")[0] if end.word == "empty" else _NOTHING
        return renderer.Loop(names, read, span, body, empty, is_reversed=tail is not None)

    def _with(self, piece: Piece) -> Part:
        values: dict[str, Read] = {}
        position = piece.start
        while found := _ASSIGNMENT.match(self._source, position, piece.stop):
            _check_variable(found["name"], piece.span)
            values[found["name"]] = self._value(*found.span("value"))
            position = found.end()
        if not values or self._source[position : piece.stop].strip():
            text = gettext("Write the tag like this: %(example)s")
            raise piece.span.error(text, example="{% with total=object.total %}")
        body, _ = self._inside(piece, tuple(values), "endwith")
        return renderer.render_with(values, body)

    def _inside(self, tag: Piece, variables: tuple[str, ...], *ends: str) -> tuple[Part, Piece]:
        """Read a body that has variables of its own."""
        before = len(self._variables)
        self._variables += variables
        result = self._body(tag, *ends)
        del self._variables[before:]
        return result

    def _first_of(self, piece: Piece) -> Part:
        parser = self._parser(piece.start, piece.stop)
        reads = [self._build(parser, node) for node in parser.parse_values()]
        return renderer.render_first_of(reads, html=self._html)

    def _now(self, piece: Piece) -> Part:
        node = self._parser(piece.start, piece.stop).parse_expression()
        if not isinstance(node, Literal) or not isinstance(node.value, str):
            text = gettext("Write the format in quotes: %(example)s")
            raise piece.span.error(text, example='{% now "Y-m-d" %}')
        if len(node.value) > bounds.DATE_FORMAT_CHARACTERS:
            text = gettext("The format has more than %(n)d characters.")
            raise piece.span.error(text, n=bounds.DATE_FORMAT_CHARACTERS)
        self._steps += budget.of_format(node.value)
        return renderer.render_now(node.value)

    TAGS: ClassVar[dict[str, Callable[[_TemplateCompiler, Piece], Part]]] = {
        "comment": _comment,
        "firstof": _first_of,
        "for": _for,
        "if": _if,
        "now": _now,
        "with": _with,
    }

    def _value(self, start: int, stop: int) -> Read:
        parser = self._parser(start, stop)
        return self._build(parser, parser.parse_expression())

    def _parser(self, start: int, stop: int) -> ExpressionParser:
        check_length(Span(self._source, start, stop - start), bounds.EXPRESSION_CHARACTERS)
        return ExpressionParser(self._source, start, stop, html=self._html)

    def _build(self, parser: ExpressionParser, node: Node) -> Read:
        for path, span in parser.places.items():
            if path[0] not in self._variables:
                self._places.setdefault(path, span)
        self._steps += budget.of_tree(node)
        return build(node, html=self._html)


_END = Piece("tag", Span("", 0, 0), 0, 0)
_NOTHING = renderer.render_sequence((), 0)
TAGS = tuple(_TemplateCompiler.TAGS)


def _check_variable(name: str, span: Span) -> None:
    if not _NAME.fullmatch(name):
        text = gettext('"%(name)s" cannot be the name of a variable: begin with a letter.')
        raise span.error(text, name=name)
    if name in _NOT_FOR_VARIABLES:
        text = gettext('"%(name)s" has a meaning of its own. Choose another name.')
        raise span.error(text, name=name)


def _tag(word: str) -> str:
    return f"{{% {word} %}}"


def _unknown_tag(piece: Piece) -> Exception:
    if piece.word in _INNER_TAGS:
        text = gettext('"%(tag)s" has no tag before it that it belongs to. Remove it.')
        return piece.span.error(text, tag=piece.word)
    text = gettext('There is no tag "%(tag)s". %(advice)s')
    return piece.span.error(text, tag=piece.word, advice=nearest_or_all(piece.word, TAGS))
