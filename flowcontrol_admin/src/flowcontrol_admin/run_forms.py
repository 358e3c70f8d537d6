"""What is asked before something is done to a run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from flowcontrol.redaction import HIDDEN
from flowcontrol_admin.fields import JsonObjectField, choice_field
from flowcontrol_admin.pages import MAX_REASON
from flowcontrol_admin.timeline import pretty
from flowcontrol_core.document.tree import Document
from flowcontrol_core.engine.codec import decode
from flowcontrol_core.errors import DocumentError, StateError
from flowcontrol_core.flows.descriptions import Describer
from flowcontrol_core.flows.drafts import get_document
from flowcontrol_core.flows.overview import documents_of
from flowcontrol_core.models import FlowRun


class ReasonForm(forms.Form):
    """Why somebody does something to a run; kept in its history."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("Is shown in the history of the run."),
    )

    def arguments(self) -> dict[str, Any]:
        """Give what the verb is called with."""
        return {name: value for name, value in self.cleaned_data.items() if value}


class RunForm(ReasonForm):
    """Why somebody does something to one run."""

    def __init__(self, *args: Any, run: FlowRun, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run = run


class SendForm(RunForm):
    """Which step a run is sent to."""

    step = forms.ChoiceField(label=_("Step"))
    field_order: tuple[str, ...] = ("step", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice_field(self, "step").choices = list(self._steps().items())

    def _steps(self) -> dict[str, str]:
        return steps_of(documents_of([self.run]).get(self.run.version_id, Document()))


class RestartForm(SendForm):
    """Where a new run begins, and on which version."""

    current_version = forms.BooleanField(
        label=_("Use the published version of the flow"),
        required=False,
        help_text=_("Otherwise the new run is on the same version as this one."),
    )
    field_order = ("step", "current_version", "reason")

    def _steps(self) -> dict[str, str]:
        """Give the steps of both versions; the verb refuses one that the chosen one lacks."""
        steps = super()._steps()
        published = self.run.flow.published
        if published is None or published.pk == self.run.version_id:
            return steps
        try:
            return {**steps_of(get_document(published)), **steps}
        except DocumentError:
            return steps


class StateForm(RunForm):
    """What the state of a run shall be. Secrets are not shown, and stay as they are."""

    state = JsonObjectField(
        label=_("State"),
        help_text=_("What is shown as hidden stays as it is, unless you write something else."),
    )
    #: Tells whether the run has changed its state since the form was shown.
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    field_order = ("state", "reason", "seen")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.update({"state": pretty(self.run.state), "seen": _digest(self.run.state)})

    def clean_state(self) -> dict[str, Any]:
        real = self.run.state
        try:
            written = _unhidden(self.cleaned_data["state"], json.loads(pretty(real)), real)
            return {key: decode(value) for key, value in written.items()}
        except StateError as error:
            raise ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("seen") not in ("", None, _digest(self.run.state)):
            raise ValidationError(
                _("The run has changed its state meanwhile. Go back, and look at it again.")
            )
        return cleaned

    def arguments(self) -> dict[str, Any]:
        return {"state": self.cleaned_data["state"], "reason": self.cleaned_data["reason"]}


def state_of(written: dict[str, Any]) -> dict[str, Any]:
    """Give the values that were written as JSON; raises StateError for what is none."""
    return {key: decode(value) for key, value in _unhidden(written, {}, {}).items()}


def steps_of(document: Document) -> dict[str, str]:
    """Give the ids of all steps, each with its number and its action."""
    words = Describer(document)
    return {step: words.step(step) for step in document.step_ids()}


def _digest(state: Any) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def _unhidden(written: Any, shown: Any, real: Any) -> Any:
    """Put the values back that were hidden where the same place still says so."""
    if isinstance(written, dict):
        below = shown if isinstance(shown, dict) and isinstance(real, dict) else {}
        return {
            key: _unhidden(value, below.get(key), real[key] if key in below else None)
            for key, value in written.items()
        }
    if isinstance(written, list):
        if not isinstance(shown, list) or not isinstance(real, list):
            shown = real = []
        fill = [None] * len(written)
        places = zip(written, [*shown, *fill], [*real, *fill], strict=False)
        return [_unhidden(*place) for place in places]
    if written != HIDDEN:
        return written
    if shown != HIDDEN:
        raise StateError(f"{HIDDEN} stands where nothing was hidden: write the value itself.")
    return real
