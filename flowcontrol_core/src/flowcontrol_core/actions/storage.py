"""The canonical form of single values of a configuration, and the way back through a form field.

Stored are ISO dates, datetimes in UTC, plain decimals and references by natural key. Each is read
into a Python value for its field, so that no language and no format of the field's own matters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from django import forms
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist, ValidationError
from django.core.files.base import File
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.duration import duration_iso_string

from flowcontrol_core.errors import ConfigError, gettext


@runtime_checkable
class StoredField(Protocol):
    """A form field that knows better than the default how its values are stored."""

    def to_stored(self, value: Any) -> Any: ...

    def from_stored(self, stored: Any) -> Any: ...


def store(field: Any, value: Any) -> Any:
    """Return the JSON form of a cleaned value; raises ConfigError where it has none."""
    if isinstance(field, StoredField):
        return field.to_stored(value)
    if isinstance(value, Model):
        return _reference(value, getattr(field, "to_field_name", None))
    if isinstance(value, QuerySet | set | frozenset):
        # Their order means nothing, so it must not appear as a change.
        return sorted((store(field, item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [store(None, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): store(None, item) for key, item in value.items()}
    return _store_scalar(value)


def raw(field: forms.Field, stored: Any) -> Any:
    """Return the value to be cleaned by a field for a stored one.

    What cannot be read is returned as it was stored: the field reports what is wrong with it.
    """
    if stored is None:
        return None
    if isinstance(field, StoredField):
        return field.from_stored(stored)
    for kind, read in _READERS:
        if isinstance(field, kind):
            try:
                return read(field, stored)
            except (InvalidOperation, TypeError, ValueError):
                return stored
    return stored


def restore(field: forms.Field, stored: Any) -> Any:
    """Return the Python value of a stored one, for showing it in a form."""
    if stored is None or isinstance(field, forms.JSONField):
        return stored
    value = raw(field, stored)
    if isinstance(field, StoredField | forms.ModelChoiceField):
        return value
    read = field.clean if isinstance(field, forms.MultiValueField) else field.to_python
    return read(value)


def _store_scalar(value: Any) -> Any:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    if isinstance(value, File):
        raise ConfigError(gettext("A file cannot be part of a configuration; store it in a model."))
    text = gettext(
        "A %(type)s cannot be stored in a configuration. Define to_stored() and from_stored() on "
        "the form field."
    )
    raise ConfigError(text % {"type": type(value).__name__})


def _utc(value: datetime) -> str:
    return (value if timezone.is_naive(value) else value.astimezone(UTC)).isoformat()


# Subclasses, such as enumerations, become the plain value; bool is an int, datetime a date.
_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((bool, type(None)), lambda value: value),
    (int, int),
    (float, float),
    # One text has one form, wherever it was typed.
    (str, lambda value: str.__str__(value).replace("\r\n", "\n")),
    (Decimal, lambda value: format(value, "f")),
    (datetime, _utc),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, duration_iso_string),
    (UUID, str),
)


def _reference(instance: Model, to_field: str | None) -> Any:
    natural_key = getattr(instance, "natural_key", None)
    if natural_key is not None and hasattr(type(instance)._default_manager, "get_by_natural_key"):
        return [_store_scalar(part) for part in natural_key()]
    return str(instance.serializable_value(to_field or "pk"))


_UNREADABLE = (AttributeError, TypeError, ValidationError, ValueError)


def _key_of(field: forms.ModelChoiceField[Any], stored: Any) -> Any:
    """Return the key for a stored natural key; the field itself reports a missing object."""
    if not isinstance(stored, list) or field.queryset is None:
        return stored
    manager: Any = field.queryset.model._default_manager
    try:
        instance = manager.get_by_natural_key(*stored)
    except (ObjectDoesNotExist, MultipleObjectsReturned, *_UNREADABLE):
        return f"{stored} (not found)"
    return instance.serializable_value(field.to_field_name or "pk")


def _keys_of(field: forms.ModelMultipleChoiceField[Any], stored: Any) -> Any:
    return [_key_of(field, item) for item in stored]


def _datetime(_: forms.Field, stored: str) -> datetime:
    """Return a datetime as the clock of the flow's zone, which is the current one, shows it."""
    value = datetime.fromisoformat(stored)
    return value if timezone.is_naive(value) else timezone.localtime(value)


def _date_and_time(field: forms.Field, stored: str) -> list[date | time]:
    # The zone stays with the time: an hour that comes twice would be refused without.
    value = _datetime(field, stored)
    return [value.date(), value.timetz()]


def _parts(field: forms.MultiValueField, stored: Any) -> Any:
    widget = field.widget
    return widget.decompress(stored) if isinstance(widget, forms.MultiWidget) else stored


# The first that fits counts: a field of several models is one of a model too.
_READERS: tuple[tuple[type[forms.Field], Callable[[Any, Any], Any]], ...] = (
    (forms.ModelMultipleChoiceField, _keys_of),
    (forms.ModelChoiceField, _key_of),
    (forms.SplitDateTimeField, _date_and_time),
    (forms.MultiValueField, _parts),
    (forms.DateTimeField, _datetime),
    (forms.DateField, lambda _, stored: date.fromisoformat(stored)),
    (forms.TimeField, lambda _, stored: time.fromisoformat(stored)),
    (forms.DecimalField, lambda _, stored: Decimal(stored)),
    (forms.JSONField, lambda _, stored: json.dumps(stored)),
)
