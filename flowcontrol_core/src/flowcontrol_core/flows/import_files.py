"""Reads an exported text into values, and finds everything that is wrong with its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from django.utils.translation import gettext

from flowcontrol_core import bounds
from flowcontrol_core.document import reader
from flowcontrol_core.document.format import parse, read_plugin_key
from flowcontrol_core.document.reader import Entry, Reader, Reading
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import DocumentError, Problem
from flowcontrol_core.flows import yaml_text
from flowcontrol_core.flows.exports import FORMAT
from flowcontrol_core.flows.lifecycle import FIELDS, LIMITS, POLICIES
from flowcontrol_core.models import Flow, LimitPolicy, Mode

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFlow:
    """A flow as the file has it: its columns (name, limits, queue and so on), and its triggers'."""

    path: str
    key: str
    columns: Mapping[str, Any]
    document: Document
    triggers: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What a file has: its flows, and the distribution of each plugin that they need."""

    flows: tuple[FileFlow, ...] = ()
    distributions: Mapping[str, str]


def read_file(content: str | bytes) -> File:
    """Return what an exported file has; raises DocumentError with all problems of its shape."""
    return reader.collect(_read_file(Entry(yaml_text.load(content))))


def read_steps(content: str | bytes) -> tuple[Step, ...]:
    """Return the steps that were copied as text; raises DocumentError with all that is wrong."""
    return reader.collect(_read_steps(Entry(yaml_text.load(content))))


def _read_steps(entry: Entry) -> Reading[tuple[Step, ...]]:
    readers = {
        "format": reader.single(int),
        "plugins": _list(_keys(_PLUGIN, "name")),
        "steps": _read_list_of_steps,
    }
    values = yield from reader.read_keys(entry, readers, required=("format", "steps"))
    return values.get("steps") or ()


def _read_list_of_steps(entry: Entry) -> Reading[tuple[Step, ...]]:
    document = yield from _read_document(entry._replace(value={"format": 1, "steps": entry.value}))
    return document.steps


def placed(problem: Problem, path: str) -> Problem:
    """Return a problem with its path inside of the file."""
    return replace(problem, path=f"{path}.{problem.path}" if problem.path else path)


def _read_file(entry: Entry) -> Reading[File]:
    data = entry.value
    if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
        text = gettext("must be %(format)d; a newer one needs a newer flowcontrol.")
        yield entry.at("format").problem(text % {"format": FORMAT})
        return File(distributions={})
    readers = {
        "format": reader.single(int),
        "plugins": _list(_keys(_PLUGIN, "name")),
        "flows": _list(_read_flow),
    }
    values = yield from reader.read_keys(entry, readers, required=("format", "flows"))
    flows = values.get("flows") or ()
    paths: dict[str, str] = {}
    for flow in flows:
        first = paths.setdefault(flow.key, flow.path)
        if flow.key and first != flow.path:
            text = gettext("is %(key)r, as is that of %(first)s; remove one of them.")
            yield Problem(f"{flow.path}.key", text % {"key": flow.key, "first": first}, field="key")
    plugins = values.get("plugins") or ()
    distributions = {item.get("name"): item.get("distribution", "") for item in plugins}
    return File(flows=flows, distributions=distributions)


def _list(read: Reader[_Value]) -> Reader[tuple[_Value, ...] | None]:
    """Return a reader of a list of objects, which may be absent."""

    def read_list(entry: Entry) -> Reading[tuple[_Value, ...]]:
        if not isinstance(entry.value, list) or len(entry.value) > bounds.FILE_ITEMS:
            wanted = gettext("a list of at most %(most)d objects") % {"most": bounds.FILE_ITEMS}
            yield entry.unexpected(wanted)
            return ()
        found = []
        for item in entry.items():
            found.append((yield from read(item._replace(field=""))))  # noqa: PERF401
        return tuple(found)

    return reader.optional(read_list)


def _keys(readers: Mapping[str, Reader[Any]], *required: str) -> Reader[dict[str, Any]]:
    return partial(reader.read_keys, readers=readers, required=required)


def _text(most: int) -> Reader[str | None]:
    return reader.single(reader.check_text, most)


def _number(low: int) -> Reader[int | None]:
    return reader.optional(reader.single(reader.check_integer, low, bounds.COLUMN_NUMBER))


_PLUGIN = {
    "name": _text(bounds.NAME_CHARACTERS),
    "distribution": _text(bounds.NAME_CHARACTERS),
}
_TRIGGER = {
    "trigger": read_plugin_key,
    "mode": reader.single(reader.check_choice, tuple(Mode.values)),
    "active": reader.single(reader.check_boolean),
    "condition": _text(bounds.EXPRESSION_CHARACTERS),
    "config": reader.json_object,
    "step": _text(bounds.NAME_CHARACTERS),
}
_LIMITS = {
    **dict.fromkeys(LIMITS, _number(1)),
    **dict.fromkeys(POLICIES, reader.single(reader.check_choice, tuple(LimitPolicy.values))),
}


def _read_document(entry: Entry) -> Reading[Document]:
    try:
        return parse(entry.value)
    except DocumentError as error:
        yield from (placed(problem, entry.path) for problem in error.problems)
        return Document()


_FLOW = {
    "key": _text(bounds.NAME_CHARACTERS),
    "name": _text(bounds.NAME_CHARACTERS),
    "description": _text(bounds.DESCRIPTION_CHARACTERS),
    "limits": _keys(_LIMITS),
    "queue": _text(bounds.QUEUE_CHARACTERS),
    "retention_days": _number(0),
    "retention_runs": _number(0),
    "triggers": _list(_keys(_TRIGGER, "trigger")),
    "document": _read_document,
}


def _read_flow(entry: Entry) -> Reading[FileFlow]:
    values = yield from reader.read_keys(entry, _FLOW, required=("key", "name", "document"))
    given = {**values, **(values.get("limits") or {})}
    defaults = Flow()
    return FileFlow(
        path=entry.path,
        key=values.get("key", ""),
        columns={name: given.get(name, getattr(defaults, name)) for name in FIELDS},
        document=values.get("document") or Document(),
        triggers=values.get("triggers") or (),
    )
