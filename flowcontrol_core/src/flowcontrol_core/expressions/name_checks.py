"""Finds the names in an expression that mean nothing: at publish, not at run time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from flowcontrol_core.errors import gettext
from flowcontrol_core.expressions.lookup import parts_of
from flowcontrol_core.expressions.parser import Places
from flowcontrol_core.expressions.scope import OBJECT_NAMES, RESERVED_NAMES
from flowcontrol_core.expressions.spans import Span, marked
from flowcontrol_core.expressions.visibility import NAMES_OF_OTHERS, NAMES_OF_ROOT, Access
from flowcontrol_core.redaction import is_secret_field
from flowcontrol_core.suggest import did_you_mean, nearest, possible

Path = tuple[str, ...]

# The type of a field's values, where it decides what can be read of them. The first that fits
# counts: a field for datetimes is one for dates too.
_TYPES: tuple[tuple[type[models.Field[Any, Any]], type], ...] = (
    (models.DateTimeField, datetime),
    (models.DateField, date),
    (models.TimeField, time),
    (models.DurationField, timedelta),
    (models.BooleanField, bool),
    (models.CharField, str),
    (models.DecimalField, float),
    (models.FileField, str),
    (models.FloatField, float),
    (models.IntegerField, int),
    (models.TextField, str),
    (models.UUIDField, str),
)


class HasPlaces(Protocol):
    """Something compiled that says which names it reads, and where."""

    @property
    def places(self) -> Places: ...


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name that means nothing: in which lookup, what to say, and what was probably meant."""

    message: str
    #: Where the whole lookup stands.
    lookup: Span
    #: Where the name alone stands.
    span: Span
    suggestion: str = ""


class _Fault(NamedTuple):
    """What is wrong with the part of a path at a position."""

    message: str
    position: int
    suggestion: str = ""


def check_names(
    compiled: HasPlaces,
    *,
    model: type[models.Model] | None,
    state_names: Collection[str] | None = None,
    payload_names: Collection[str] | None = None,
) -> list[str]:
    """Return the problems with the names an expression or a template reads, in sentences.

    Each marks the place. ``model`` is the type of ``object``; without it, fields are not checked.
    ``state_names`` are the names that are known beside it, ``payload_names`` the keys of the
    payload; without them, names of the state or the payload are not checked.
    """
    found = unknown_names(
        compiled, model=model, state_names=state_names, payload_names=payload_names
    )
    return [marked(unknown.message, unknown.lookup) for unknown in found]


def unknown_names(
    compiled: HasPlaces,
    *,
    model: type[models.Model] | None,
    state_names: Collection[str] | None = None,
    payload_names: Collection[str] | None = None,
) -> list[UnknownName]:
    """Return what ``check_names`` says, with the name alone and what was probably meant."""
    return [
        UnknownName(
            fault.message, span, _span_of_part(path, fault.position, span), fault.suggestion
        )
        for path, span in sorted(compiled.places.items(), key=itemgetter(0))
        for fault in _check_path(path, model, state_names, payload_names)
    ]


def _span_of_part(path: Path, position: int, span: Span) -> Span:
    """Return where one name of a lookup stands; where it is written otherwise, the whole."""
    before = "".join(f"{part}." for part in path[:position])
    if not span.text.startswith(before + path[position]):
        return span
    return Span(span.source, span.position + len(before), len(path[position]))


def _check_path(
    path: Path,
    model: type[models.Model] | None,
    state_names: Collection[str] | None,
    payload_names: Collection[str] | None,
) -> Iterable[_Fault]:
    if path[0] in OBJECT_NAMES:
        return () if model is None else _check_fields(path, model)
    if path[0] == "payload":
        return () if payload_names is None else _check_payload(path, payload_names)
    return () if state_names is None else _check_state(path, state_names)


def _check_payload(path: Path, known: Collection[str]) -> Iterator[_Fault]:
    if len(path) > 1 and path[1] not in known:
        text = gettext('"%(name)s" in %(path)s is unknown in the payload. %(advice)s')
        yield _unknown(text, path, 1, known)


def _check_state(path: Path, known: Collection[str]) -> Iterator[_Fault]:
    if path[0] == "state":
        if len(path) > 1 and path[1] not in known:
            text = gettext('"%(name)s" in %(path)s is unknown in the state. %(advice)s')
            yield _unknown(text, path, 1, known)
    elif path[0] not in RESERVED_NAMES and path[0] not in known:
        yield _unknown(gettext('"%(name)s" is unknown. %(advice)s'), path, 0, known, RESERVED_NAMES)


def _unknown(text: str, path: Path, position: int, *known: Iterable[str], **values: str) -> _Fault:
    """Return that a part of a path is unknown, with the nearest of the known names."""
    names, name = [*chain(*known)], path[position]
    advice = did_you_mean(name, names)
    return _Fault(
        _sentence(text, name, path, advice=advice, **values), position, nearest(name, names)
    )


def _sentence(text: str, name: str, path: Path, **values: str) -> str:
    return (text % {"name": name, "path": ".".join(path), **values}).rstrip()


def _check_fields(path: Path, model: type[models.Model]) -> Iterator[_Fault]:
    """Follow a path from the object as far as it is known what is there."""
    names = NAMES_OF_ROOT[model]
    for position, name in enumerate(path[1:], start=1):
        access = names.get(name)
        if access is None:
            text = why_not(name, model)
            yield _unknown(text, path, position, names, model=model._meta.label_lower)
            return
        rest = path[position + 1 :]
        if access.target is None:
            if rest:
                yield from _check_parts(path, position, access)
            return
        model, names = access.target, NAMES_OF_OTHERS[access.target]


def why_not(name: str, model: type[models.Model]) -> str:
    """Return the sentence that tells why a name of a model cannot be read, to be filled in."""
    if is_secret_field(name):
        return gettext(
            '"%(name)s" in %(path)s is hidden, because its name says that it is a secret.'
        )
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return gettext('"%(name)s" in %(path)s is not a field of %(model)s. %(advice)s')
    if not getattr(field, "concrete", False) or field.many_to_many:
        return gettext(
            '"%(name)s" in %(path)s cannot be used: only fields and relations to one object can.'
        )
    return gettext(
        '"%(name)s" in %(path)s is not visible: the project does not list it in '
        'FLOWCONTROL["EXPRESSION_FIELDS"] for "%(model)s".'
    )


def _check_parts(path: Path, position: int, access: Access) -> Iterator[_Fault]:
    """Check what is read of the value of a field that leads to no visible model."""
    known, part = parts_of_field(access.field), path[position + 1]
    if known is None or part in known:
        return
    text = gettext('"%(name)s" in %(path)s is not visible of "%(field)s". %(advice)s')
    advice = possible(sorted(known)) if known else ""
    message = _sentence(text, part, path, field=path[position], advice=advice)
    yield _Fault(message, position + 1, nearest(part, known))


def parts_of_field(field: models.Field[Any, Any] | None) -> Collection[str] | None:
    """Return the names a field's values have, None where they are unknown, as in JSON."""
    if field is None:
        return None
    if field.is_relation:
        return {"pk", getattr(field, "target_field", field).attname}
    return next((parts_of(kind) for known, kind in _TYPES if isinstance(field, known)), None)
