"""The configuration of a step: stored as the cleaned values of a form, read back through it.

What is stored is canonical (see ``storage``), so that neither the language nor the time zone of
the editor changes what is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from django import forms
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error as DatabaseProblem
from django.db.models import Model, QuerySet

from flowcontrol_core.actions.secrets import SecretReference
from flowcontrol_core.actions.storage import raw, restore, store
from flowcontrol_core.engine.codec import private_copy
from flowcontrol_core.errors import (
    ConfigError,
    FlowcontrolError,
    UnknownFilterError,
    gettext,
    raise_interruption,
)
from flowcontrol_core.expressions import Scope
from flowcontrol_core.zones import neutral

if TYPE_CHECKING:
    from flowcontrol_core.actions.base import BaseAction
    from flowcontrol_core.document.tree import Step


class Evaluable(Protocol):
    """A value that is computed each time a step is executed."""

    def evaluate(self, scope: Scope) -> Any: ...


@runtime_checkable
class ComputedField(Protocol):
    """A form field whose value is compiled with the version and arrives evaluated."""

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Evaluable | None:
        """Return what computes the value, or ``None`` where it stands for itself."""


class BoundConfig:
    """The configuration of one step of a version: values as attributes, computed ones evaluated.

    An action reads ``config.text``; ``source("text")`` returns what was typed. One instance is made
    for each call of an action (``at``); what it computes is stored for the length of the call, and
    what it hands out is the call's own: the values themselves are shared by all runs.
    """

    __slots__ = ("_computed", "_handed_out", "_scope", "_shareable", "_values")

    def __init__(
        self,
        values: Mapping[str, Any],
        computed: Mapping[str, Evaluable] | None = None,
        scope: Scope | None = None,
    ) -> None:
        self._values = values
        self._computed = computed or {}
        self._scope = scope
        self._handed_out: dict[str, Any] = {}
        self._shareable = (
            scope is None and not self._computed and not any(map(_is_container, values.values()))
        )

    def at(self, scope: Scope) -> BoundConfig:
        """Return the configuration as it is in the present situation of a run."""
        return self if self._shareable else BoundConfig(self._values, self._computed, scope)

    def source(self, name: str) -> Any:
        """Return a value as it was configured: the text of an expression, not its result."""
        return self._values.get(name)

    if not TYPE_CHECKING:
        # A type checker knows only the attributes that an author declares in a class of their own.
        def __getattr__(self, name: str) -> Any:
            # Reached only for names that are not slots of the class, and for empty slots.
            if name.startswith("_") or name not in self._values:
                raise AttributeError(f"The configuration has no field {name!r}.")
            if self._shareable:
                return self._values[name]
            if name not in self._handed_out:
                evaluable = self._computed.get(name)
                if evaluable is not None and self._scope is not None:
                    self._handed_out[name] = evaluable.evaluate(self._scope)
                else:
                    self._handed_out[name] = private_copy(self._values[name])
            return self._handed_out[name]

    def __repr__(self) -> str:
        return f"BoundConfig({dict(self._values)!r})"


def compute(config: BoundConfig) -> None:
    """Compute all values of a configuration now, for a call that cannot query the database."""
    for name in config._values:  # noqa: SLF001 - its own module
        getattr(config, name)


def _is_container(value: Any) -> bool:
    return isinstance(value, list | dict | set)


def secrets_of(config: BoundConfig) -> dict[str, str]:
    """Return the names of the secrets that a configuration refers to, by field."""
    computed = config._computed.items()  # noqa: SLF001 - a function of this class
    return {name: each.name for name, each in computed if isinstance(each, SecretReference)}


class _Reference:
    """A model object that was chosen: read again for each call, as others may change it."""

    __slots__ = ("chosen",)

    def __init__(self, chosen: Model | QuerySet[Any]) -> None:
        self.chosen = chosen

    def evaluate(self, scope: Scope) -> Any:
        if isinstance(self.chosen, QuerySet):
            return self.chosen.all()
        model = type(self.chosen)
        try:
            return model._base_manager.get(pk=self.chosen.pk)
        except ObjectDoesNotExist:
            text = gettext(
                "The %(model)s %(object)s that the step is configured with does not exist any more."
            )
            values = {"model": model._meta.verbose_name, "object": self.chosen}
            raise ConfigError(text % values) from None


def bind(form_class: type[forms.Form], cleaned: Mapping[str, Any]) -> BoundConfig:
    """Compile the cleaned values of a form; raises ExpressionError for a bad expression."""
    fields = form_class.base_fields
    found = {name: _evaluable(fields.get(name), name, cleaned) for name in cleaned}
    computed = {name: evaluable for name, evaluable in found.items() if evaluable is not None}
    return BoundConfig(dict(cleaned), computed)


def _evaluable(field: object, name: str, cleaned: Mapping[str, Any]) -> Evaluable | None:
    value = cleaned[name]
    if isinstance(field, ComputedField):
        return field.compile_value(value, cleaned)
    return _Reference(value) if isinstance(value, Model | QuerySet) else None


def upgraded_config(step: Step, action: BaseAction) -> dict[str, Any]:
    """Return the stored configuration of a step in the action's present version.

    Raises ConfigError where it was stored by a newer version, or the upgrade fails.
    """
    if step.config_version is None or step.config_version == action.config_version:
        return dict(step.config)
    values = {"action": step.action, "version": step.config_version}
    if step.config_version > action.config_version:
        text = gettext(
            "The configuration was stored by a newer version (%(version)d) of the action "
            "%(action)r than the installed one (%(installed)d). Upgrade its plugin."
        )
        raise ConfigError(text % {**values, "installed": action.config_version})
    try:
        upgraded: Any = action.upgrade_config(private_copy(dict(step.config)), step.config_version)
    except BaseException as error:
        raise_interruption(error)
        text = gettext(
            "upgrade_config() of %(action)r failed on version %(version)d: %(error)r. "
            "Correct the plugin."
        )
        raise ConfigError(text % {**values, "error": error}) from error
    if not isinstance(upgraded, dict):
        text = gettext(
            "upgrade_config() of %(action)r returned %(answer)r for version %(version)d; it must "
            "return the upgraded dictionary. Correct the plugin."
        )
        raise ConfigError(text % {**values, "answer": upgraded})
    return upgraded


def to_stored(form: forms.BaseForm) -> dict[str, Any]:
    """Return the cleaned values of a valid form in canonical form, as JSON values."""
    return store_values(form.fields, form.cleaned_data)


def store_values(fields: Mapping[str, forms.Field], cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical form of cleaned values; those without a field are left out.

    Raises ConfigError where a value has none.
    """
    return {name: store(fields[name], value) for name, value in cleaned.items() if name in fields}


