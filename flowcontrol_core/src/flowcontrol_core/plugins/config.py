"""The configuration of a step: stored as the cleaned values of a form, in canonical form.

Stored are ISO dates and times, plain decimals and references by natural key, so that neither the
language nor the time zone of whoever edits changes what is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from django import forms
from django.core.files.base import File
from django.db.models import Model, QuerySet
from django.utils import timezone, translation
from django.utils.duration import duration_iso_string

from flowcontrol_core.errors import ConfigError
from flowcontrol_core.expressions import Scope


class Evaluable(Protocol):
    """A value that is computed each time a step is executed."""

    def evaluate(self, scope: Scope) -> Any: ...


@runtime_checkable
class ComputedField(Protocol):
    """A form field whose value is compiled with the version and arrives evaluated."""

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Evaluable | None:
        """Give what computes the value, or ``None`` where it stands for itself."""


@runtime_checkable
class StoredField(Protocol):
    """A form field that knows better than the default how its values are stored."""

    def to_stored(self, value: Any) -> Any: ...

    def from_stored(self, stored: Any) -> Any: ...


class BoundConfig:
    """The configuration of one step of a version: values as attributes, computed ones evaluated.

    An action reads ``config.text``; ``source("text")`` gives what was typed. One instance is made
    for each call of an action (``at``); what it computes is kept for the length of the call.
    """

    __slots__ = ("_computed", "_scope", "_values")

    def __init__(
        self,
        values: Mapping[str, Any],
        computed: Mapping[str, Evaluable] | None = None,
        scope: Scope | None = None,
    ) -> None:
        self._values = values
        self._computed = computed or {}
        self._scope = scope

    def at(self, scope: Scope) -> BoundConfig:
        """Give the configuration as it is in the present situation of a run."""
        return BoundConfig(self._values, self._computed, scope)

    def source(self, name: str) -> Any:
        """Give a value as it was configured: the text of an expression, not its result."""
        return self._values.get(name)

    def computed(self) -> Mapping[str, Evaluable]:
        """Give the compiled values by field."""
        return self._computed

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that are no slots of the class.
        evaluable = self._computed.get(name)
        if evaluable is not None and self._scope is not None:
            return evaluable.evaluate(self._scope)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"The configuration has no field {name!r}.") from None

    def __repr__(self) -> str:
        return f"BoundConfig({dict(self._values)!r})"


def bind(form_class: type[forms.Form], cleaned: Mapping[str, Any]) -> BoundConfig:
    """Compile the cleaned values of a form; raises ExpressionError for a bad expression."""
    computed = {}
    for name, field in form_class.base_fields.items():
        if isinstance(field, ComputedField) and name in cleaned:
            evaluable = field.compile_value(cleaned[name], cleaned)
            if evaluable is not None:
                computed[name] = evaluable
    return BoundConfig(dict(cleaned), computed)


def to_stored(form: forms.BaseForm) -> dict[str, Any]:
    """Give the cleaned values of a valid form in canonical form, as JSON values."""
    cleaned: Mapping[str, Any] = form.cleaned_data
    return {
        name: _store(form.fields.get(name), value)
        for name, value in cleaned.items()
        if name in form.fields
    }


def initial_values(
    form_class: type[forms.Form], stored: Mapping[str, Any], zone: tzinfo
) -> dict[str, Any]:
    """Give the values to show in an editor for a stored configuration; never raises.

    A value that cannot be read any more is shown as it was stored, so that nothing is lost.
    """
    result = {}
    with translation.override(None), timezone.override(zone):
        for name, field in form_class.base_fields.items():
            if name in stored:
                try:
                    result[name] = _restore(field, stored[name])
                except (forms.ValidationError, LookupError, TypeError, ValueError):
                    result[name] = stored[name]
    return result


def read_config(
    form_class: type[forms.Form], stored: Mapping[str, Any], zone: tzinfo
) -> dict[str, Any]:
    """Give the cleaned values of a stored configuration.

    It is validated as if it had just been typed, with translation off and in the given time zone.
    Raises ConfigError with the errors by field where it no longer validates.
    """
    with translation.override(None), timezone.override(zone):
        form = form_class(data={})
        raw = {}
        for name, field in form.fields.items():
            raw[name] = _raw(field, stored.get(name))
            field.widget = _StoredValue(raw[name])
            field.disabled = False
        if form.is_valid():
            return dict(form.cleaned_data)
        errors = {
            name: [str(message) for message in messages] for name, messages in form.errors.items()
        }
    listed = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items())
    raise ConfigError(f"The configuration does not validate: {listed}", errors)


def unknown_fields(form_class: type[forms.Form], stored: Iterable[str]) -> list[str]:
    """Name the stored values that the form has no field for."""
    return sorted(set(stored) - set(form_class.base_fields))


class _StoredValue(forms.Widget):
    """Hands a stored value to its field as if a browser had sent it."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return self.value

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return self.value is None

    def decompress(self, value: Any) -> Any:
        return value


