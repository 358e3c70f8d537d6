"""The format of a document: the tables of its keys, and what is read and written by them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from typing import Any, Final, get_args

from flowcontrol_core import bounds
from flowcontrol_core.document import reader
from flowcontrol_core.document.reader import Entry, Reader, Reading
from flowcontrol_core.document.tree import Document, IfUnknown, Jitter, RetryPolicy, Step
from flowcontrol_core.errors import DocumentError, Problem, gettext

BRANCH: Final = re.compile(r"[a-z][a-z0-9_]*")
ERROR_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
STEP_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")

_read_step_id = reader.pattern(
    STEP_ID, lambda: gettext("1 to 32 letters (a-z, A-Z), digits, _ or -")
)
#: Reads the key of an action or a trigger.
read_plugin_key = reader.pattern(
    re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+"),
    lambda: gettext(
        "'<plugin>.<name>' in lower-case letters, digits and _, each part beginning with a "
        "letter, such as 'builtin.delay'"
    ),
)
_read_model = reader.pattern(
    re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*"),
    lambda: gettext("a model as 'app_label.model' in lower case, such as 'shop.customer'"),
)

# Whether it is known depends on the machine, and may change: that is checked where it is used.
_read_time_zone = reader.pattern(
    re.compile(r"(?=.{1,100}\Z)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"),
    lambda: gettext("the IANA name of a time zone, such as 'Europe/Berlin'"),
)


def parse(data: object) -> Document:
    """Return the document of JSON data (as ``json.loads`` or a YAML reader returns it).

    Raises DocumentError with all problems, in reading order, if it is not a valid one.
    The document shares nothing with ``data``.
    """
    document = reader.collect(_read_document(Entry(data)))
    _compact(document)
    return document


def validated(document: Document) -> Document:
    """Return a document that was made in code as it is read back; raises DocumentError."""
    return parse(written(document))


def to_data(document: Document) -> dict[str, Any]:
    """Return the canonical JSON form of a document; ``parse`` reads it back as an equal one.

    Defaults are left out, except what a reader wants to see of each step: id, action and config.
    The data shares nothing with the document. Durations are in seconds.
    Raises DocumentError for a document that is larger than allowed.
    """
    data: dict[str, Any] = json.loads(_compact(document))
    return data


def _compact(document: Document) -> str:
    """Return a document as compact JSON; raises DocumentError where it is larger than allowed."""
    compact = json.dumps(written(document), ensure_ascii=False, separators=(",", ":"))
    if len(compact.encode(errors="surrogatepass")) > bounds.DOCUMENT_BYTES:
        raise DocumentError([_too_large()])
    return compact


def digest(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of a document's data, in hexadecimal.

    Empty branches mean the same as absent ones, so they do not count.
    """
    content = {**data, "steps": [_without_empty_branches(step) for step in data["steps"]]}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Return compact JSON with sorted keys, in which 1 and 1.0 are the same number.

    A database may hand back a number or an order of keys in another notation (PostgreSQL's
    jsonb reads 1e20 back as a whole number); the content stays the same.
    """
    plain = _plain(value)
    return json.dumps(
        plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def _too_large() -> Problem:
    message = gettext(
        "The document is larger than %(size)s KiB as JSON; shorten its texts or split it into "
        "several flows."
    )
    return Problem("", message % {"size": f"{bounds.DOCUMENT_BYTES // 1024:,}"})


def _without_empty_branches(step: Mapping[str, Any]) -> dict[str, Any]:
    branches = {
        name: [_without_empty_branches(inner) for inner in steps]
        for name, steps in step.get("branches", {}).items()
        if steps
    }
    rest = {key: value for key, value in step.items() if key != "branches"}
    return {**rest, "branches": branches} if branches else rest


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else _whole(value)


def _whole(value: object) -> object:
    """Return a whole number without a fraction, so that 30 and 30.0 are written alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True)
class Key:
    """A row of a table: how the value under one key is read and written, and its default."""

    read: Reader[Any]
    write: Callable[[Any], Any] = lambda value: value
    always_written: bool = False
    #: Whether two documents are compared by the value as a whole.
    is_plain: bool = True
    default: Any = None


