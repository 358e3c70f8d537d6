"""A corpus of expressions and templates that Django's own engine can decide, and both engines.

The generator is seeded: each run of the tests has the same corpus. It combines every filter with
values and arguments that it is made for, and values with all operators.
"""

from __future__ import annotations

import random
from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.template import Context, Engine
from django.template.base import Parser
from django.template.defaulttags import TemplateIfParser
from django.utils.text import smart_split

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Scope, compile_expression, compile_template

NOW = datetime(2025, 3, 30, 12, 15, tzinfo=UTC)
#: What a name stands for; ``missing`` stands for nothing.
VALUES: dict[str, Any] = {
    "zero": 0,
    "two": 2,
    "minus": -7,
    "half": 0.5,
    "ratio": 1234.567,
    "price": Decimal("1234.50"),
    "yes": True,
    "no": False,
    "nothing": None,
    "empty": "",
    "name": "Ann & <Bob>",
    "word": "café",
    "digits": "42",
    "text": 'The quick "brown" fox\njumps, it\'s   <b>so</b>.\n\nBye',
    "url": "https://example.com/a b?c=ü",
    "mail": "write to ann@example.com or see www.example.com now",
    "numbers": [3, 1, 2],
    "names": ["pen", "ink", "a&b"],
    "void": [],
    "pair": (1, "a"),
    "people": [{"name": "Eva", "age": 3}, {"name": "Abe", "age": 5}],
    "address": {"city": "Berlin", "zip": "10115", "lines": ["a", "b"], "0": "zero"},
    "nested": ["a", ["b", "c"], "d"],
    "day": date(2025, 3, 28),
    "at": datetime(2025, 3, 28, 9, 5, tzinfo=UTC),
    "span": timedelta(days=1, hours=2),
}
NUMBERS = ["zero", "two", "minus", "half", "ratio", "price", "1", "-3", "2.5", "+4", "1_000"]
TEXTS = ["empty", "name", "word", "digits", "text", "url", "'a'", '"it\\"s"', "'ünïcode'"]
LISTS = ["numbers", "names", "void", "pair", "people", "nested"]
PATHS = [
    "people.0.name", "people.1.age", "people.9.name", "address.city", "address.lines.1", "name.0",
    "address.0", "address.nowhere", "numbers.2", "missing.deeper", "day.year", "at.hour", "at.date",
    "span.days", "address.items", "address.keys", "address.values",
]  # fmt: skip
ATOMS = [
    *NUMBERS, *TEXTS, *LISTS, *PATHS,
    "True", "False", "None", "yes", "no", "nothing", "missing", "address", "day", "at", "span",
]  # fmt: skip
OPERATORS = [
    "and", "or", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "is", "is not", "and", "or",
]  # fmt: skip
WIDTHS = ["0", "1", "5", "30", "two", "'7'"]

Filters = dict[str, tuple[Sequence[str], Sequence[str | None]]]

