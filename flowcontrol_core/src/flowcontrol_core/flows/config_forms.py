"""The form of a step's configuration: shown, filled in, and stored again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache, partial
from types import MappingProxyType
from typing import Any, cast

from django import forms
from django.core.validators import EMPTY_VALUES
from django.forms.utils import pretty_name
from django.utils import timezone, translation
from django.utils.choices import flatten_choices
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext

from flowcontrol_core.actions.base import BaseAction, plugin_text
from flowcontrol_core.actions.config import (
    initial_values,
    list_errors,
    means,
    read_config,
    store_values,
    to_stored,
    upgraded_config,
)
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.secrets import SecretField
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import ConfigError, EditError, FlowcontrolError
from flowcontrol_core.redaction import HIDDEN
from flowcontrol_core.tables import require_migrated
from flowcontrol_core.zones import find_zone, in_zone, neutral


def zone_of(document: Document) -> tzinfo:
    """Return the time zone in which the times of a flow are meant; raises UnknownZoneError."""
    return find_zone(document.time_zone)


def known_action(key: str) -> BaseAction | None:
    """Return the action of a key; None where its plugin is missing."""
    return registry.get_action(key).action if registry.knows_action(key) else None


def label_of_field(action_key: str, name: str) -> str:
    """Return the label of a field as the form of its action shows it."""
    action = known_action(action_key)
    field = action.Config.base_fields.get(name) if action else None
    if field is None:
        return name.replace("_", " ")
    return pretty_name(name) if field.label is None else plugin_text(field.label, pretty_name(name))


def form_prefix(step_id: str) -> str:
    """Return the prefix of the names of a step's form, the same each time it is shown."""
    return f"step-{step_id}"


@dataclass(frozen=True, slots=True)
class StepForm:
    """The form of a step, or the reason why it has none: a missing plugin, one that is too old."""

    form: forms.BaseForm | None
    reason: str = ""


def step_form(
    step: Step,
    data: Mapping[str, Any] | None = None,
    *,
    document: Document,
    with_secrets: bool = True,
    prefix: str = "",
) -> StepForm:
    """Return the form of a step: with what is stored, or bound to what was sent.

    Its names begin with ``prefix``, by default ``form_prefix(step.id)``.

    For a step without a configuration it shows the initial values of the form itself, and no
    errors. Without ``with_secrets``, the secrets of the step can be read only: their names. The
    values of the action's ``secret_fields`` are never shown; left empty, they stay.
    """
    try:
        action = registry.get_action(step.action).action
        require_migrated(action)
        stored, zone = upgraded_config(step, action), zone_of(document)
    except FlowcontrolError as error:
        return StepForm(None, str(error))
    prefix = prefix or form_prefix(step.id)
    form = config_form(action.Config, stored, data, zone=zone, prefix=prefix)
    _withhold(form, action.secret_fields)
    for field in form.fields.values():
        field.disabled = field.disabled or (isinstance(field, SecretField) and not with_secrets)
    return StepForm(form)


def _withhold(form: forms.BaseForm, names: Iterable[str]) -> None:
    """Take stored values out of a form that is shown; those that are not typed anew stay."""
    zoned = cast("_Zoned", form)
    for name in names:
        if name in form.fields and form.initial.get(name) not in (None, ""):
            zoned.withheld = {**zoned.withheld, name: form.initial.pop(name)}
            form.fields[name].required = False
            form.fields[name].widget.attrs["placeholder"] = HIDDEN


def why_no_form(step: Step) -> str:
    """Return why a step has no form; empty where it has one."""
    try:
        action = registry.get_action(step.action).action
        require_migrated(action)
        upgraded_config(step, action)
    except FlowcontrolError as error:
        return str(error)
    return ""


