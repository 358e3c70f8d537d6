"""Form fields of the admin's own forms: bounded, so that no input can break a page."""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.document.reader import to_seconds
from flowcontrol_core.document.tree import Place

MAX_JSON = 256 * 1024
MAX_REVISION = 2**31 - 1


class JsonObjectField(forms.CharField):
    """A JSON object; whatever is typed, the worst that comes of it is a message at the field."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 6, "cols": 60, "spellcheck": "false"})
        super().__init__(max_length=MAX_JSON, widget=widget, required=False, **kwargs)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return {}
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValidationError(
                _("This is no valid JSON: %(message)s (line %(line)d, column %(column)d)."),
                params={"message": error.msg, "line": error.lineno, "column": error.colno},
            ) from error
        except (ValueError, RecursionError) as error:
            raise ValidationError(
                _("This JSON nests too deeply, or has a number that is too long.")
            ) from error
        if not isinstance(data, dict):
            raise ValidationError(_('Enter a JSON object, such as {"key": "value"}.'))
        return data


class DurationTextField(forms.CharField):
    """A duration as in a flow's document: ``30s``, ``5m``, ``2h``, ``1d``; gives seconds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, **kwargs)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return to_seconds(float(text) if _is_number(text) else text)
        except ValueError as error:
            raise ValidationError(
                _("Write a duration such as 30s, 5m, 2h or 1d (at most ten years).")
            ) from error


class RevisionField(forms.IntegerField):
    """The revision of the draft that somebody has seen; a hidden field of each operation."""

    def __init__(self) -> None:
        super().__init__(min_value=0, max_value=MAX_REVISION, widget=forms.HiddenInput)


def choice_field(form: forms.BaseForm, name: str) -> forms.ChoiceField:
    """Give a field of a form that is known to be one of choices."""
    return cast("forms.ChoiceField", form.fields[name])


def show_seconds(seconds: float | None) -> str:
    """Write a duration as ``DurationTextField`` reads it."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def place_value(place: Place) -> str:
    """Write a place as one text, for a form."""
    return f"{place.parent or ''}/{place.branch or ''}/{place.index}"


def read_place(text: str) -> Place | None:
    """Read what ``place_value`` wrote; ``None`` for anything else."""
    parts = text.split("/")
    if len(parts) != len(("parent", "branch", "index")):
        return None
    parent, branch, index = parts
    if not (index.isascii() and index.isdigit()) or len(index) > len(str(MAX_REVISION)):
        return None
    return Place(parent=parent or None, branch=branch or None, index=int(index))


def model_choices() -> Iterator[tuple[str, str]]:
    """Give the models that a flow may be about, by app."""
    yield "", str(_("none: the flow is about no object"))
    models = [model for model in apps.get_models() if model._meta.app_label != "flowcontrol_core"]
    labels = sorted((model._meta.label_lower, str(model._meta.verbose_name)) for model in models)
    for label, name in labels:
        yield label, f"{name} ({label})"


def zone_choices() -> Iterator[tuple[str, str]]:
    """Give the time zones that a flow may have."""
    yield "", str(_("that of the site"))
    for name in _zones():
        yield name, name


@lru_cache(maxsize=1)
def _zones() -> list[str]:
    return sorted(zoneinfo.available_timezones())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