def initial_values(
    form_class: type[forms.Form], stored: Mapping[str, Any], zone: tzinfo
) -> dict[str, Any]:
    """Return the values to show in an editor for a stored configuration; raises nothing itself.

    A value that cannot be read any more is shown as it was stored, so that nothing is lost.
    """
    with neutral(zone):
        return {
            name: _initial_value(field, stored[name])
            for name, field in form_class.base_fields.items()
            if name in stored
        }


def _initial_value(field: forms.Field, stored: Any) -> Any:
    try:
        return restore(field, stored)
    except DatabaseProblem:
        raise
    except BaseException as error:  # noqa: BLE001 - a field of a plugin may raise anything
        raise_interruption(error)
        return stored


def read_config(
    form_class: type[forms.Form], stored: Mapping[str, Any], zone: tzinfo
) -> dict[str, Any]:
    """Return the cleaned values of a stored configuration.

    It is validated as if it had just been typed, with translation off and in the given time zone.
    Raises ConfigError with the errors by field where it no longer validates.
    """
    try:
        with neutral(zone):
            form = _filled(form_class, stored)
            if form.is_valid():
                return dict(form.cleaned_data)
            errors = {
                name: [_missing_row(form, name, stored) or str(each) for each in found]
                for name, found in form.errors.items()
            }
            missing = _missing_filter(form)
    except (DatabaseProblem, FlowcontrolError):
        raise
    except BaseException as error:
        raise_interruption(error)
        text = gettext(
            "The form of the configuration failed: %(type)s: %(error)s. Correct or upgrade the "
            "plugin."
        )
        raise ConfigError(text % {"type": type(error).__name__, "error": error}) from error
    text = gettext("The configuration does not validate: %(errors)s")
    raise ConfigError(text % {"errors": list_errors(errors)}, errors) from missing


def means(field: forms.Field, stored: Any, value: Any, zone: tzinfo) -> bool:
    """Return whether a stored value of a field is read as one whose canonical form is ``value``."""
    try:
        with neutral(zone):
            return bool(store(field, field.clean(raw(field, stored))) == value)
    except DatabaseProblem:
        raise
    except BaseException as error:  # noqa: BLE001 - a field of a plugin may raise anything
        raise_interruption(error)
        return False


def _missing_filter(form: forms.BaseForm) -> BaseException | None:
    """Return why a form does not validate where that is a filter whose plugin is missing."""
    causes = (each.__cause__ for found in form.errors.as_data().values() for each in found)
    return next((cause for cause in causes if isinstance(cause, UnknownFilterError)), None)


def _missing_row(form: forms.Form, name: str, stored: Mapping[str, Any]) -> str:
    """Name the row that was chosen in a field and is gone; empty where that is not what is wrong.

    The field itself says "not one of the available choices", as if it had just been chosen.
    """
    field, chosen = form.fields.get(name), stored.get(name)
    if not isinstance(field, forms.ModelChoiceField) or field.queryset is None or not chosen:
        return ""
    text = gettext("The chosen %(model)s %(key)s does not exist any more, or is not offered.")
    return text % {"model": field.queryset.model._meta.verbose_name, "key": chosen}


def list_errors(errors: Mapping[str, Iterable[Any]]) -> str:
    """Return the errors of a form by field as one text."""
    return "; ".join(f"{name}: {' '.join(map(str, found))}" for name, found in errors.items())


def _filled(form_class: type[forms.Form], stored: Mapping[str, Any]) -> forms.Form:
    form = form_class(data={})
    for name, field in form.fields.items():
        field.widget = _StoredValue(raw(field, stored.get(name)))
        field.disabled = False
    return form


def unknown_fields(form_class: type[forms.Form], stored: Iterable[str]) -> list[str]:
    """Return the names of the stored values that the form has no field for."""
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
