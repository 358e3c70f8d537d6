"""The form of an operator action, made from the arguments that the action declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.errors import DocumentError, StateError
from flowcontrol.models import FlowRun, FlowVersion
from flowcontrol.redaction import HIDDEN
from flowcontrol.runs import Argument, OperatorAction, state_from_json
from flowcontrol_admin.fields import JsonObjectField, ReasonForm
from flowcontrol_admin.timeline import pretty

#: The steps of at most this many versions are offered, newest first.
MOST_VERSIONS = 20


class StateField(JsonObjectField):
    """Values of a state, with their types; hidden secrets stay as they are."""

    def __init__(self, argument: Argument, present: Any) -> None:
        hidden = _("Values shown as hidden stay as they are, unless you enter something else.")
        super().__init__(
            label=argument.label,
            help_text=argument.help or hidden,
            initial="" if present is None else pretty(present),
        )
        self.widget.attrs["rows"] = 14
        self.present = present
        self.may_be_empty = argument.may_be_empty

    def clean(self, value: Any) -> dict[str, Any]:
        written = super().clean(value)
        if not written and not self.may_be_empty:
            raise ValidationError(_("Enter at least one key."))
        try:
            shown = json.loads(pretty(self.present))
            return state_from_json(_unhidden(written, shown, self.present))
        except StateError as error:
            raise ValidationError(str(error)) from error


class OperatorForm(ReasonForm):
    """What an operator action asks for, and why it is done."""

    #: Tells whether the run has changed its state since the form was shown.
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, data: Any, arguments: Iterable[Argument], steps: dict[str, str], present: Any = None
    ) -> None:
        super().__init__(data)
        self._digest = _digest(present)
        self.initial["seen"] = self._digest
        self._names = [argument.name for argument in arguments]
        self.fields |= {one.name: _field(one, steps, present) for one in arguments}
        self.order_fields([*self._names, "reason"])

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("seen") not in ("", None, self._digest):
            raise ValidationError(
                _("The run has changed its state in the meantime. Go back and check it again.")
            )
        return self.cleaned_data

    def arguments(self) -> dict[str, Any]:
        """Return what the action is called with."""
        return {name: self.cleaned_data[name] for name in self._names}


def form_for_run(data: Any, action: OperatorAction, run: FlowRun) -> OperatorForm:
    """Return the form for one run; it shows the present state where that is replaced."""
    arguments = [argument for argument in action.arguments if argument.for_one]
    names = {argument.name for argument in arguments}
    versions = [run.version]
    if "current_version" in names and run.flow.published is not None:
        versions.append(run.flow.published)
    steps = _steps(versions, "%(step)s") if _asks_for_step(arguments) else {}
    return OperatorForm(data, arguments, steps, run.state if "state" in names else None)


def form_for_runs(data: Any, action: OperatorAction, runs: QuerySet[FlowRun]) -> OperatorForm:
    """Return the form for many runs; it offers the steps of their versions."""
    arguments = [argument for argument in action.arguments if argument.for_many]
    if not _asks_for_step(arguments):
        return OperatorForm(data, arguments, {})
    chosen = runs.order_by()
    versions = FlowVersion.objects.filter(pk__in=chosen.values("version"))
    if any(argument.name == "current_version" for argument in arguments):
        versions |= FlowVersion.objects.filter(pk__in=chosen.values("flow__published"))
    newest = versions.select_related("flow").order_by("-pk")[:MOST_VERSIONS]
    return OperatorForm(data, arguments, _steps(newest, "%(flow)s: %(step)s (%(id)s)"))


def _asks_for_step(arguments: Iterable[Argument]) -> bool:
    return any(argument.kind == "step" for argument in arguments)


def _field(argument: Argument, steps: dict[str, str], present: Any) -> forms.Field:
    texts: dict[str, Any] = {"label": argument.label, "help_text": argument.help}
    if argument.kind == "step":
        return forms.ChoiceField(choices=list(steps.items()), required=argument.required, **texts)
    if argument.kind == "flag":
        return forms.BooleanField(required=False, **texts)
    if argument.kind == "time":
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"})
        return forms.DateTimeField(required=argument.required, widget=widget, **texts)
    return StateField(argument, present)


def _steps(versions: Iterable[FlowVersion], template: str) -> dict[str, str]:
    """Return the ids of the steps of versions, each with its description."""
    steps: dict[str, str] = {}
    for version in versions:
        try:
            document = flows.get_document(version)
        except DocumentError:
            continue
        words = flows.Describer(document)
        for step in document.index:
            values = {"flow": version.flow.name, "step": words.step(step), "id": step}
            steps.setdefault(step, template % values)
    return steps


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
        text = gettext("%(hidden)s stands where nothing was hidden. Enter the value itself.")
        raise StateError(text % {"hidden": HIDDEN})
    return real
