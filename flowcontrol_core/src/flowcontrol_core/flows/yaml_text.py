"""YAML from outside: one pass over the parser's events, with bounds on all that could grow.

Values are those of the core schema of YAML 1.2 and nothing more: texts, numbers, true, false, null,
lists and objects. So ``yes``, ``12:30:00`` and ``2024-01-01`` are texts, and ``<<`` is a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import yaml
from django.utils.translation import gettext

from flowcontrol_core import bounds
from flowcontrol_core.errors import DocumentError, EditError, Problem

#: The parser of libyaml, where PyYAML was built with it: it is many times as fast.
_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
#: How the values are written that are not texts; the first pattern that fits counts.
_SCALARS: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (_INTEGER, int),
    (_BASED, lambda text: int(text[2:], 8 if text[1] == "o" else 16)),
    (_FLOAT, float),
    (_SPECIAL, lambda text: float(text.replace(".", "").lower())),
)
#: What a value that is not a text begins with; all others are not compared with the patterns.
_FIRST: Final = frozenset("nN~tTfF+-.0123456789")
#: No number that can be stored is written with more characters.
_NUMBER_CHARACTERS: Final = 400


def load(content: str | bytes) -> Any:
    """Return the values of one YAML document, a text or a file in UTF-8.

    Raises DocumentError, with line and column. Anchors, aliases and tags are refused: with
    references a few lines unfold without end, and a tag asks for more than plain values.
    """
    text = _decoded(content)
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        what = ", ".join(filter(None, [error.context, error.problem]))
        raise _invalid(error.problem_mark, what) from error
    except yaml.YAMLError as error:
        raise _invalid(None, str(error)) from error


def dump(data: Any) -> str:
    """Return plain values as YAML; raises EditError where ``load`` would refuse its size."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if len(text.encode()) > bounds.FILE_BYTES or _count_events(data) > bounds.FILE_EVENTS:
        message = gettext("The export is larger than %(size)s KiB; export fewer flows at once.")
        raise EditError(message % {"size": f"{bounds.FILE_BYTES // 1024:,}"})
    return text


def _decoded(content: str | bytes) -> str:
    try:
        data = content if isinstance(content, bytes) else content.encode()
        if len(data) > bounds.FILE_BYTES:
            message = gettext("The file is larger than %(size)s KiB; import it in parts.")
            raise _error(None, message % {"size": f"{bounds.FILE_BYTES // 1024:,}"})
        return data.decode()
    except UnicodeError as error:
        message = gettext("The file is not a text in UTF-8: %(problem)s.")
        raise _error(None, message % {"problem": error}) from error


class _Builder:
    """Makes values of events as they come: nothing is kept but the values, and the way to them."""

    def __init__(self) -> None:
        #: The lists and objects that are open, the outermost first, with the key that waits.
        self._open: list[tuple[Any, Any]] = []
        self._value: Any = None
        self._documents = 0

    def build(self, text: str) -> Any:
        """Return the value of the one document."""
        for count, event in enumerate(yaml.parse(text, Loader=_PARSER)):
            if count >= bounds.FILE_EVENTS:
                message = gettext("It has more than %(most)s values and keys; import it in parts.")
                raise _error(event.start_mark, message % {"most": f"{bounds.FILE_EVENTS:,}"})
            self._take(event)
        return self._value

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_reference(event)
            self._add(_scalar(event), event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._refuse_reference(event)
            self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse_reference(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _error(event.start_mark, gettext("It has more than one YAML document."))

    def _begin(self, collection: Any, event: Any) -> None:
        self._add(collection, event)
        self._open.append((collection, _NO_KEY))
        if len(self._open) > bounds.FILE_DEPTH:
            message = gettext("It nests deeper than %(most)d levels.")
            raise _error(event.start_mark, message % {"most": bounds.FILE_DEPTH})

    def _add(self, value: Any, event: Any) -> None:
        """Put a value, or the key of one, where it belongs."""
        if not self._open:
            self._value = value
            return
        collection, key = self._open[-1]
        if isinstance(collection, list):
            collection.append(value)
        elif key is _NO_KEY:
            self._open[-1] = (collection, _key(value, collection, event))
        else:
            collection[key] = value
            self._open[-1] = (collection, _NO_KEY)

    def _refuse_reference(self, event: Any) -> None:
        if event.anchor:
            message = gettext("Anchors (&) and aliases (*) are not allowed; write the value out.")
            raise _error(event.start_mark, message)
        if event.tag is not None:
            message = gettext("Tags (!) are not allowed; write the value without %(tag)s.")
            raise _error(event.start_mark, message % {"tag": event.tag})


_NO_KEY: Final = object()


def _key(value: Any, collection: dict[Any, Any], event: Any) -> Any:
    if isinstance(value, list | dict):
        raise _error(event.start_mark, gettext("A key has to be a text, not a list or an object."))
    if value in collection:
        message = gettext("The key %(key)r occurs twice; remove one of them.")
        raise _error(event.start_mark, message % {"key": value})
    return value


def _scalar(event: Any) -> Any:
    """Return the value of a scalar; one in quotes, or in a block, is a text."""
    text: str = event.value
    if not event.implicit[0] or (text and text[0] not in _FIRST):
        return text
    for pattern, read in _SCALARS:
        if pattern.fullmatch(text):
            if len(text) > _NUMBER_CHARACTERS:
                raise _error(event.start_mark, gettext("This number is too large."))
            return read(text)
    return text


def _count_events(data: Any) -> int:
    """Return how many events the parser would make of values."""
    # Four are the beginning and the end of the stream and of the document.
    pending, count = [data], 4
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            count += 2 + len(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            count += 2
            pending.extend(item)
        else:
            count += 1
    return count


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs twice out twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    """Write the values of choices, and marked texts, as the texts they are."""
    return dumper.represent_str(str(data))


_Dumper.add_multi_representer(str, _write_text)
# A text that YAML 1.2 would read as a number is written in quotes, as PyYAML does for YAML 1.1.
for _tag, _pattern in (("int", _INTEGER), ("int", _BASED), ("float", _FLOAT)):
    _Dumper.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern.pattern})$"), list("-+.0123456789")
    )


def _invalid(mark: Any, what: str) -> DocumentError:
    return _error(mark, gettext("This is not valid YAML: %(problem)s.") % {"problem": what})


def _error(mark: Any, message: str) -> DocumentError:
    """Return the error at a mark, which counts from 0; the reader has not always set one."""
    text = gettext("line %(line)d, column %(column)d")
    place = text % {"line": mark.line + 1, "column": mark.column + 1} if mark else ""
    return DocumentError([Problem(place, message)])