def _store(field: forms.Field | None, value: Any) -> Any:
    if isinstance(field, StoredField):
        return field.to_stored(value)
    if isinstance(value, QuerySet | set | frozenset):
        items = [_store(None, item) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    if isinstance(value, list | tuple):
        return [_store(None, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _store(None, item) for key, item in value.items()}
    return _store_scalar(value)


def _store_scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_iso_string(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Model):
        return _reference(value)
    if isinstance(value, File):
        raise ConfigError("A file cannot be part of a configuration; store it in a model.")
    raise ConfigError(
        f"A {type(value).__name__} cannot be stored in a configuration. Give the form field "
        "to_stored() and from_stored()."
    )


def _reference(instance: Model) -> Any:
    natural_key = getattr(instance, "natural_key", None)
    return list(natural_key()) if natural_key is not None else str(instance.pk)


def _restore(field: forms.Field, stored: Any) -> Any:
    """Give the Python value of a stored one, for showing it in a form."""
    if isinstance(field, StoredField):
        return field.from_stored(stored)
    if stored is None or isinstance(field, forms.JSONField):
        return stored
    raw = _raw(field, stored)
    if isinstance(field, forms.ModelChoiceField | forms.MultiValueField):
        return raw if isinstance(field, forms.ModelChoiceField) else field.clean(raw)
    return field.to_python(raw)


def _raw(field: forms.Field, stored: Any) -> Any:
    """Give what a browser would have sent for a stored value."""
    if isinstance(field, StoredField):
        return field.from_stored(stored) if stored is not None else None
    if isinstance(field, forms.ModelMultipleChoiceField):
        return [_key_of(field, item) for item in stored or ()]
    if isinstance(field, forms.ModelChoiceField):
        return _key_of(field, stored)
    if isinstance(field, forms.SplitDateTimeField) and isinstance(stored, str):
        return _split(stored)
    if isinstance(field, forms.JSONField) and isinstance(stored, str):
        return forms.JSONField().prepare_value(stored)
    return stored


def _split(stored: str) -> list[str]:
    moment = datetime.fromisoformat(stored)
    if moment.tzinfo is not None:
        moment = timezone.localtime(moment).replace(tzinfo=None)
    return [moment.date().isoformat(), moment.time().isoformat()]


def _key_of(field: forms.ModelChoiceField[Any], stored: Any) -> Any:
    """Find the primary key for a stored natural key; the field itself says if it is unknown."""
    queryset = field.queryset
    if not isinstance(stored, list) or queryset is None:
        return stored
    manager = queryset.model._default_manager
    try:
        instance = manager.get_by_natural_key(*stored)  # type: ignore[attr-defined]
    except (queryset.model.DoesNotExist, AttributeError, TypeError):
        return f"{stored} (not found)"
    return getattr(instance, field.to_field_name or "pk")
