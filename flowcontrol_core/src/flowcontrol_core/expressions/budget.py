"""What an evaluation may cost, in steps: they are counted, so the result depends on no clock.

A step is what a slow machine does in a millionth of a second. What an expression or a body of a
template does at most is counted once, when it is compiled; added to that is what depends on values:
the passes of loops, and the texts, lists and dictionaries that filters and comparisons read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from flowcontrol_core import bounds
from flowcontrol_core.expressions import nodes

#: A pass of a loop, beside the body and the names that it sets.
PASS = 2
#: What a filter takes for each character of its value and argument, where that is not as for most;
#: a member of a list counts as eight. Those that read nothing but the ends take none.
_BY_SIZE: Mapping[str, float] = {
    **dict.fromkeys(("default", "default_if_none", "first", "last", "length", "yesno"), 0.0),
    "dictsort": 1.0,
    "dictsortreversed": 1.0,
    "linenumbers": 5.0,
    "striptags": 4.0,
    "truncatechars_html": 7.0,
    "truncatewords_html": 6.0,
    "wordwrap": 1.0,
}
_BY_SIZE_OF_MOST = 0.25
#: What a filter takes for any value, where that is more than most.
_ALWAYS: Mapping[str, int] = {
    "filesizeformat": 20,
    "floatformat": 20,
    "timesince": 10,
    "timeuntil": 10,
}
_ALWAYS_OF_MOST = 3
_FORMATS = frozenset({"date", "time"})
_CONTAINERS = (list, tuple, set, frozenset, Mapping)
#: More members than these are not counted: they are too many for everything.
_MOST_MEMBERS = 2 * bounds.EVALUATION_STEPS


class Size(NamedTuple):
    """How much there is in a value: characters of texts, and members of lists and dictionaries."""

    characters: int
    members: int


def of_tree(node: Any) -> int:
    """Return how many steps the evaluation of a tree takes at most, beside what values add."""
    if isinstance(node, tuple):
        return sum(map(of_tree, node))
    if isinstance(node, nodes.Path):
        # The first part is a name, each further one is read from what was found.
        return 3 * len(node.parts) - 2
    if not is_dataclass(node) or type(node).__module__ != nodes.__name__:
        return 0
    return 1 + sum(of_tree(getattr(node, field.name)) for field in fields(node))


def of_filter(name: str, value: Any, argument: Any) -> int:
    """Return how many steps the call of a filter takes."""
    if name in _FORMATS:
        return of_format(argument)
    steps, by_size = _ALWAYS.get(name, _ALWAYS_OF_MOST), _BY_SIZE.get(name, _BY_SIZE_OF_MOST)
    if by_size:
        for characters, members in (size(value), size(argument)):
            steps += int((characters + 8 * members) * by_size)
    return steps


def of_format(date_format: Any) -> int:
    """Return how many steps it takes to write a time in a format; "r" stands for a long one."""
    text = date_format if isinstance(date_format, str) else ""
    return 20 + 2 * len(text) + 8 * text.count("r")


def of_text(value: Any) -> int:
    """Return how many steps it takes to write a value."""
    return 0 if isinstance(value, str) else _by_members(value, 2)


def of_comparison(first: Any, second: Any) -> int:
    """Return how many steps a comparison of two values takes, or to find one in the other."""
    return _by_members(first, 1) + _by_members(second, 1)


def _by_members(value: Any, steps: int) -> int:
    characters, members = size(value)
    return members * steps + characters // 256


def size(value: Any) -> Size:
    """Return how much there is in a value, at any depth."""
    if isinstance(value, str):
        return Size(len(value), 0)
    if not isinstance(value, _CONTAINERS):
        return Size(0, 0)
    pending, characters, members = [value], 0, 0
    while pending and members < _MOST_MEMBERS:
        item = pending.pop()
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, _CONTAINERS):
            members += len(item)
            pending.extend(item)
            if isinstance(item, Mapping):
                pending.extend(item.values())
    return Size(characters, members)
