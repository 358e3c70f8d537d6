"""Finds the names in an expression that mean nothing: at publish, not at run time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from operator import itemgetter
from typing import Any, Protocol

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from flowcontrol_core.errors import gettext
from flowcontrol_core.expressions.lookup import parts_of
from flowcontrol_core.expressions.parser import Places
from flowcontrol_core.expressions.scope import OBJECT_NAMES, RESERVED_NAMES
from flowcontrol_core.expressions.spans import marked
from flowcontrol_core.expressions.visibility import NAMES_OF_OTHERS, NAMES_OF_ROOT, Access
from flowcontrol_core.redaction import is_secret_field
from flowcontrol_core.suggest import did_you_mean, possible

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
    return [
        marked(problem, span)
        for path, span in sorted(compiled.places.items(), key=itemgetter(0))
        for problem in _check_path(path, model, state_names, payload_names)
    ]


def _check_path(
    path: Path,
    model: type[models.Model] | None,
    state_names: Collection[str] | None,
    payload_names: Collection[str] | None,
) -> Iterable[str]:
    if path[0] in OBJECT_NAMES:
        return () if model is None else _check_fields(path, model)
    if path[0] == "payload":
        return () if payload_names is None else _check_payload(path, payload_names)
    return () if state_names is None else _check_state(path, state_names)


def _check_payload(path: Path, known: Collection[str]) -> Iterator[str]:
    if len(path) > 1 and path[1] not in known:
        text = gettext('"%(name)s" in %(path)s is unknown in the payload. %(advice)s')
        yield _sentence(text, path[1], path, advice=did_you_mean(path[1], known))


def _check_state(path: Path, known: Collection[str]) -> Iterator[str]:
    if path[0] == "state":
        if len(path) > 1 and path[1] not in known:
            text = gettext('"%(name)s" in %(path)s is unknown in the state. %(advice)s')
            yield _sentence(text, path[1], path, advice=did_you_mean(path[1], known))
    elif path[0] not in RESERVED_NAMES and path[0] not in known:
        advice = did_you_mean(path[0], {*known, *RESERVED_NAMES})
        yield _sentence(gettext('"%(name)s" is unknown. %(advice)s'), path[0], path, advice=advice)


def _sentence(text: str, name: str, path: Path, **values: str) -> str:
    return (text % {"name": name, "path": ".".join(path), **values}).rstrip()


def _check_fields(path: Path, model: type[models.Model]) -> Iterator[str]:
    """Follow a path from the object as far as it is known what is there."""
    names = NAMES_OF_ROOT[model]
    for position, name in enumerate(path[1:], start=1):
        access = names.get(name)
        if access is None:
            advice = did_you_mean(name, names)
            yield _sentence(
                _why_not(name, model), name, path, advice=advice, model=model._meta.label_lower
            )
            return
        rest = path[position + 1 :]
        if access.target is None:
            if rest:
                yield from _check_parts(path, name, access, rest[0])
            return
        model, names = access.target, NAMES_OF_OTHERS[access.target]


def _why_not(name: str, model: type[models.Model]) -> str:
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


def _check_parts(path: Path, name: str, access: Access, part: str) -> Iterator[str]:
    """Check what is read of the value of a field that leads to no visible model."""
    known = _parts_of_field(access.field)
    if known is None or part in known:
        return
    text = gettext('"%(name)s" in %(path)s is not visible of "%(field)s". %(advice)s')
    yield _sentence(text, part, path, field=name, advice=possible(sorted(known)) if known else "")


def _parts_of_field(field: models.Field[Any, Any] | None) -> Collection[str] | None:
    """Return the names a field's values have, None where they are unknown, as in JSON."""
    if field is None:
        return None
    if field.is_relation:
        return {"pk", getattr(field, "target_field", field).attname}
    return next((parts_of(kind) for known, kind in _TYPES if isinstance(field, known)), None)