#: What each filter is applied to, and with which arguments; ``None`` is none.
FILTERS: Filters = {
    "add": ([*NUMBERS, "digits", "numbers", "word", "span", "at"], ["1", "two", "'5'", "span"]),
    "addslashes": (TEXTS, [None]),
    "capfirst": (TEXTS, [None]),
    "center": (TEXTS, WIDTHS),
    "cut": (TEXTS, ["' '", "'a'", "word"]),
    "date": (["day", "at", "word", "empty"], ["'Y-m-d'", "'D j F y'", "'N jS'"]),
    "default": (ATOMS, ["1", "'x'", "numbers", "nothing"]),
    "default_if_none": (ATOMS, ["1", "'x'", "half"]),
    "dictsort": (["people", "void"], ["'name'", "'age'"]),
    "dictsortreversed": (["people", "void"], ["'name'", "'age'"]),
    "divisibleby": (["two", "minus", "digits", "price", "zero"], ["2", "'3'", "minus"]),
    "escapejs": (TEXTS, [None]),
    "filesizeformat": ([*NUMBERS, "nothing", "word", "2048", "123456789"], [None]),
    "first": ([*LISTS, "name", "empty"], [None]),
    "floatformat": ([*NUMBERS, "digits", "word"], [None, "2", "0", "-3", "'1'", "two"]),
    "get_digit": (["two", "minus", "digits", "word", "1_000"], ["1", "2", "0", "'3'"]),
    "iriencode": (TEXTS, [None]),
    "join": (["names", "void", "name", "address"], ["', '", "''", "word"]),
    "last": ([*LISTS, "name", "empty"], [None]),
    "length": ([*LISTS, *TEXTS, "address", "two", "nothing"], [None]),
    "linenumbers": (TEXTS, [None]),
    "ljust": (TEXTS, WIDTHS),
    "lower": (TEXTS, [None]),
    "make_list": ([*TEXTS, "two", "minus"], [None]),
    "phone2numeric": (["word", "'800-COLLECT'", "empty"], [None]),
    "pluralize": (
        [*NUMBERS, *LISTS, "digits", "word", "yes"],
        [None, "'es'", "'y,ies'", "'a,b,c'"],
    ),
    "rjust": (TEXTS, WIDTHS),
    "slice": ([*LISTS, *TEXTS, "two"], ["':2'", "'1:'", "'::2'", "'-1:'", "'x'"]),
    "slugify": (TEXTS, [None]),
    "stringformat": ([*NUMBERS[:4], "word"], ["'05d'", "'s'", "'.2f'", "'x'", "'e'"]),
    "striptags": (TEXTS, [None]),
    "time": (["at", "word", "empty"], ["'H:i'", "'P'"]),
    "timesince": (["day", "at", "nothing"], ["at", "day"]),
    "timeuntil": (["day", "at"], ["at", "day"]),
    "title": (TEXTS, [None]),
    "truncatechars": (TEXTS, ["1", "5", "30", "'7'"]),
    "truncatewords": (TEXTS, ["1", "3", "30", "'2'"]),
    "upper": (TEXTS, [None]),
    "urlencode": (TEXTS, [None, "''", "'/'"]),
    "wordcount": (TEXTS, [None]),
    "wordwrap": (TEXTS, ["1", "5", "30", "'7'"]),
    "yesno": ([*ATOMS[:12], "nothing", "yes", "no"], [None, "'a,b'", "'a,b,c'", "'a'", "''"]),
}
#: Filters for HTML only.
HTML_FILTERS: Filters = {
    "escape": (TEXTS, [None]),
    "escapeseq": (["names", "void"], [None]),
    "force_escape": (TEXTS, [None]),
    "json_script": (["address", "names", "two", "word"], [None, "'id'"]),
    "linebreaks": (TEXTS, [None]),
    "linebreaksbr": (TEXTS, [None]),
    "truncatechars_html": (TEXTS, ["1", "5", "30"]),
    "truncatewords_html": (TEXTS, ["1", "3", "30"]),
    "unordered_list": (["names", "nested", "void"], [None]),
    "urlize": (["mail", "text", "url"], [None]),
    "urlizetrunc": (["mail", "text", "url"], ["5", "30"]),
}