def trigger_form(
    trigger_key: str,
    stored: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    document: Document,
) -> forms.BaseForm:
    """Return the form of a trigger.

    Raises UnknownTriggerError, UnknownZoneError and UnmigratedError.
    """
    trigger, zone = registry.get_trigger(trigger_key), zone_of(document)
    require_migrated(trigger.Config)
    return config_form(trigger.Config, stored or {}, data, zone=zone, prefix="trigger")


def config_form(
    form_class: type[forms.Form],
    stored: Mapping[str, Any],
    data: Mapping[str, Any] | None,
    *,
    zone: tzinfo,
    prefix: str,
) -> forms.BaseForm:
    """Return a form for a stored configuration; its times are those of the flow's zone."""
    initial = {
        name: _local(value, zone)
        for name, value in initial_values(form_class, stored, zone).items()
    }
    form = _zoned(form_class)(data=plain_newlines(data), initial=initial, prefix=prefix)
    cast("_Zoned", form).zone = zone
    contain_texts(form)
    cast("_Zoned", form).offered = offer_unknown(form)
    return form


def contain_texts(form: forms.BaseForm) -> None:
    """Let the labels, help texts and choices of a form be shown, also where one of them raises."""
    for name, field in form.fields.items():
        field.label = shown_label(field.label, pretty_name(name))
        field.help_text = shown_label(field.help_text)
        attrs = field.widget.attrs
        field.widget.attrs = {key: shown_label(value) for key, value in attrs.items()}
        # The choices of a field of model objects are rows.
        if isinstance(field, forms.ChoiceField) and not isinstance(field, forms.ModelChoiceField):
            field.choices = partial(shown_choices, field.choices)


def shown_choices(choices: Any) -> list[tuple[Any, Any]]:
    """Return choices, or groups of them, with labels that can be shown."""
    return [
        (shown_label(value), shown_choices(label))
        if isinstance(label, list | tuple)
        else (value, shown_label(label, str(value)))
        for value, label in choices
    ]


def shown_label(text: Any, instead: str = "") -> Any:
    """Return a plain text as it is, and one of a plugin's code as it can be shown."""
    return text if text is None or isinstance(text, str | int) else plugin_text(text, instead)


