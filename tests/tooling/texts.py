"""Which texts of the sources people read, and whether each is marked for translation.

A text is bare where it is written as a literal, an f-string, or a formatted literal. A name and a
call stand for what the module assigns and returns: `raise EditError(text)` is as bare as `text`. A
function that hands a parameter on as the message of an error is one of the `sinks` itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.tooling.sources import parse

#: The functions that mark a text, each with the number of its texts.
MARKERS = {
    **dict.fromkeys(["gettext", "gettext_lazy", "gettext_noop", "_"], 1),
    **dict.fromkeys(["ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy"], 2),
    **dict.fromkeys(["npgettext", "npgettext_lazy"], 3),
}
MODULES_OF_MARKERS = {
    "django.utils.translation",
    "flowcontrol.errors",
    "flowcontrol_core.errors",
}
#: What takes the message of an error: its name, then the positions and names of the message.
Sinks = dict[str, set[tuple[int, str]]]
#: The errors that staff and operators read.
ERRORS = {
    "Problem": (1, "message"),
    **dict.fromkeys(
        [
            "EditError", "NotStartedError", "IllegalChangeError", "StaleRevisionError",
            "ExpressionError", "ConfigError", "StateError", "ValidationError", "Http404",
        ],
        (0, "message"),
    ),
}  # fmt: skip
#: Arguments and attributes of classes that are shown.
SHOWN = {"label", "help_text", "verbose_name", "verbose_name_plural", "empty_label"}
SHOWN_BY_CLASSES = (SHOWN - {"label"}) | {"description", "short_description", "group"}

_WORD = re.compile(r"[A-Za-z]{2,}")
_PLACEHOLDER = re.compile(r"%\(\w+\)\w")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Assignment = ast.Assign | ast.AnnAssign | ast.NamedExpr


def message_of(call: ast.Call, places: Iterable[tuple[int, str]]) -> ast.expr | None:
    """Return the message that a call gives, by name or by position.

    Of two functions of one name, it calls the one that has a message at the later position.
    """
    names = {name for _, name in places}
    by_name = [keyword.value for keyword in call.keywords if keyword.arg in names]
    by_place = [call.args[position] for position, _ in sorted(places) if position < len(call.args)]
    return next(iter([*by_name, *reversed(by_place)]), None)


@dataclass(frozen=True)
class Module:
    """A module of the sources."""

    path: Path

    @cached_property
    def _nodes(self) -> list[ast.AST]:
        return list(ast.walk(parse(self.path)))

    @cached_property
    def calls(self) -> list[tuple[str, ast.Call]]:
        """Each call with the name of what it calls: the last one of `a.b.name()`."""
        return [(_name(node.func), node) for node in self._nodes if isinstance(node, ast.Call)]

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in self._nodes if isinstance(node, Function)]

    @cached_property
    def imported_markers(self) -> list[ast.alias]:
        """What is imported of the functions that mark texts."""
        return [
            alias
            for node in self._nodes
            if isinstance(node, ast.ImportFrom) and node.module in MODULES_OF_MARKERS
            for alias in node.names
            if alias.name in MARKERS
        ]

    def marked(self) -> Iterator[tuple[ast.Call, list[ast.expr]]]:
        """Yield each call that marks texts, with the texts."""
        counts = {each.asname or each.name: MARKERS[each.name] for each in self.imported_markers}
        for name, call in self.calls:
            if name in counts and isinstance(call.func, ast.Name):
                yield call, call.args[: counts[name]]

    def bare_messages(self, sinks: Sinks) -> Iterator[ast.expr]:
        """Yield the messages of errors that are not marked."""
        for name, call in self.calls:
            is_log = isinstance(call.func, ast.Attribute) and _name(call.func.value) == "logger"
            message = message_of(call, sinks[name]) if name in sinks and not is_log else None
            if message is not None and self.is_bare(message):
                yield message

    def bare_labels(self) -> Iterator[ast.expr]:
        """Yield what is shown of fields, models, actions and choices and not marked."""
        for node in self._nodes:
            if isinstance(node, ast.Call):
                yield from (
                    keyword.value
                    for keyword in node.keywords
                    if keyword.arg in SHOWN and self.is_bare(keyword.value)
                )
            elif isinstance(node, ast.ClassDef):
                yield from filter(self.is_bare, _shown_by(node))

    def is_bare(self, text: ast.expr, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a text that is shown is, or can be, one that is not marked."""
        if isinstance(text, ast.Constant):
            value = text.value
            return isinstance(value, str) and bool(_WORD.search(_PLACEHOLDER.sub("", value)))
        if isinstance(text, ast.JoinedStr):
            return any(self.is_bare(part) for part in text.values)
        parts, name = self._parts(text)
        return name not in seen and any(self.is_bare(part, seen | {name}) for part in parts)

    def _parts(self, text: ast.expr) -> tuple[list[ast.expr], str]:
        """Return the texts that an expression can be, or is made of, and the name it goes by."""
        match text:
            case ast.BinOp(left=left, op=ast.Mod()):
                return [left], ""
            case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
                return [left, right], ""
            case ast.BoolOp(values=values):
                return values, ""
            case ast.Call(func=ast.Attribute(value=ast.Constant() as value, attr="format")):
                return [value], ""
            case ast.Call(func=ast.Name(id=name)):
                return self._returned(name), f"{name}()"
            case ast.Name(id=name):
                return self._assigned(name, text), name
        return [], ""

    def _returned(self, name: str) -> list[ast.expr]:
        inside = [
            node
            for function in self.functions
            if function.name == name
            for node in ast.walk(function)
        ]
        return [node.value for node in inside if isinstance(node, ast.Return) and node.value]

    def _assigned(self, name: str, use: ast.expr) -> list[ast.expr]:
        """Return what the function around it, or the module, assigns to a name."""
        around = [each for each in self.functions if _contains(each, use)]
        innermost = max(around, key=lambda each: each.lineno, default=None)
        found = [node for node in self._assignments if name in map(_name, _targets(node))]
        inside = [node for node in found if innermost and _contains(innermost, node)]
        outside = [node for node in found if node.col_offset == 0]
        return [node.value for node in inside or outside if node.value is not None]

    @cached_property
    def _assignments(self) -> list[Assignment]:
        return [node for node in self._nodes if isinstance(node, Assignment)]

    def sinks(self, known: Sinks) -> list[tuple[str, tuple[int, str]]]:
        """Return the functions that hand a parameter on as the message of a known one."""
        messages = [
            message.left if isinstance(message, ast.BinOp) else message
            for name, call in self.calls
            if name in known and (message := message_of(call, known[name])) is not None
        ]
        return [
            (function.name, (parameters.index(message.id), message.id))
            for function in self.functions
            for parameters in [_parameters(function)]
            for message in messages
            if isinstance(message, ast.Name) and message.id in parameters
            if _contains(function, message)
        ]


