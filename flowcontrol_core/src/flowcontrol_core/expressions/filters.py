"""What a filter and a function of an expression are: those of Django, of plugins, of a project."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.db.models import Model
from django.utils.functional import Promise

from flowcontrol_core.errors import ExpressionError, RegistrationError, gettext
from flowcontrol_core.expressions.coercion import (
    as_local,
    bounded_list,
    bounded_number,
    bounded_text,
    bounded_tree,
    plain,
    text_of_object,
)
from flowcontrol_core.expressions.visibility import NAMES_OF_OTHERS, harmless

# (value, argument or None, now) -> result
Apply = Callable[[Any, Any, datetime], Any]
Takes = Literal["nothing", "maybe", "argument"]

# What a filter of a plugin may answer, beside lists and dictionaries of it.
_PLAIN = (str, bool, int, float, Decimal, date, time, timedelta)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter as expressions apply it: to a value, with an argument or without."""

    name: str
    apply: Apply
    takes: Takes = "nothing"
    example: str = ""
    html_only: bool = False
    # What it does instead in an HTML template.
    apply_html: Apply | None = None
    #: What it does, in one line.
    description: str | Promise = ""


@dataclass(frozen=True, slots=True)
class ExpressionFilter:
    """A filter that a plugin adds to expressions: ``name|shorten:20``.

    ``function`` takes the value and perhaps one argument. It has to be pure: the same values give
    the same result, and nothing else changes. It gets copies of lists and dictionaries, and
    model objects only where their model is listed in EXPRESSION_FIELDS, their key otherwise. Its
    result is a plain value within the bounds of filters. What it raises fails the expression.
    """

    name: str
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ExpressionFunction:
    """A function that a plugin adds to expressions: ``days(3)``.

    ``function`` takes its arguments by position, and has to be pure as a filter has.
    """

    name: str
    function: Callable[..., Any]

    @property
    def least(self) -> int:
        """The number of arguments that it needs."""
        return sum(each.default is each.empty for each in _parameters(self.function))

    @property
    def most(self) -> int:
        """The number of arguments that it takes."""
        return len(_parameters(self.function))

    @property
    def example(self) -> str:
        """How it is called, for messages."""
        return f"{self.name}({', '.join(each.name for each in _parameters(self.function))})"

    @property
    def description(self) -> str:
        """What it does, in one line."""
        return first_line(self.function)

    def apply(self, values: Sequence[Any]) -> Any:
        """Return the result for some arguments."""
        return bounded_result(self.function(*(bounded(value) for value in values)))


def adapt(name: str, function: Callable[..., Any]) -> Filter:
    """Return the filter that a function is; as Django's do, it may ask for escaping or local time.

    Raises RegistrationError where it takes other parameters than a filter has.
    """
    needs_autoescape = getattr(function, "needs_autoescape", False)
    expects_localtime = getattr(function, "expects_localtime", False)
    parameters = [each for each in _parameters(function) if each.name != "autoescape"]
    required = sum(each.default is each.empty for each in parameters)
    if not 1 <= len(parameters) <= 2 or required == 0:
        raise RegistrationError(
            f"The filter {name!r} must take a value, and at most one argument, not "
            f"({', '.join(each.name for each in parameters)})."
        )

    takes: Takes = "argument" if required > 1 else "maybe" if len(parameters) > 1 else "nothing"

    def apply_with(value: Any, argument: Any, *, html: bool) -> Any:
        value = bounded(value)
        if expects_localtime:
            local = as_local(value)
            value = value if local is None else local
        is_given = takes == "argument" or argument is not None
        arguments = (bounded(argument),) if is_given else ()
        options = {"autoescape": html} if needs_autoescape else {}
        return bounded_result(function(value, *arguments, **options))

    return Filter(
        name,
        lambda value, argument, _now: apply_with(value, argument, html=False),
        takes,
        f"value|{name}:argument",
        apply_html=lambda value, argument, _now: apply_with(value, argument, html=True),
        description=first_line(function),
    )


def first_line(function: Callable[..., Any]) -> str:
    """Return the first line of the docstring of a function; empty where it has none."""
    return next(iter((inspect.getdoc(function) or "").splitlines()), "")


def bounded(value: Any) -> Any:
    """Return a value as a filter may get it: a copy, within the bounds of filters.

    A model object is itself where its model is listed, otherwise its key.
    """
    value = plain(value, show=_shown)
    if isinstance(value, str):
        return bounded_text(value)
    if isinstance(value, list | tuple):
        return bounded_list(value)
    return bounded_number(value)


def _shown(value: Model) -> Any:
    has_public_key = "pk" in NAMES_OF_OTHERS[type(value)]
    return harmless(value) if has_public_key else text_of_object(value)


def bounded_result(value: Any) -> Any:
    """Return what a filter answered; raises ExpressionError where it is not a plain, small value.

    Model objects, querysets and functions are not.
    """
    value = plain(value, show=lambda _object: None)
    if isinstance(value, list | tuple | dict | set | frozenset):
        bounded_tree([value])
        return value
    if value is not None and not isinstance(value, _PLAIN):
        text = gettext("The result is of the type %(type)s; only plain values can be used.")
        raise ExpressionError(text % {"type": type(value).__name__})
    return bounded(value)


def check_function(offered: ExpressionFilter | ExpressionFunction) -> None:
    """Raise RegistrationError where a filter or function can be seen to be wrong."""
    function: Any = offered.function
    if not callable(function):
        raise RegistrationError(f"{offered.name!r} is {function!r}, which cannot be called.")
    if inspect.iscoroutinefunction(function):
        raise RegistrationError(f"{offered.name!r} is asynchronous: define it with `def`.")
    try:
        parameters = _parameters(function)
    except (TypeError, ValueError) as error:
        raise RegistrationError(
            f"The parameters of {offered.name!r} are unknown: {error}. Wrap it in a function."
        ) from error
    for each in parameters:
        if each.kind not in _POSITIONAL:
            raise RegistrationError(
                f"{offered.name!r} takes {each}: arguments of expressions have a position, so "
                "name each of its parameters."
            )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())
