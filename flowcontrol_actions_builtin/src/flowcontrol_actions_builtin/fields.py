"""Form fields and choices that several of the actions have in common."""

from __future__ import annotations

import keyword
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from flowcontrol.forms import RESERVED_NAMES
from flowcontrol_actions_builtin.reckoning import Unit

UNITS = [
    (Unit.SECONDS.value, _("seconds")),
    (Unit.MINUTES.value, _("minutes")),
    (Unit.HOURS.value, _("hours")),
    (Unit.DAYS.value, _("days")),
    (Unit.WEEKS.value, _("weeks")),
    (Unit.MONTHS.value, _("months")),
]


class DefaultChoiceField(forms.ChoiceField):
    """A choice that has a default: where nothing is stored, its first choice counts."""

    def __init__(self, *, choices: list[tuple[str, Any]], **kwargs: Any) -> None:
        kwargs.setdefault("initial", choices[0][0])
        super().__init__(choices=choices, required=False, **kwargs)

    def clean(self, value: Any) -> str:
        return str(super().clean(value) or self.initial)


class UnitField(DefaultChoiceField):
    """What an amount of time is counted in; the action gets a Unit."""

    def __init__(self, *, initial: Unit, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Unit"))
        super().__init__(choices=UNITS, initial=initial.value, **kwargs)


class StateKeyField(forms.CharField):
    """A key of the state that expressions can refer to by its name."""

    default_validators = [
        RegexValidator(
            r"\A[a-zA-Z][a-zA-Z0-9_]*\Z",
            _("Use letters, digits and underscores, starting with a letter."),
        )
    ]

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        super().__init__(max_length=100, **kwargs)

    def clean(self, value: Any) -> str:
        name = str(super().clean(value))
        if name in RESERVED_NAMES or keyword.iskeyword(name):
            raise ValidationError(
                _("“%(name)s” has a meaning of its own in expressions; use another name."),
                code="reserved",
                params={"name": name},
            )
        return name


def label_of(choices: list[tuple[str, Any]], value: Any) -> str:
    """Give the label of a choice, or the value itself where it is no choice."""
    return str(dict(choices).get(value, value))