def plain_newlines(data: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what was sent, lines ended as they were before a browser sent them."""
    if data is None or not any("\r\n" in text for text in _texts(data)):
        return data
    if not isinstance(data, MultiValueDict):
        return {name: _plain_newlines(value) for name, value in data.items()}
    copy = data.copy()
    for name, values in data.lists():
        copy.setlist(name, [_plain_newlines(value) for value in values])
    return copy


def _texts(data: Mapping[str, Any]) -> Iterator[str]:
    values: Iterable[Any] = data.values()
    if isinstance(data, MultiValueDict):
        values = (value for _name, listed in data.lists() for value in listed)
    return (value for value in values if isinstance(value, str))


def _plain_newlines(value: Any) -> Any:
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def offer_unknown(form: forms.BaseForm) -> dict[str, Any]:
    """Let what a form is filled with stay chosen, also where it is not offered any more.

    A browser would choose the first of the others, and saving would lose what was stored. Returned
    are the choices without that, by field.
    """
    offered: dict[str, Any] = {}
    for name, field in form.fields.items():
        chosen = form.get_initial_for_field(field, name)
        # The choices of a field of model objects are rows.
        if isinstance(field, forms.ModelChoiceField) or not chosen:
            continue
        if isinstance(field, forms.ChoiceField):
            offered[name] = field.choices
            field.choices = partial(_with_chosen, field.choices, chosen)
    return offered


def has_unknown_choice(form: forms.BaseForm) -> bool:
    """Return whether something is chosen in a valid form that is not offered any more."""
    return any(
        _unknown(choices, form.cleaned_data.get(name))
        for name, choices in getattr(form, "offered", {}).items()
    )


def _with_chosen(offered: Any, chosen: Any) -> list[tuple[Any, Any]]:
    """Return choices, with those that are chosen and not among them."""
    text = gettext("%(value)s (unknown here)")
    unknown = [(value, text % {"value": value}) for value in _unknown(offered, chosen)]
    return [*offered, *unknown]


def _unknown(offered: Any, chosen: Any) -> list[Any]:
    """Return what is chosen and not among the choices."""
    flat: Any = flatten_choices(list(offered))
    known = {str(key) for key, _label in flat}
    values = chosen if isinstance(chosen, list | tuple | set) else [chosen]
    return [value for value in values if value not in EMPTY_VALUES and str(value) not in known]


def stored_config(form: forms.BaseForm) -> dict[str, Any]:
    """Return the values of a bound, valid form as they are stored.

    Raises EditError where the form is not valid, and ConfigError where a value cannot be stored.
    """
    if not form.is_bound or not form.is_valid():
        text = gettext("The form is not filled in correctly: %(problems)s.")
        problems = list_errors(form.errors) or gettext("it was not sent")
        raise EditError(text % {"problems": problems})
    with translation.override(None):
        return to_stored(form)


def changed_config(
    step: Step, action: BaseAction, form: forms.BaseForm, config: Mapping[str, Any], zone: tzinfo
) -> dict[str, Any]:
    """Return what was filled into a form of a step; what means the same stays as it is stored.

    Such as a text from a file with a line break at its end, which a form does without, or a value
    that is left out because it is the default. ``config`` are the form's ``stored_config``.
    """
    if step.config_version not in (None, action.config_version):
        return dict(config)
    old = step.config
    same = {
        name: old.get(name)
        for name, value in config.items()
        if means(form.fields[name], old.get(name), value, zone)
    }
    return {
        name: same.get(name, value)
        for name, value in config.items()
        if name in old or name not in same
    }


def meant_config(step: Step, action: BaseAction, document: Document) -> dict[str, Any]:
    """Return the configuration of a step as its form understands it, in the present version.

    What is left out has the value that it stands for; values without a field stay as they are.
    Raises ConfigError where it does not validate, UnknownZoneError and UnmigratedError.
    """
    require_migrated(action)
    stored = upgraded_config(step, action)
    meant = read_config(action.Config, stored, zone_of(document))
    return {**stored, **store_values(action.Config.base_fields, meant)}


def initial_config(action: BaseAction, document: Document) -> dict[str, Any]:
    """Return the initial values of an action's form as the configuration of a new step.

    It need not be valid yet; an initial value that cannot be stored is left to the form.
    """
    config: dict[str, Any] = {}
    with neutral(zone_of(document)):
        form = action.Config()
        for name, field in form.fields.items():
            value = form.get_initial_for_field(field, name)
            if value is None:
                continue
            try:
                form.cleaned_data = {name: field.to_python(value)}
                config.update(to_stored(form))
            except (forms.ValidationError, ConfigError, LookupError, TypeError, ValueError):
                continue
    return config


class _Zoned:
    """Reads what was typed in the zone of the flow, not in that of the editor."""

    zone: tzinfo
    #: The choices of its fields without what only is chosen, by field.
    offered: Mapping[str, Any] = MappingProxyType({})
    #: Stored values that are not shown, by field.
    withheld: Mapping[str, Any] = MappingProxyType({})

    def full_clean(self) -> None:
        with in_zone(self.zone):
            super().full_clean()  # type: ignore[misc]

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]
        cleaned: dict[str, Any] = self.cleaned_data  # type: ignore[attr-defined]
        cleaned.update(
            {name: value for name, value in self.withheld.items() if not cleaned.get(name)}
        )


@cache
def _zoned(form_class: type[forms.Form]) -> type[forms.Form]:
    return cast("type[forms.Form]", type(form_class.__name__, (_Zoned, form_class), {}))


def _local(value: Any, zone: tzinfo) -> Any:
    """Return a datetime as the flow's clock shows it; the form would use the editor's zone."""
    if isinstance(value, datetime) and timezone.is_aware(value):
        return timezone.make_naive(value, zone)
    return value
