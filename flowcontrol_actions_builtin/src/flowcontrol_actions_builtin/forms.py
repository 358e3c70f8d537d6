"""Form fields, choices and a form that several of the actions share."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from flowcontrol.forms import RESERVED_NAMES, JSONExpressionField, check_texts
from flowcontrol_actions_builtin.calendar import Unit

#: By unit of time: its name, and an amount of it.
UNITS: dict[Unit, tuple[Any, Any]] = {
    Unit.SECONDS: (_("seconds"), ngettext_lazy("%(amount)s second", "%(amount)s seconds", "n")),
    Unit.MINUTES: (_("minutes"), ngettext_lazy("%(amount)s minute", "%(amount)s minutes", "n")),
    Unit.HOURS: (_("hours"), ngettext_lazy("%(amount)s hour", "%(amount)s hours", "n")),
    Unit.DAYS: (_("days"), ngettext_lazy("%(amount)s day", "%(amount)s days", "n")),
    Unit.WEEKS: (_("weeks"), ngettext_lazy("%(amount)s week", "%(amount)s weeks", "n")),
    Unit.MONTHS: (_("months"), ngettext_lazy("%(amount)s month", "%(amount)s months", "n")),
}


class DefaultChoiceField(forms.ChoiceField):
    """A choice with a default: the first one, unless ``initial`` names another."""

    def __init__(self, *, choices: list[tuple[str, Any]], **kwargs: Any) -> None:
        kwargs.setdefault("initial", choices[0][0])
        super().__init__(choices=choices, required=False, **kwargs)

    def clean(self, value: Any) -> str:
        return str(super().clean(value) or self.initial)


def unit_field(help_text: Any = "") -> DefaultChoiceField:
    """Return the field for the unit of an amount of time; days by default."""
    choices = [(unit.value, label) for unit, (label, _amount) in UNITS.items()]
    initial = Unit.DAYS.value
    return DefaultChoiceField(
        label=_("Unit"), choices=choices, initial=initial, help_text=help_text
    )


def evaluate_field() -> forms.BooleanField:
    """Return the checkbox that turns the texts of a JSON field into expressions."""
    help_text = _(
        'Treats each text, at any depth, as an expression: "state.tries + 1". Put quotes around '
        "a literal text: \"'welcome'\"."
    )
    return forms.BooleanField(label=_("Evaluate texts"), required=False, help_text=help_text)


class StateKeyField(forms.CharField):
    """A key of the state that expressions can refer to by its name."""

    default_validators = [
        RegexValidator(
            r"\A[a-zA-Z][a-zA-Z0-9_]*\Z",
            _("Use letters, digits and underscores, starting with a letter."),
        )
    ]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=100, required=False, **kwargs)

    def clean(self, value: Any) -> str:
        name = str(super().clean(value))
        if name in RESERVED_NAMES or keyword.iskeyword(name):
            raise ValidationError(
                _("“%(name)s” is reserved in expressions; use another name."),
                code="reserved",
                params={"name": name},
            )
        return name


class ConfigForm(forms.Form):
    """A form that checks what one field means for another.

    ``needs`` maps the choices of a field to the field that each of them requires. Texts of a JSON
    field are checked as expressions where its checkbox is ticked.
    """

    needs: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    def clean(self) -> None:
        super().clean()
        for name, needed in self.needs.items():
            self._require(name, needed.get(self.cleaned_data.get(name, "")))
        for name, field in self.fields.items():
            if isinstance(field, JSONExpressionField) and self.cleaned_data.get(field.evaluate):
                self._check_texts(name)

    def _require(self, name: str, needed: str | None) -> None:
        if needed in self.cleaned_data and self.cleaned_data[needed] in (None, ""):
            field: Any = self.fields[name]
            problem = ValidationError(
                _("Required when “%(choice)s” is selected."),
                code="required",
                params={"choice": dict(field.choices)[self.cleaned_data[name]]},
            )
            self.add_error(needed, problem)

    def _check_texts(self, name: str) -> None:
        try:
            check_texts(self.cleaned_data.get(name))
        except ValidationError as error:
            self.add_error(name, error)
