"""A compiled expression: what conditions and computed values are."""

from __future__ import annotations

from typing import Any

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions.coercion import plain
from flowcontrol_core.expressions.compiler import build, collect_names
from flowcontrol_core.expressions.lookup import Read
from flowcontrol_core.expressions.parser import Parser, check_length
from flowcontrol_core.expressions.scope import Scope


class Expression:
    """An expression, ready to be evaluated any number of times, by any number of threads.

    ``source`` is the text; ``names`` are the dotted lookups it makes, such as
    ``("object", "total")``.
    """

    __slots__ = ("_read", "names", "source")

    def __init__(self, source: str, read: Read, names: frozenset[tuple[str, ...]]) -> None:
        self.source = source
        self.names = names
        self._read = read

    def __repr__(self) -> str:
        return f"<Expression {self.source!r}>"

    def evaluate(self, scope: Scope) -> Any:
        """Give the value: a plain one, or True or False for a comparison or an operator.

        Lists and dictionaries are copies. An expression that is exactly a path to a model object
        (``object``, ``object.customer``) gives the object itself, for actions that need it; where
        its model is not listed in ``EXPRESSION_FIELDS``, a relation gives its key.
        Raises ExpressionError, and nothing else.
        """
        try:
            return plain(self._read(scope))
        except ExpressionError as error:
            raise self._located(error) from error.__cause__
        except Exception as error:
            raise self._failure(error) from error

    def test(self, scope: Scope) -> bool:
        """Say whether the value counts as true. Raises ExpressionError, and nothing else."""
        try:
            return bool(self._read(scope))
        except ExpressionError:
            raise
        except Exception as error:
            raise self._failure(error) from error

    def _located(self, error: ExpressionError) -> ExpressionError:
        if error.source:
            return error
        return ExpressionError(error.message, source=self.source, length=len(self.source))

    def _failure(self, error: Exception) -> ExpressionError:
        return ExpressionError(
            f"The expression failed: {type(error).__name__}: {error}",
            source=self.source,
            length=len(self.source),
        )


def compile_expression(text: str) -> Expression:
    """Compile an expression. Raises ExpressionError, with the place that is wrong."""
    check_length(text, bounds.EXPRESSION_CHARACTERS, "The expression")
    if not text.strip():
        raise ExpressionError("The expression is empty. Write a condition or a value.", source=text)
    node = Parser(text).parse_condition()
    return Expression(text, build(node), frozenset(collect_names(node)))
