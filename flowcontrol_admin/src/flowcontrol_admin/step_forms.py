"""The forms about one step; each returns the arguments of the edit that it asks for."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.flows import bounds
from flowcontrol_admin.fields import DurationTextField, RevisionForm, choice_field, show_seconds
from flowcontrol_admin.tree import place_value
from flowcontrol_core.document.format import ERROR_NAME
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step

_ERRORS = rf"^{ERROR_NAME.pattern}([\s,]+{ERROR_NAME.pattern})*$"
_PLACE = re.compile(r"([^/]*)/([^/]*)/([0-9]{1,10})")


def read_place(text: str) -> Place | None:
    """Read what ``place_value`` wrote; ``None`` for anything else."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    parent, branch, index = found.groups()
    return Place(parent=parent or None, branch=branch or None, index=int(index))


class AddForm(RevisionForm):
    """An action at a place."""

    action = forms.CharField(max_length=200)
    place = forms.CharField(max_length=300)


class EditForm(forms.Form):
    """What is asked for an edit of a step."""

    def __init__(self, data: Any, document: Document, step: Step, prefix: str | None) -> None:
        super().__init__(data, prefix=prefix)
        self.show(document, step)

    def show(self, document: Document, step: Step) -> None:
        """Fill in what the step has now."""

    def arguments(self) -> dict[str, Any]:
        """Return what the edit is called with."""
        return self.cleaned_data


class ShiftForm(EditForm):
    """Up or down by one."""

    by = forms.TypedChoiceField(choices=[("-1", "up"), ("1", "down")], coerce=int)


class DisableForm(EditForm):
    """Off or on."""

    disabled = forms.TypedChoiceField(
        choices=[("1", "off"), ("0", "on")], coerce=lambda value: value == "1"
    )


class NoteForm(EditForm):
    """The note of a step."""

    note = forms.CharField(
        label=_("Note"),
        max_length=bounds.NOTE_CHARACTERS,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text=_("Shown to readers of the flow. Leave empty for none."),
    )

    def show(self, document: Document, step: Step) -> None:
        self.initial["note"] = step.note


class MoveForm(EditForm):
    """A place out of all legal ones, in reading order."""

    place = forms.TypedChoiceField(
        label=_("New place"),
        widget=forms.Select(attrs={"size": 12}),
        coerce=read_place,
    )

    def show(self, document: Document, step: Step) -> None:
        words = flows.Describer(document)
        here = document.visit(step.id).place
        self.initial["place"] = place_value(here)
        choices = []
        for place in flows.places(document, moving=step.id):
            text = words.place(place, moving=step.id)
            if place == here:
                text = gettext("%(place)s (current place)") % {"place": text}
            choices.append((place_value(place), text))
        choice_field(self, "place").choices = choices


class PolicyForm(EditForm):
    """What happens when a step fails or takes too long."""

    attempts = forms.IntegerField(
        label=_("Attempts"),
        min_value=1,
        max_value=bounds.ATTEMPTS,
        required=False,
        help_text=_("Includes the first one. Leave empty to end the run at the first failure."),
    )
    backoff = DurationTextField(
        label=_("First wait"), help_text=_("Before the second attempt, such as 30s.")
    )
    factor = forms.FloatField(
        label=_("Factor"),
        min_value=1,
        max_value=bounds.FACTOR,
        required=False,
        help_text=_("Each further wait is this many times as long as the one before."),
    )
    jitter = forms.ChoiceField(
        label=_("Jitter"),
        choices=[("full", _("spread waits at random")), ("none", _("exact waits"))],
        required=False,
    )
    error_names = forms.CharField(
        label=_("Only for these errors"),
        required=False,
        help_text=_(
            "Names of error classes separated by spaces, such as TimeoutError; subclasses are "
            "included. Leave empty for any error."
        ),
        validators=[RegexValidator(_ERRORS, _("Enter names such as TimeoutError."))],
    )
    timeout = DurationTextField(
        label=_("Timeout"),
        help_text=_("The longest time for one call. Leave empty to use the action's default."),
    )
    if_unknown = forms.ChoiceField(
        label=_("If it is unknown whether the step took effect"),
        choices=[("repeat", _("repeat it")), ("fail", _("fail; never execute it twice"))],
    )

    def show(self, document: Document, step: Step) -> None:
        # Without a policy there are no attempts; the rest shows what one begins with.
        retry = step.retry or RetryPolicy(attempts=1)
        self.initial.update(
            attempts=retry.attempts if step.retry else None,
            backoff=show_seconds(retry.backoff),
            factor=retry.factor,
            jitter=retry.jitter,
            error_names=" ".join(retry.errors),
            timeout=show_seconds(step.timeout),
            if_unknown=step.if_unknown,
        )

    def arguments(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        retry = {"retry": self._retry() if cleaned["attempts"] else None}
        return retry | {name: cleaned[name] for name in ("timeout", "if_unknown")}

    def _retry(self) -> RetryPolicy:
        cleaned = self.cleaned_data
        names = ("attempts", "backoff", "factor", "jitter")
        given = {name: cleaned[name] for name in names if cleaned[name] not in (None, "")}
        return RetryPolicy(**given, errors=tuple(re.findall(r"[^\s,]+", cleaned["error_names"])))