def find_sinks(members: Iterable[Module]) -> Sinks:
    """Return what takes the message of an error: the errors, and functions of these modules."""
    members, found = list(members), {name: {place} for name, place in ERRORS.items()}
    while True:
        before = sum(map(len, found.values()))
        for name, place in [sink for each in members for sink in each.sinks(found)]:
            found.setdefault(name, set()).add(place)
        if sum(map(len, found.values())) == before:
            return found


def _shown_by(node: ast.ClassDef) -> Iterator[ast.expr]:
    """Yield the texts among the attributes of a class, and the labels of choices."""
    is_choices = any(_name(base).endswith("Choices") for base in node.bases)
    for statement in node.body:
        if not isinstance(statement, ast.Assign):
            continue
        names = {_name(target) for target in statement.targets}
        if is_choices and not any(name.startswith("_") for name in names):
            value = statement.value
            yield value.elts[-1] if isinstance(value, ast.Tuple) else value
        elif names & SHOWN_BY_CLASSES:
            yield statement.value


def _name(node: ast.AST) -> str:
    return str(getattr(node, "id", "") or getattr(node, "attr", ""))


def _targets(node: Assignment) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _parameters(function: Function) -> list[str]:
    return [each.arg for each in function.args.args if each.arg not in {"self", "cls"}]


def _contains(function: Function, node: ast.expr | ast.stmt) -> bool:
    return function.lineno <= node.lineno <= (function.end_lineno or 0)
