"""Form fields of the admin's own forms: bounded, so that no input can break a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model
from django.utils.translation import gettext_lazy as _

from flowcontrol.errors import Problem
from flowcontrol_core.document.reader import to_seconds

MAX_JSON = 256 * 1024
MAX_REASON = 500
MAX_REVISION = 2**31 - 1


class JsonObjectField(forms.CharField):
    """A JSON object; anything else is an error at the field."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 6, "cols": 60, "spellcheck": "false"})
        super().__init__(max_length=MAX_JSON, widget=widget, required=False, **kwargs)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            data = json.loads(text or "{}")
        except json.JSONDecodeError as error:
            raise ValidationError(
                _("This is not valid JSON: %(message)s (line %(line)d, column %(column)d)."),
                params={"message": error.msg, "line": error.lineno, "column": error.colno},
            ) from error
        except (ValueError, RecursionError) as error:
            text = _("This JSON is nested too deeply or contains a number that is too long.")
            raise ValidationError(text) from error
        if not isinstance(data, dict):
            raise ValidationError(_('Enter a JSON object, such as {"key": "value"}.'))
        return data


class DurationTextField(forms.CharField):
    """A duration as in a flow's document, such as ``30s``, ``5m``, ``2h``, ``1d``, in seconds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, required=False, **kwargs)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        with suppress(ValueError):
            text = float(text)
        try:
            return to_seconds(text)
        except ValueError as error:
            raise ValidationError(
                _("Enter a duration such as 30s, 5m, 2h or 1d (at most ten years).")
            ) from error


class ReasonForm(forms.Form):
    """Why something is done; shown in the history of the run."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("Shown in the history of the run."),
    )


class RevisionField(forms.IntegerField):
    """The revision of the draft that the author of an edit has seen; hidden."""

    def __init__(self) -> None:
        super().__init__(min_value=0, max_value=MAX_REVISION, widget=forms.HiddenInput)


class RevisionForm(forms.Form):
    """What each edit of a draft carries."""

    revision = RevisionField()


def code_input() -> forms.TextInput:
    """Return a wide input for a name or an expression."""
    return forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"})


def focus_first(form: forms.BaseForm) -> None:
    """Let the browser focus the first field with an error, or else the first one."""
    names = [name for name in form.fields if name in form.errors] or [
        bound.name for bound in form.visible_fields() if not bound.field.disabled
    ]
    if names:
        form.fields[names[0]].widget.attrs["autofocus"] = True


def choice_field(form: forms.BaseForm, name: str) -> forms.ChoiceField:
    """Return a field of a form that is known to be one of choices."""
    return cast("forms.ChoiceField", form.fields[name])


def find_object(model: type[Model], key: str, database: str = "") -> Model | None:
    """Return the object with a primary key that was stored or typed as text.

    It is read where it is written: in the database of that alias, or in the one a router names.
    """
    objects = model._base_manager.using(database or router.db_for_write(model))
    try:
        return objects.filter(pk=model._meta.pk.to_python(key)).first()
    except (ValidationError, ValueError, TypeError, OverflowError):
        return None


def show_seconds(seconds: float | None) -> str:
    """Write a duration as ``DurationTextField`` reads it."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def add_problems(form: forms.BaseForm, problems: Iterable[Problem]) -> None:
    """Show problems at the fields of a form, or above them where it has none of that name."""
    for problem in problems:
        field = problem.field if problem.field in form.fields else None
        form.add_error(field, problem.message if field else str(problem))
