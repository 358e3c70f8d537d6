"""The first state of a run as rows: a key, a type and a value each, instead of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.formsets import DEFAULT_MIN_NUM, BaseFormSet, formset_factory
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    _FormSet = BaseFormSet["StateRow"]
else:
    _FormSet = BaseFormSet

MAX_KEY = 100
MAX_VALUE = 20_000
MOST_ROWS = 100
#: The empty rows at first, and those that a button adds.
EMPTY_ROWS = 3
#: The name of the button that adds rows.
MORE = "more_rows"
PREFIX = "state"


def _read_number(text: str) -> Any:
    try:
        return forms.IntegerField(localize=True).clean(text)
    except ValidationError:
        return forms.FloatField(localize=True).clean(text)


def _read_yes_no(text: str) -> bool:
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    # As they are written in the language of the reader.
    words |= {gettext("yes").casefold(): True, gettext("no").casefold(): False}
    if (found := words.get(text.strip().casefold())) is None:
        raise ValidationError(_("Enter yes or no."))
    return found


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(_("This is not valid JSON.")) from error


def _read_decimal(text: str) -> Any:
    return forms.DecimalField(localize=True, max_digits=60).clean(text)


def _read_date(text: str) -> Any:
    return forms.DateField().clean(text)


def _read_datetime(text: str) -> Any:
    return forms.DateTimeField().clean(text)


#: How a value of each type is read, after its label.
_TYPES: Mapping[str, tuple[Any, Callable[[str], Any]]] = {
    "text": (_("text"), str),
    "number": (_("number"), _read_number),
    "decimal": (_("decimal (an exact amount)"), _read_decimal),
    "yes_no": (_("yes or no"), _read_yes_no),
    "date": (_("date"), _read_date),
    "datetime": (_("date and time"), _read_datetime),
    "json": (_("JSON"), _read_json),
}


class StateRow(forms.Form):
    """One key of the state; a row without a key and a value counts as none."""

    key = forms.CharField(label=_("Key"), max_length=MAX_KEY, required=False)
    type = forms.ChoiceField(
        label=_("Type"), choices=[(name, label) for name, (label, _read) in _TYPES.items()]
    )
    value = forms.CharField(label=_("Value"), max_length=MAX_VALUE, required=False, strip=False)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        key, name, text = (cleaned.get(field, "") for field in ("key", "type", "value"))
        if text and not key and "key" not in self.errors:
            self.add_error("key", _("Enter a key for this value."))
        if key and name and "value" not in self.errors:
            self._read(name, text)
        return cleaned

    def _read(self, name: str, text: str) -> None:
        if not text.strip() and name != "text":
            self.add_error("value", _("Enter a value."))
            return
        try:
            self.cleaned_data["read"] = _TYPES[name][1](text)
        except ValidationError as error:
            self.add_error("value", error)


class BaseStateRows(_FormSet):
    """All rows together: each key once."""

    def clean(self) -> None:
        seen: set[str] = set()
        for row in self.forms:
            key = row.cleaned_data.get("key") if hasattr(row, "cleaned_data") else ""
            if key and key in seen:
                row.add_error("key", _("This key stands in a row above."))
            seen.add(key or "")

    @property
    def values(self) -> dict[str, Any]:
        """Return the state of valid rows."""
        cleaned = [row.cleaned_data for row in self.forms]
        return {each["key"]: each["read"] for each in cleaned if "read" in each}


StateRows: Any = formset_factory(
    StateRow,
    formset=BaseStateRows,
    extra=EMPTY_ROWS,
    min_num=DEFAULT_MIN_NUM,
    max_num=MOST_ROWS,
    absolute_max=MOST_ROWS,
)


def state_rows(data: Mapping[str, Any] | None, *, is_checked: bool) -> BaseStateRows:
    """Return the rows: empty ones at first, or those that were sent.

    Where they are not checked, they are shown again as they were sent, with more empty ones.
    """
    if data is None or is_checked:
        rows: BaseStateRows = StateRows(data, prefix=PREFIX) if data else StateRows(prefix=PREFIX)
        return rows
    again: BaseStateRows = StateRows(prefix=PREFIX, initial=[*_sent(data)])
    return again


def has_rows(data: Mapping[str, Any]) -> bool:
    """Return whether a request has rows at all: code may send the JSON only."""
    return f"{PREFIX}-TOTAL_FORMS" in data


def _sent(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was sent as the initial values of rows."""
    names = (*StateRow.base_fields,)
    found = []
    for number in range(MOST_ROWS - EMPTY_ROWS):
        row = {name: data.get(f"{PREFIX}-{number}-{name}", "") for name in names}
        if row["key"] or row["value"]:
            found.append({**row, "type": row["type"] or "text"})
    return found
