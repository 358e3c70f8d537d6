"""Finds the names in an expression that mean nothing: at publish, not at run time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DecimalField,
    DurationField,
    Field,
    FileField,
    FloatField,
    IntegerField,
    Model,
    TextField,
    TimeField,
    UUIDField,
)
from django.db.models import DateTimeField as DateTime

from flowcontrol_core.expressions.expression import Expression
from flowcontrol_core.expressions.lookup import DATE_PARTS, DURATION_PARTS, TIME_PARTS
from flowcontrol_core.expressions.scope import RESERVED_NAMES
from flowcontrol_core.expressions.templates import TextTemplate
from flowcontrol_core.expressions.visibility import Access, Names, names_of_others, names_of_root
from flowcontrol_core.redaction import is_secret_field
from flowcontrol_core.suggest import did_you_mean

_NO_PARTS = (
    BooleanField,
    CharField,
    DecimalField,
    FileField,
    FloatField,
    IntegerField,
    TextField,
    UUIDField,
)


def check_names(
    compiled: Expression | TextTemplate,
    *,
    model: type[Model] | None,
    state_names: Collection[str] | None = None,
) -> list[str]:
    """Give the problems with the names an expression or a template looks up, in sentences.

    ``model`` is the type of ``object``; without it, fields are not checked. ``state_names`` are
    the names that are known beside it; without them, names of the state are not checked.
    """
    problems: list[str] = []
    for path in sorted(compiled.names):
        if path[0] in ("object", "obj"):
            if model is not None:
                problems += _check_fields(path, model)
        elif state_names is not None:
            problems += _check_state(path, state_names)
    return problems


def _check_state(path: tuple[str, ...], known: Collection[str]) -> Iterator[str]:
    written = ".".join(path)
    if path[0] == "state":
        if len(path) > 1 and path[1] not in known:
            advice = did_you_mean(path[1], known)
            yield f'"{path[1]}" in {written} is unknown in the state. {advice}'.rstrip()
    elif path[0] not in RESERVED_NAMES and path[0] not in known:
        yield f'"{path[0]}" is unknown. {did_you_mean(path[0], {*known, *RESERVED_NAMES})}'.rstrip()


def _check_fields(path: tuple[str, ...], model: type[Model]) -> Iterator[str]:
    """Follow a path from the object as far as it can be told what is there."""
    written = ".".join(path)
    names = names_of_root(model)
    for position, name in enumerate(path[1:], start=1):
        access = names.get(name)
        if access is None:
            yield f'"{name}" in {written} {_why_not(name, model, names)}'
            return
        rest = path[position + 1 :]
        if access.target is None:
            if rest:
                yield from _check_parts(written, name, access, rest[0])
            return
        model, names = access.target, names_of_others(access.target)


def _why_not(name: str, model: type[Model], names: Names) -> str:
    if is_secret_field(name):
        return "is hidden, because its name says that it is a secret."
    field = _field(model, name)
    if field is None:
        return f"is no field of {model._meta.label}. {did_you_mean(name, names)}".rstrip()
    if not getattr(field, "concrete", False) or field.many_to_many:
        return "cannot be used: only fields and relations to one object can."
    return (
        'is not visible: the project does not list it in FLOWCONTROL["EXPRESSION_FIELDS"] '
        f'for "{model._meta.label_lower}".'
    )


def _field(model: type[Model], name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _check_parts(written: str, name: str, access: Access, part: str) -> Iterator[str]:
    """Check what is looked up in the value of a field that leads to no visible model."""
    possible = _parts_of_field(access.field)
    if possible is not None and part not in possible:
        advice = f" Possible are: {', '.join(sorted(possible))}." if possible else ""
        yield f'"{part}" in {written} is not visible of "{name}".{advice}'


def _parts_of_field(field: Field[Any, Any] | None) -> Collection[str] | None:
    """Give the names a field's values have, None where they cannot be told, as in JSON."""
    if field is None:
        return None
    if field.is_relation:
        return {"pk", getattr(field, "target_field", field).attname}
    if isinstance(field, DateTime):
        return DATE_PARTS | TIME_PARTS
    if isinstance(field, DateField):
        return DATE_PARTS
    if isinstance(field, TimeField):
        return TIME_PARTS
    if isinstance(field, DurationField):
        return DURATION_PARTS
    return () if isinstance(field, _NO_PARTS) else None