class Generator:
    """Writes expressions and templates, the same ones for the same seed."""

    def __init__(self, seed: int, filters: Filters) -> None:
        self._random = random.Random(seed)
        self._filters = filters

    def expressions(self, number: int) -> Iterator[str]:
        """Yield expressions: each filter in turn, then values with operators."""
        names = list(self._filters)
        for index in range(number // 2):
            yield self.filtered(names[index % len(names)])
        for _ in range(number - number // 2):
            yield self.condition()

    def filtered(self, name: str) -> str:
        """Return a value with a filter, sometimes followed by another one."""
        operands, arguments = self._filters[name]
        text = self._call(self._random.choice(operands), name, self._random.choice(arguments))
        if self._random.random() < 0.2:
            text += self._random.choice(["|length", "|default:'x'", "|lower"])
        return text

    def value(self) -> str:
        """Return a value, with a filter or without."""
        if self._random.random() < 0.3:
            return self.filtered(self._random.choice(list(self._filters)))
        return self._random.choice(ATOMS)

    def condition(self) -> str:
        """Return values with operators between them."""
        words: list[str] = []
        for _ in range(self._random.randint(1, 4)):
            if words:
                words.append(self._random.choice(OPERATORS))
            if self._random.random() < 0.2:
                words.append("not")
            words.append(self.value())
        return " ".join(words)

    def templates(self, number: int) -> Iterator[str]:
        """Yield templates of one to four parts."""
        for _ in range(number):
            yield " ".join(self._part(2) for _ in range(self._random.randint(1, 4)))

    def _part(self, depth: int) -> str:
        kind = self._random.choice(["text", "value", "value", "if", "for", "with", "firstof"])
        if depth == 0 or kind == "text":
            return self._random.choice(["Dear & <b>", "100 % { } -", "{# note #}", "x\ny"])
        if kind == "value":
            return f"{{{{ {self.value()} }}}}"
        if kind == "firstof":
            return f"{{% firstof {self.value()} {self.value()} %}}"
        return self._block(kind, depth - 1)

    def _block(self, kind: str, depth: int) -> str:
        inside, other = self._part(depth), self._part(depth)
        if kind == "if":
            tail = f"{{% elif {self.condition()} %}}{other}{{% else %}}-{{% endif %}}"
            return f"{{% if {self.condition()} %}}{inside}{tail}"
        if kind == "with":
            return f"{{% with a={self.value()} %}}{inside}{{{{ a|length }}}}{{% endwith %}}"
        heads = ["item in names", "item in numbers reversed", "item in void"]
        head = self._random.choice([*heads, "key, item in address.items"])
        body = f"{{{{ forloop.counter }}}}{{{{ item|length }}}}{inside}"
        return f"{{% for {head} %}}{body}{{% empty %}}{other}{{% endfor %}}"

    @staticmethod
    def _call(operand: str, name: str, argument: str | None) -> str:
        return f"{operand}|{name}" if argument is None else f"{operand}|{name}:{argument}"


class DjangoFailedError(Exception):
    """Django's engine raised something: there is nothing to compare with."""


def _engine(*, autoescape: bool) -> Engine:
    return Engine(autoescape=autoescape)


def by_django(text: str) -> Any:
    """Return the value of an expression in ``{% if %}``."""
    engine = _engine(autoescape=False)
    context = Context(VALUES, autoescape=False)
    try:
        parser = Parser([], builtins=engine.template_builtins)
        condition: Any = TemplateIfParser(parser, list(smart_split(text))).parse()
        with context.bind_template(engine.from_string("")):
            return condition.eval(context)
    except Exception as error:
        raise DjangoFailedError(repr(error)) from error


def by_us(text: str) -> Any:
    """Return the value of an expression, or what is wrong with it."""
    try:
        return compile_expression(text).evaluate(Scope(state=VALUES, now=NOW))
    except ExpressionError as error:
        return error


def rendered_by_django(text: str, *, html: bool) -> str:
    """Return the output of a template."""
    try:
        template = _engine(autoescape=html).from_string(text)
        return str(template.render(Context(VALUES, autoescape=html)))
    except Exception as error:
        raise DjangoFailedError(repr(error)) from error


def rendered_by_us(text: str, *, html: bool) -> Any:
    """Return the output of a template, or what is wrong with it."""
    try:
        return compile_template(text, html=html).evaluate(Scope(state=VALUES, now=NOW))
    except ExpressionError as error:
        return error


def are_equal(first: Any, second: Any) -> bool:
    """Return whether two values are the same, to the type.

    A text may be marked as HTML, and the view of a dictionary be a list.
    """
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    if isinstance(first, KeysView | ValuesView | ItemsView):
        first = list(first)
    return type(first) is type(second) and bool(first == second)
