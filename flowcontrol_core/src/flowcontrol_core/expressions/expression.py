"""A compiled expression: what conditions and computed values are."""

from __future__ import annotations

from typing import Any, NoReturn

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError, gettext, raise_interruption
from flowcontrol_core.expressions.coercion import plain
from flowcontrol_core.expressions.compiler import build
from flowcontrol_core.expressions.lookup import Read
from flowcontrol_core.expressions.parser import ExpressionParser, Places
from flowcontrol_core.expressions.scope import Scope
from flowcontrol_core.expressions.spans import Span


class Compiled:
    """A text that was compiled: ready to be evaluated any number of times, by any thread.

    ``source`` is the text; ``places`` are the dotted lookups it makes in the scope, such as
    ``("object", "total")``, each with the first place where it stands.
    """

    __slots__ = ("places", "source")

    def __init__(self, source: str, places: Places) -> None:
        self.source = source
        self.places = places

    @property
    def names(self) -> frozenset[tuple[str, ...]]:
        """The dotted lookups alone."""
        return frozenset(self.places)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source[:50]!r}>"

    def _fail(self, what: str, error: BaseException) -> NoReturn:
        """Raise an error as an ExpressionError that marks the source, as a part of it or whole."""
        if isinstance(error, ExpressionError) and error.source:
            raise error
        cause = error.__cause__ if isinstance(error, ExpressionError) else error
        raise Span(self.source, 0, len(self.source)).failure(what, error) from cause


class Expression(Compiled):
    """An expression, compiled."""

    __slots__ = ("_read",)

    def __init__(self, source: str, places: Places, read: Read) -> None:
        super().__init__(source, places)
        self._read = read

    def evaluate(self, scope: Scope) -> Any:
        """Return the value: a plain one, or True or False for a comparison or ``not``.

        Lists and dictionaries are copies. An expression that is exactly a path to a model object
        (``object``, ``object.customer``) returns the object itself, for actions that need it; where
        its model is not listed in ``EXPRESSION_FIELDS``, a relation returns its key.
        Raises ExpressionError, and nothing else.
        """
        scope.steps = bounds.EVALUATION_STEPS
        try:
            return plain(self._read(scope))
        except BaseException as error:  # noqa: BLE001 - a property of a model may raise anything
            raise_interruption(error)
            self._fail(gettext("The expression failed"), error)

    def test(self, scope: Scope) -> bool:
        """Return whether the value counts as true. Raises ExpressionError, and nothing else."""
        scope.steps = bounds.EVALUATION_STEPS
        try:
            return bool(self._read(scope))
        except BaseException as error:  # noqa: BLE001 - a property of a model may raise anything
            raise_interruption(error)
            self._fail(gettext("The expression failed"), error)


def compile_expression(text: str) -> Expression:
    """Compile an expression. Raises ExpressionError, with the span that is wrong."""
    check_length(Span(text, 0, len(text)), bounds.EXPRESSION_CHARACTERS)
    if not text.strip():
        message = gettext("The expression is empty. Write a condition or a value.")
        raise ExpressionError(message, source=text)
    parser = ExpressionParser(text)
    node = parser.parse_expression()
    return Expression(text, parser.places, build(node))


def check_length(span: Span, limit: int) -> None:
    """Raise ExpressionError, marking what is too much, where a text is too long to compile."""
    if span.length > limit:
        excess = Span(span.source, span.position + limit, span.length - limit)
        text = gettext("This has %(n)s characters; at most %(limit)s are possible.")
        raise excess.error(text, n=f"{span.length:,}", limit=f"{limit:,}")