def _table(of: type, **keys: Key) -> dict[str, Key]:
    """Return the rows of the fields of a class, in their order and with their defaults."""
    table = {}
    for field in fields(of):
        make = field.default_factory
        default = field.default if make is MISSING else make()
        table[field.name] = replace(keys[field.name], default=default)
    return table


def written(value: Document | Step | RetryPolicy) -> dict[str, Any]:
    """Return the data of a value by its table; it still shares the configurations with it."""
    data = {"format": Document.FORMAT} if isinstance(value, Document) else {}
    return data | {
        name: key.write(found)
        for name, key in TABLES[type(value)].items()
        if (found := getattr(value, name)) != key.default or key.always_written
    }


def read_values(
    table: Mapping[str, Key], values: Mapping[str, Any], path: str = "", step: str = ""
) -> Reading[dict[str, Any]]:
    """Return some values of an object as they would be read back after writing."""
    data = {name: table[name].write(value) for name, value in values.items()}
    return reader.read_keys(Entry(data, path, step), {name: table[name].read for name in values})


def _read_object(
    entry: Entry, table: Mapping[str, Key], **others: Reader[Any]
) -> Reading[dict[str, Any]]:
    """Return the values of an object by its table, some of them read by others."""
    readers = {name: key.read for name, key in table.items()} | others
    required = [name for name, key in table.items() if key.default is MISSING]
    return reader.read_keys(entry, readers, required)


def _check_format(value: object) -> int:
    if type(value) is int and value == Document.FORMAT:
        return value
    raise reader.expected(str(Document.FORMAT), value)


def _check_timeout(value: object) -> float:
    timeout = reader.to_seconds(value)
    if timeout == 0:
        raise ValueError(gettext("must be longer than 0; leave it out for no time-out."))
    return timeout


