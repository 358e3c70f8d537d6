"""Reads an exported text into values, and finds everything that is wrong with its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flowcontrol_core.document.parse import parse
from flowcontrol_core.document.reader import Fields
from flowcontrol_core.document.rules import ACTION, MAX_KEY
from flowcontrol_core.document.tree import Document
from flowcontrol_core.document.values import ValueCopier, kind
from flowcontrol_core.errors import DocumentError, Problem
from flowcontrol_core.flows import yaml_text
from flowcontrol_core.flows.exports import FORMAT
from flowcontrol_core.flows.lifecycle import LIMITS, POLICIES, RETENTION
from flowcontrol_core.models import Flow, LimitPolicy, Mode

MAX_FLOWS = 500
MAX_TEXT = 10_000
MAX_NUMBER = 2**31 - 1
MAX_CONDITION = 1_000
MAX_QUEUE = 50
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTrigger:
    """A flow trigger as the file has it."""

    trigger: str
    mode: str
    active: bool
    condition: str
    config: Mapping[str, Any]
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFlow:
    """A flow as the file has it; ``fields`` are its columns: name, limits, queue and so on."""

    path: str
    key: str
    fields: Mapping[str, Any]
    document: Document
    triggers: tuple[FileTrigger, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What a file has: its flows, and the distribution of each plugin that they need."""

    flows: tuple[FileFlow, ...]
    distributions: Mapping[str, str]


def read_file(text: str) -> File:
    """Read an exported text; raises DocumentError with all problems of its shape."""
    data = yaml_text.load(text)
    problems: list[Problem] = []
    file = _file(data, problems)
    if problems:
        raise DocumentError(problems)
    return file


def placed(problem: Problem, path: str) -> Problem:
    """Give a problem with its path inside of the file."""
    joined = f"{path}.{problem.path}" if problem.path else path
    return replace(problem, path=joined)


def _file(data: Any, problems: list[Problem]) -> File:
    if not isinstance(data, dict):
        message = f"The file must be an object with the key 'flows', not {kind(data)}."
        problems.append(Problem("", message))
        return File(flows=(), distributions={})
    fields = Fields(data, problems)
    if fields.raw("format", FORMAT) != FORMAT:
        fields.report("format", f"must be {FORMAT}; a newer one needs a newer flowcontrol.")
        return File(flows=(), distributions={})
    fields.check_keys(("format", "plugins", "flows"), required=("format", "flows"))
    flows = _items(fields, "flows", problems, _flow)
    _refuse_twins(flows, problems)
    plugins = _items(fields, "plugins", problems, _plugin)
    return File(flows=flows, distributions=dict(plugins))


def _items(
    fields: Fields,
    key: str,
    problems: list[Problem],
    read: Callable[[Fields, str, list[Problem]], _Value],
    path: str = "",
) -> tuple[_Value, ...]:
    """Read a list of objects."""
    given = fields.raw(key)
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_FLOWS:
        fields.report(key, f"must be a list of at most {MAX_FLOWS} objects.")
        return ()
    found = []
    for index, item in enumerate(given):
        place = f"{path}{key}[{index}]"
        if isinstance(item, dict):
            found.append(read(Fields(item, problems, path=place), place, problems))
        else:
            problems.append(Problem(place, f"must be an object with keys, not {kind(item)}."))
    return tuple(found)


def _plugin(fields: Fields, _path: str, _problems: list[Problem]) -> tuple[str, str]:
    fields.check_keys(("name", "distribution"), required=("name",))
    name = fields.text("name", "", limit=MAX_KEY)
    return name, fields.text("distribution", "", limit=MAX_KEY)


def _flow(fields: Fields, path: str, problems: list[Problem]) -> FileFlow:
    fields.check_keys(
        ("key", "name", "description", "limits", *RETENTION, "triggers", "document"),
        required=("key", "name", "document"),
    )
    return FileFlow(
        path=path,
        key=fields.text("key", "", limit=MAX_KEY),
        fields={
            "name": fields.text("name", "", limit=MAX_KEY),
            "description": fields.text("description", "", limit=MAX_TEXT),
            **_limits(fields, path, problems),
            **_keeping(fields),
        },
        document=_document(fields, path, problems),
        triggers=_items(fields, "triggers", problems, _trigger, f"{path}."),
    )


def _limits(fields: Fields, path: str, problems: list[Problem]) -> dict[str, Any]:
    given = fields.raw("limits", {})
    if not isinstance(given, dict):
        fields.report("limits", f"must be an object with keys, not {kind(given)}.")
        given = {}
    limits = Fields(given, problems, path=f"{path}.limits")
    limits.check_keys((*LIMITS, *POLICIES), required=())
    numbers = {name: _number(limits, name, low=1) for name in LIMITS}
    choices = tuple(LimitPolicy.values)
    return {**numbers, **{name: limits.choice(name, choices[0], choices) for name in POLICIES}}


def _keeping(fields: Fields) -> dict[str, Any]:
    """Read which workers execute the runs, and how long they are kept."""
    queue = Flow._meta.get_field("queue").get_default()
    return {
        "queue": fields.text("queue", queue, limit=MAX_QUEUE),
        "retention_days": _number(fields, "retention_days", low=0),
        "retention_runs": _number(fields, "retention_runs", low=0),
    }


def _number(fields: Fields, name: str, *, low: int) -> int | None:
    if fields.raw(name) is None:
        return None
    return fields.integer(name, low, low=low, high=MAX_NUMBER)


def _document(fields: Fields, path: str, problems: list[Problem]) -> Document:
    try:
        return parse(fields.raw("document", {"format": 1, "steps": []}))
    except DocumentError as error:
        problems += [placed(problem, f"{path}.document") for problem in error.problems]
        return Document()


def _trigger(fields: Fields, path: str, problems: list[Problem]) -> FileTrigger:
    names = ("trigger", "mode", "active", "condition", "config", "step")
    fields.check_keys(names, required=("trigger",))
    config = fields.raw("config", {})
    if not isinstance(config, dict):
        fields.report("config", f"must be an object with keys, not {kind(config)}.")
        config = {}
    modes = tuple(Mode.values)
    return FileTrigger(
        trigger=fields.matching("trigger", ACTION, "a key such as 'shop.paid'", limit=MAX_KEY),
        mode=fields.choice("mode", modes[0], modes),
        active=fields.boolean("active", default=True),
        condition=fields.text("condition", "", limit=MAX_CONDITION),
        config=ValueCopier(problems).copy_config(config, f"{path}.config", ""),
        step=fields.text("step", "", limit=MAX_KEY),
    )


def _refuse_twins(flows: tuple[FileFlow, ...], problems: list[Problem]) -> None:
    seen: dict[str, str] = {}
    for flow in flows:
        first = seen.setdefault(flow.key, flow.path)
        if first != flow.path:
            message = f"is {flow.key!r}, as is that of {first}; remove one of them."
            problems.append(Problem(f"{flow.path}.key", message, field="key"))
