"""Help for those who type an expression or a template of a step: what is wrong, known, the value.

Which names are known is what the check before publishing knows; there is no second checker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.apps import apps
from django.db.models import Model
from django.utils.translation import gettext

from flowcontrol_core.conf import get_settings
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import (
    ExpressionError,
    UnknownFilterError,
    UnknownZoneError,
    raise_interruption,
)
from flowcontrol_core.expressions import Expression, Scope, compile_expression, compile_template
from flowcontrol_core.expressions.coercion import plain, text_of_object
from flowcontrol_core.expressions.expression import Compiled
from flowcontrol_core.expressions.extensions import extensions
from flowcontrol_core.expressions.name_checks import UnknownName, unknown_names
from flowcontrol_core.expressions.offers import (
    Completion,
    extension_completions,
    named_completions,
    object_completions,
    time_completions,
)
from flowcontrol_core.expressions.scope import OBJECT_NAMES
from flowcontrol_core.expressions.templates import TextTemplate
from flowcontrol_core.expressions.visibility import NAMES_OF_OTHERS, NAMES_OF_ROOT
from flowcontrol_core.flows.config_forms import zone_of
from flowcontrol_core.flows.descriptions import shown_plain
from flowcontrol_core.flows.document_checks import find_model
from flowcontrol_core.flows.warnings import (
    active_triggers,
    answers,
    checked_steps,
    payload_names,
    remedy_for_unknown,
    state_names,
)
from flowcontrol_core.models import Flow
from flowcontrol_core.redaction import HIDDEN, is_secret, redact, redact_json
from flowcontrol_core.suggest import nearest
from flowcontrol_core.zones import find_zone, in_zone

#: What is known whenever a text is evaluated, beside the object.
_ALWAYS_KNOWN = OBJECT_NAMES | {"now"}
#: What lets a text read an object in other ways than by the lookups that it names.
_INDIRECT = ("[", "{%")


class TextKind(StrEnum):
    """What a text is compiled as."""

    EXPRESSION = "expression"
    TEMPLATE = "template"
    HTML = "html"

    def compile(self, text: str) -> Expression | TextTemplate:
        """Compile a text; raises ExpressionError."""
        if self is TextKind.EXPRESSION:
            return compile_expression(text)
        return compile_template(text, html=self is TextKind.HTML)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a stretch of a text, in characters from 0, and what to write instead."""

    message: str
    position: int = 0
    length: int = 0
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class CheckedText:
    """What is wrong with a text, what is probably wrong, and what it was compiled to."""

    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    compiled: Compiled | None = None

    @property
    def paths(self) -> frozenset[tuple[str, ...]]:
        """Return the lookups that the text makes; none where it was not compiled."""
        return self.compiled.names if self.compiled else frozenset()

    @property
    def unknown_before_a_run(self) -> list[str]:
        """Return the names whose values only a run has, such as those of its state."""
        return sorted({".".join(path) for path in self.paths if path[0] not in _ALWAYS_KNOWN})

    @property
    def reads_object(self) -> bool:
        """Return whether the text reads the object of the run."""
        return any(path[0] in OBJECT_NAMES for path in self.paths)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a text evaluates to for one object, shortened and redacted; or why it fails."""

    value: str = ""
    #: The text of the object.
    about: str = ""
    failure: Finding | None = None


def check_text(document: Document, text: str, kind: TextKind, *, flow: Flow | None) -> CheckedText:
    """Check the text of a field of a step, as it is checked when the flow is published.

    Fields that the object does not have are problems; names that nothing in the flow brings are
    warnings, as in ``find_warnings``. An empty text is fine.
    """
    if not text.strip():
        return CheckedText()
    try:
        compiled = kind.compile(text)
    except ExpressionError as error:
        return CheckedText(problems=(_of_error(error, kind),))
    fields = unknown_names(compiled, model=find_model(document.object or ""))
    checked = CheckedText(tuple(_of_name(unknown) for unknown in fields), (), compiled)
    # To know the other names, all steps are read.
    if not checked.unknown_before_a_run:
        return checked
    return replace(checked, warnings=tuple(_not_brought(document, compiled, flow)))


def _not_brought(document: Document, compiled: Compiled, flow: Flow | None) -> Iterator[Finding]:
    """Yield the names that nothing in the flow brings."""
    steps, remedy = checked_steps(document), remedy_for_unknown()
    found = unknown_names(
        compiled,
        model=None,
        state_names=state_names(steps),
        payload_names=payload_names(steps, active_triggers(flow)) if flow else None,
    )
    for unknown in found:
        yield _of_name(unknown, remedy)


def _of_error(error: ExpressionError, kind: TextKind) -> Finding:
    meant = ""
    if isinstance(error, UnknownFilterError) and error.key.startswith("|"):
        meant = nearest(error.key[1:], extensions.filter_names(html=kind is TextKind.HTML))
    elif isinstance(error, UnknownFilterError):
        meant = nearest(error.key.removesuffix("()"), extensions.function_names())
    return Finding(error.message, error.position, error.length, meant)


def _of_name(unknown: UnknownName, remedy: str = "") -> Finding:
    message = f"{unknown.message} {remedy}".rstrip()
    return Finding(message, unknown.span.position, unknown.span.length, unknown.suggestion)


def models_read(checked: CheckedText, model: type[Model]) -> frozenset[type[Model]]:
    """Return the models beside its own whose objects a text may read, starting from an object.

    Where that cannot be told from the text, these are all that the project lists.
    """
    own = [path[1:] for path in checked.paths if path[0] in OBJECT_NAMES]
    if not own or checked.compiled is None:
        return frozenset()
    is_indirect = any(mark in checked.compiled.source for mark in _INDIRECT)
    if is_indirect or any(_is_computed(model, path) for path in own):
        return frozenset(_listed_models())
    return frozenset(target for path in own for target in _targets(model, path))


def _is_computed(model: type[Model], path: tuple[str, ...]) -> bool:
    """Return whether a path leads through a property, whose value may be any object."""
    names = NAMES_OF_ROOT[model]
    for name in path:
        access = names.get(name)
        if access is None:
            return False
        if access.field is None:
            return True
        names = NAMES_OF_OTHERS[access.target] if access.target else {}
    return False


def _targets(model: type[Model], path: tuple[str, ...]) -> Iterator[type[Model]]:
    names = NAMES_OF_ROOT[model]
    for name in path:
        access = names.get(name)
        if access is None or access.target is None:
            return
        yield access.target
        names = NAMES_OF_OTHERS[access.target]


def _listed_models() -> Iterator[type[Model]]:
    for label in get_settings().EXPRESSION_FIELDS:
        try:
            yield apps.get_model(label)
        except (LookupError, ValueError):
            continue


def evaluate_sample(
    document: Document, checked: CheckedText, obj: Model | None, now: datetime
) -> Sample:
    """Return what a text evaluates to for an object, in the sandbox and with its budget."""
    compiled = checked.compiled
    if not isinstance(compiled, Expression | TextTemplate):
        return Sample()
    try:
        zone = zone_of(document)
    except UnknownZoneError:
        zone = find_zone(None)
    with in_zone(zone):
        try:
            value = compiled.evaluate(Scope(obj=obj, now=now))
            return Sample(_shown(compiled, value), _text_of(obj))
        except ExpressionError as error:
            return Sample(failure=Finding(redact(error.message), error.position, error.length))


def _shown(compiled: Compiled, value: object) -> str:
    """Return a value as a person writes it, without secrets, shortened where it is long."""
    if any(is_secret(part) for path in compiled.names for part in path):
        return HIDDEN
    if isinstance(value, bool):
        return gettext("true") if value else gettext("false")
    return shown_plain(redact_json(plain(value, show=text_of_object)))


def _text_of(obj: Model | None) -> str:
    """Return the text of an object; its key where that cannot be had."""
    if obj is None:
        return ""
    try:
        return shown_plain(text_of_object(obj))
    except BaseException as error:  # noqa: BLE001 - a model of a project may raise anything
        raise_interruption(error)
        return str(obj.pk)


def complete(document: Document, step_id: str, *, flow: Flow | None) -> list[Completion]:
    """Return what may be typed into the fields of a step: names, filters and functions."""
    steps = checked_steps(document)
    around = {visit.id for visit in document.visit(step_id).ancestors}
    own = [step for step in steps if step.question.visit.step.id in around]
    variables = answers(own, "sets_variables")
    keys = answers(steps, "sets_state")
    model = find_model(document.object or "")
    payload = payload_names(steps, active_triggers(flow)) if flow else None
    return [
        *([Completion("name", "object", document.object or "")] if document.object else ()),
        *(object_completions(model) if model else ()),
        *named_completions("", variables, gettext("Variable of a loop around this step")),
        *named_completions("", keys - variables, gettext("Set by a step")),
        *named_completions("state", keys, gettext("Set by a step")),
        *named_completions("payload", payload or (), gettext("From a trigger")),
        *time_completions(),
        *extension_completions(),
    ]
