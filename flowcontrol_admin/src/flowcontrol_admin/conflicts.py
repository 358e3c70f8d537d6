"""A form that is compared with what is stored now: a choice where both were changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from django import forms
from django.forms.boundfield import BoundField
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.translation import gettext

from flowcontrol.errors import FlowcontrolError
from flowcontrol_admin.seen import of_values, read_values

MINE, THEIRS = "mine", "theirs"

Make: TypeAlias = Callable[[Mapping[str, Any] | None, str], forms.BaseForm]
"""Makes the form, with what is stored or bound to what was sent, under a prefix."""


class Row(NamedTuple):
    """A field as it was typed; where it has to be chosen, as it is stored too."""

    field: BoundField
    theirs: BoundField | None = None
    choice: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparedForm:
    """The form of one author, and what others have stored since it was shown.

    ``make`` makes the same one again.
    ``now`` are the fingerprints of what is stored, by field. ``sent`` has those of what the author
    has seen (``was``), the fields that had to be chosen (``conflict``), and the choices. ``store``
    returns the values of a valid form as they are stored. With ``is_again`` it is only shown.
    """

    form: forms.BaseForm
    make: Make
    store: Callable[[forms.BaseForm], Mapping[str, Any]]
    now: Mapping[str, str]
    sent: QueryDict
    is_late: bool
    is_again: bool = False

    @cached_property
    def choices(self) -> dict[str, str]:
        """Return the fields to choose, each with the side that was chosen, or none yet."""
        if not self.form.is_bound:
            return {}
        asked = set(self.sent.getlist("conflict"))
        differing = [
            name for name in self.form.changed_data if name in asked or not self._is_as_seen(name)
        ]
        return {name: self._choice(name) for name in differing}

    def may_save(self) -> bool:
        """Return whether the form is valid, and nothing of others is overwritten unseen.

        What is stored is put where it was chosen.
        """
        if not self.form.is_bound or self.is_again or (self.is_late and self.choices):
            return False
        for name, chosen in self.choices.items():
            self.form.fields[name].disabled = chosen == THEIRS
        return self.form.is_valid() and all(self.choices.values())

    def render(self) -> str:
        """Return the fields, with both sides and a choice where it is needed."""
        if not self.choices:
            return self.form.render("flowcontrol_admin/fields.html")
        for name in self.choices:
            # What was typed stays to be seen, and may still be chosen.
            self.form.fields[name].disabled = False
        unchosen = "" if self.is_late else gettext("Choose one of the two.")
        context = {"form": self.form, "rows": list(self._rows()), "unchosen": unchosen}
        return render_to_string("flowcontrol_admin/conflict_fields.html", context)

    def _rows(self) -> Iterator[Row]:
        theirs = self.make(None, THEIRS)
        for field in theirs.fields.values():
            field.disabled, field.required = True, False
        for bound in self.form.visible_fields():
            choice = self.choices.get(bound.name)
            yield Row(bound) if choice is None else Row(bound, theirs[bound.name], choice)

    @cached_property
    def _was(self) -> Mapping[str, str]:
        return read_values(self.sent.get("was", "")) if self.is_late else self.now

    @cached_property
    def _typed(self) -> dict[str, str]:
        """Return the fingerprints of what was typed, where it can be stored."""
        form = self.make(self.form.data, str(self.form.prefix))
        try:
            return of_values(self.store(form)) if form.is_valid() else {}
        except FlowcontrolError:
            return {}

    def _is_as_seen(self, name: str) -> bool:
        return name in self._was and self._was[name] == self.now.get(name)

    def _choice(self, name: str) -> str:
        """Return what was chosen, as long as it is about what was seen."""
        chosen = self.sent.get(f"take-{name}", "")
        if chosen in (MINE, THEIRS) and self._is_as_seen(name):
            return chosen
        # An author who has not changed a field loses nothing by the change of another one.
        is_untouched = name in self._was and self._was[name] == self._typed.get(name)
        return THEIRS if self.is_late and is_untouched else ""