def _check_errors(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > bounds.ERROR_NAMES:
        words = {"most": bounds.ERROR_NAMES}
        raise reader.expected(gettext("a list of at most %(most)d names") % words, value)
    for name in value:
        if not isinstance(name, str) or not ERROR_NAME.fullmatch(name):
            message = gettext("has %(name)s in it, but must list names such as 'TimeoutError'.")
            raise ValueError(message % {"name": reader.shown(name)})
    return tuple(value)


def _read_retry(entry: Entry) -> Reading[RetryPolicy | None]:
    values = yield from _read_object(entry, RETRY_KEYS)
    return RetryPolicy(**values) if values else None


def _write_branches(branches: Mapping[str, tuple[Step, ...]]) -> dict[str, Any]:
    return {name: [written(step) for step in steps] for name, steps in branches.items()}


RETRY_KEYS: Final = _table(
    RetryPolicy,
    attempts=Key(reader.single(reader.check_integer, 1, bounds.ATTEMPTS)),
    backoff=Key(reader.single(reader.to_seconds), write=_whole),
    factor=Key(reader.single(reader.check_number, 1, bounds.FACTOR), write=_whole),
    jitter=Key(reader.single(reader.check_choice, get_args(Jitter))),
    errors=Key(reader.single(_check_errors), write=list),
)
STEP_KEYS: Final = _table(
    Step,
    id=Key(_read_step_id, is_plain=False),
    action=Key(read_plugin_key),
    config=Key(reader.json_object, always_written=True, is_plain=False),
    config_version=Key(
        reader.optional(reader.single(reader.check_integer, 1, bounds.CONFIG_VERSION))
    ),
    note=Key(reader.single(reader.check_text, bounds.NOTE_CHARACTERS)),
    disabled=Key(reader.single(reader.check_boolean)),
    retry=Key(reader.optional(_read_retry), write=lambda policy: policy and written(policy)),
    timeout=Key(reader.optional(reader.single(_check_timeout)), write=_whole),
    if_unknown=Key(reader.single(reader.check_choice, get_args(IfUnknown))),
    branches=Key(lambda entry: StepReader().branches(entry), write=_write_branches, is_plain=False),
)
DOCUMENT_KEYS: Final = _table(
    Document,
    object=Key(reader.optional(_read_model)),
    guard=Key(reader.single(reader.check_text, bounds.EXPRESSION_CHARACTERS)),
    time_zone=Key(reader.optional(_read_time_zone)),
    steps=Key(
        lambda entry: StepReader().steps(entry),
        write=lambda steps: [written(step) for step in steps],
        always_written=True,
        is_plain=False,
    ),
)
TABLES: Final = {Document: DOCUMENT_KEYS, Step: STEP_KEYS, RetryPolicy: RETRY_KEYS}


def _read_document(entry: Entry) -> Reading[Document]:
    given = entry.value.get("format") if isinstance(entry.value, dict) else None
    if type(given) is int and given > Document.FORMAT:
        # A newer format has keys of its own, so everything else would be reported as well.
        message = gettext("is %(given)s, which this version does not read: upgrade flowcontrol.")
        yield entry.at("format").problem(message % {"given": reader.shown(given)})
        return Document()
    readers = {"format": reader.single(_check_format)}
    readers |= {name: key.read for name, key in DOCUMENT_KEYS.items()}
    values = yield from reader.read_keys(entry, readers, required=("format", "steps"))
    values.pop("format", None)
    return Document(**values)


class StepReader:
    """Reads the steps of one document; it knows the ids that it has met, and how much it read."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._count = 0
        self._room = bounds.DOCUMENT_BYTES

    def steps(self, entry: Entry, depth: int = 0) -> Reading[tuple[Step, ...]]:
        """Return a list of steps; ``depth`` is the number of branches around them."""
        if not isinstance(entry.value, list):
            yield entry.unexpected(gettext("a list of steps"))
            return ()
        if entry.value and depth > bounds.BRANCH_DEPTH:
            message = gettext("is more than %(most)d branches deep; move it into another flow.")
            yield entry.problem(message % {"most": bounds.BRANCH_DEPTH})
            return ()
        steps = []
        for item in entry.items():
            if (yield from self._is_full(item.value)):
                break
            steps.append((yield from self.step(item, depth)))
        return tuple(steps)

    def _is_full(self, data: object) -> Reading[bool]:
        """Count a step and its size, and return whether it is too much; reported once."""
        had_room = self._room >= 0
        self._count += 1
        self._room -= reader.weigh(data.get("config"), self._room) if isinstance(data, dict) else 0
        if self._count == bounds.STEPS + 1:
            message = gettext("has more than %(most)s steps; split it into several flows.")
            yield Problem("steps", message % {"most": f"{bounds.STEPS:,}"}, field="steps")
        if had_room and self._room < 0:
            yield _too_large()
        return self._count > bounds.STEPS or self._room < 0

    def step(self, entry: Entry, depth: int = 0) -> Reading[Step]:
        """Return one step with everything inside it."""
        data = entry.value
        if not isinstance(data, dict):
            wanted = gettext("a step (an object with keys)")
            yield entry._replace(step="", field="").unexpected(wanted)
            return Step(id="", action="")
        given = data.get("id")
        step_id = given if isinstance(given, str) and STEP_ID.fullmatch(given) else ""
        entry = entry._replace(step=step_id, field="")
        first = self._paths.setdefault(step_id, entry.path)
        if step_id and first != entry.path:
            message = gettext("is %(step)r, as is that of %(first)s; give one of them another id.")
            yield entry.at("id").problem(message % {"step": step_id, "first": first})
        branches = partial(self.branches, depth=depth)
        return Step(**(yield from _read_object(entry, STEP_KEYS, branches=branches)))

    def branches(self, entry: Entry, depth: int = 0) -> Reading[dict[str, tuple[Step, ...]]]:
        """Return the branches of a step; ``depth`` is the number of branches around it."""
        if not isinstance(entry.value, dict):
            yield entry.unexpected(gettext("an object of lists of steps"))
            return {}
        branches = {}
        for name in entry.value:
            inner = entry.at(name)._replace(field="branches")
            if not isinstance(name, str) or not BRANCH.fullmatch(name):
                message = gettext(
                    "is branch %(name)s, but a branch is named in lower-case letters, digits and "
                    "_, such as 'then'."
                )
                yield inner.problem(message % {"name": reader.shown(name)})
            branches[name] = yield from self.steps(inner, depth + 1)
        return branches
