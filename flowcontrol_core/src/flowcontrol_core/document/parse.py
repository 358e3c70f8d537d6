"""Reads a document from JSON data, and finds everything that is wrong with it in one pass."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flowcontrol_core.document.reader import Fields
from flowcontrol_core.document.rules import (
    ACTION,
    BRANCH,
    DOCUMENT_KEYS,
    ERROR_NAME,
    IF_UNKNOWN,
    JITTERS,
    MAX_ATTEMPTS,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ERRORS,
    MAX_FACTOR,
    MAX_GUARD,
    MAX_KEY,
    MAX_NOTE,
    MAX_STEPS,
    MAX_VERSION,
    OBJECT,
    RETRY_KEYS,
    STEP_ID,
    STEP_KEYS,
)
from flowcontrol_core.document.serialize import to_data
from flowcontrol_core.document.tree import Document, RetryPolicy, Step
from flowcontrol_core.document.values import TOO_LARGE, ValueCopier, child_path, kind, shown
from flowcontrol_core.errors import DocumentError, Problem


def parse(data: object) -> Document:
    """Reads a document from JSON data (as ``json.loads`` or a YAML reader returns it).

    Raises DocumentError with all problems, in reading order, if it is not a valid one.
    The document shares nothing with ``data``.
    """
    problems: list[Problem] = []
    document = _Parser(problems).document(data)
    if not problems and _size(document) > MAX_BYTES:
        problems.append(TOO_LARGE)
    if problems:
        raise DocumentError(problems)
    return document


def _size(document: Document) -> int:
    compact = json.dumps(to_data(document), ensure_ascii=False, separators=(",", ":"))
    return len(compact.encode())


class _Parser:
    """One pass over one document: what was seen so far, and the problems found."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._seen: dict[str, str] = {}
        self._count = 0
        self._values = ValueCopier(problems)

    def document(self, data: object) -> Document:
        """The document, which counts only if no problem was added."""
        if not isinstance(data, dict):
            self._problems.append(
                Problem("", f"The document must be an object with keys, not {kind(data)}.")
            )
            return Document()
        fields = Fields(data, self._problems)
        if not self._is_known_format(fields):
            return Document()
        fields.check_keys(DOCUMENT_KEYS, required=("format", "steps"))
        top = _Spot(self._problems, "steps", field="steps")
        return Document(
            object=self._object(fields),
            guard=fields.text("guard", "", limit=MAX_GUARD),
            time_zone=self._time_zone(fields),
            steps=self._steps(fields.raw("steps", []), top, depth=0),
        )

    def _is_known_format(self, fields: Fields) -> bool:
        """Tells whether it makes sense to read on; a newer format has keys of its own."""
        value = fields.raw("format", Document.FORMAT)
        number = value if isinstance(value, int) and not isinstance(value, bool) else 0
        if number > Document.FORMAT:
            fields.report(
                "format",
                f"is {shown(value)}, but this flowcontrol reads {Document.FORMAT} only: "
                f"upgrade flowcontrol.",
            )
            return False
        if number != Document.FORMAT:
            fields.report("format", f"must be {Document.FORMAT}, not {shown(value)}.")
        return True

    def _object(self, fields: Fields) -> str | None:
        if fields.raw("object") is None:
            return None
        advice = "a model as 'app_label.model' in lower case, such as 'shop.customer'"
        return fields.matching("object", OBJECT, advice, limit=MAX_KEY)

    def _time_zone(self, fields: Fields) -> str | None:
        if fields.raw("time_zone") is None:
            return None
        name = fields.given_text("time_zone", limit=MAX_KEY)
        if name is not None and not _is_time_zone(name):
            fields.report(
                "time_zone",
                f"is {shown(name)}, which is not a known time zone; write an IANA name such as "
                f"'Europe/Berlin'.",
            )
        return name

    def _steps(self, data: object, at: _Spot, depth: int) -> tuple[Step, ...]:
        if not isinstance(data, list):
            at.report(f"must be a list of steps, not {kind(data)}; write [] for none.")
            return ()
        if data and depth > MAX_DEPTH:
            at.report(
                f"is more than {MAX_DEPTH} branches deep; move these steps into another flow."
            )
            return ()
        steps = []
        for index, item in enumerate(data):
            if self._is_full():
                break
            steps.append(self._step(item, f"{at.path}[{index}]", depth))
        return tuple(steps)

    def _is_full(self) -> bool:
        """Counts a step, and reports once when there are too many."""
        self._count += 1
        if self._count == MAX_STEPS + 1:
            message = f"has more than {MAX_STEPS:,} steps; split it into several flows."
            self._problems.append(Problem("steps", message, field="steps"))
        return self._count > MAX_STEPS

    def _step(self, data: object, path: str, depth: int) -> Step:
        at = _Spot(self._problems, path, _given_id(data))
        if not isinstance(data, dict):
            at.report(f"must be a step (an object with keys), not {kind(data)}.")
            return Step(id="", action="")
        fields = Fields(data, self._problems, path=path, step=at.step)
        fields.check_keys(STEP_KEYS, required=("id", "action"))
        return Step(
            id=self._id(fields, path),
            action=_action(fields),
            config=self._config(fields, at),
            config_version=fields.integer("config_version", 1, low=1, high=MAX_VERSION),
            note=fields.text("note", "", limit=MAX_NOTE),
            disabled=fields.boolean("disabled", default=False),
            retry=self._retry(fields, at),
            timeout=_timeout(fields),
            if_unknown=fields.choice("if_unknown", "repeat", IF_UNKNOWN),
            branches=self._branches(fields, at, depth),
        )

    def _id(self, fields: Fields, path: str) -> str:
        advice = "1 to 32 letters (a-z, A-Z), digits, _ or -"
        step_id = fields.matching("id", STEP_ID, advice, limit=MAX_KEY)
        first = self._seen.setdefault(step_id, path)
        if step_id and first != path:
            fields.report(
                "id", f"is {step_id!r}, as is that of {first}; give one of them another id."
            )
        return step_id

    def _config(self, fields: Fields, at: _Spot) -> dict[str, Any]:
        data = fields.raw("config", {})
        if not isinstance(data, dict):
            fields.report("config", f"must be an object with keys, not {kind(data)}.")
            return {}
        return self._values.copy_config(data, f"{at.path}.config", at.step)

    def _retry(self, fields: Fields, at: _Spot) -> RetryPolicy | None:
        data = fields.raw("retry")
        if data is None:
            return None
        if not isinstance(data, dict):
            fields.report("retry", f"must be an object such as {{attempts: 5}}, not {kind(data)}.")
            return None
        inner = Fields(data, self._problems, path=f"{at.path}.retry", step=at.step, prefix="retry.")
        inner.check_keys(RETRY_KEYS, required=("attempts",))
        return RetryPolicy(
            attempts=inner.integer("attempts", 1, low=1, high=MAX_ATTEMPTS),
            backoff=inner.duration("backoff", RetryPolicy.BACKOFF),
            factor=inner.number("factor", RetryPolicy.FACTOR, low=1, high=MAX_FACTOR),
            jitter=inner.choice("jitter", "full", JITTERS),
            errors=inner.names("errors", ERROR_NAME, "'TimeoutError'", most=MAX_ERRORS),
        )

    def _branches(self, fields: Fields, at: _Spot, depth: int) -> dict[str, tuple[Step, ...]]:
        data = fields.raw("branches", {})
        if not isinstance(data, dict):
            fields.report("branches", f"must be an object of lists of steps, not {kind(data)}.")
            return {}
        branches = {}
        for name, steps in data.items():
            path = child_path(f"{at.path}.branches", name)
            inner = _Spot(self._problems, path, at.step, "branches")
            if not isinstance(name, str) or not BRANCH.fullmatch(name):
                inner.report(
                    f"is branch {shown(name)}, but a branch is named in lower-case letters, "
                    f"digits and _, such as 'then'."
                )
            branches[name] = self._steps(steps, inner, depth + 1)
        return branches


class _Spot(NamedTuple):
    """A place in the document that problems are reported for."""

    problems: list[Problem]
    path: str
    step: str = ""
    field: str = ""

    def report(self, message: str) -> None:
        self.problems.append(Problem(self.path, message, self.step, self.field))


def _given_id(data: object) -> str:
    """The id that problems of this step are filed under; empty while it has none."""
    step_id = data.get("id") if isinstance(data, dict) else None
    return step_id if isinstance(step_id, str) and STEP_ID.fullmatch(step_id) else ""


def _action(fields: Fields) -> str:
    advice = (
        "'<plugin>.<name>' in lower-case letters, digits and _, each part beginning with a "
        "letter, such as 'builtin.delay'"
    )
    return fields.matching("action", ACTION, advice, limit=MAX_KEY)


def _timeout(fields: Fields) -> float | None:
    if fields.raw("timeout") is None:
        return None
    timeout = fields.duration("timeout", 1.0)
    if timeout == 0:
        fields.report("timeout", "must be longer than 0; leave it out for no time-out.")
    return timeout


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Unknown names, names that leave the data's folder, and names of folders in it.
        return False
    return True
