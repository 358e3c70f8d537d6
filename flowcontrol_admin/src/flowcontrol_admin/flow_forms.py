"""The forms about a flow as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from flowcontrol.flows import bounds
from flowcontrol_admin.fields import (
    RevisionField,
    choice_field,
    model_choices,
    zone_choices,
)
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import Problem
from flowcontrol_core.flows.document_checks import check_options
from flowcontrol_core.flows.lifecycle import LIMITS, POLICIES
from flowcontrol_core.models import MAX_LIMIT, Flow, LimitPolicy

#: Each limit with what happens to a run too many.
LIMITING = (
    "max_concurrent",
    "max_concurrent_policy",
    "max_concurrent_per_object",
    "max_concurrent_per_object_policy",
    "max_per_object",
)
RETENTION = ("queue", "retention_days", "retention_runs")


class FlowForm(forms.ModelForm):  # type: ignore[type-arg]
    """The name and limits of a flow, and what its document says about the whole of it."""

    object = forms.ChoiceField(
        label=_("Object type"),
        choices=model_choices,
        required=False,
        help_text=_("The model of the objects that runs are about."),
    )
    guard = forms.CharField(
        label=_("Guard condition"),
        max_length=bounds.EXPRESSION_CHARACTERS,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"}),
        help_text=_(
            "Looked at between steps; when it is false, the run ends as obsolete. Such as: "
            "object.is_active"
        ),
    )
    time_zone = forms.ChoiceField(label=_("Time zone"), choices=zone_choices, required=False)

    class Meta:
        model = Flow
        fields = ("name", "key", "description", *LIMITING, *RETENTION)
        widgets = {
            "name": forms.TextInput(attrs={"class": "vTextField"}),
            "key": forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"}),
            "description": forms.Textarea(attrs={"rows": 3, "cols": 60}),
        }

    SECTIONS = (
        (None, ("name", "key", "description")),
        (_("What it is about (part of the draft)"), ("object", "guard", "time_zone")),
        (_("Limits (in force at once)"), LIMITING),
        (_("Execution and keeping (in force at once)"), RETENTION),
    )

    def __init__(self, *args: Any, document: Document | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Left empty, it is the one that flows have by default.
        self.fields["queue"].required = False
        for name in POLICIES:
            # Left empty, it is that of flows by default.
            self.fields[name].required = False
        for name in LIMITS:
            self.fields[name] = forms.IntegerField(
                label=self.fields[name].label,
                help_text=self.fields[name].help_text,
                min_value=1,
                max_value=MAX_LIMIT,
                required=False,
            )
        if document is not None:
            self.initial.update(
                {
                    "object": document.object or "",
                    "guard": document.guard,
                    "time_zone": document.time_zone or "",
                }
            )
            self._keep_unknown(document)

    def clean_queue(self) -> str:
        return str(self.cleaned_data["queue"] or Flow._meta.get_field("queue").get_default())

    def clean_max_concurrent_policy(self) -> str:
        return self.cleaned_data["max_concurrent_policy"] or LimitPolicy.SKIP

    def clean_max_concurrent_per_object_policy(self) -> str:
        return self.cleaned_data["max_concurrent_per_object_policy"] or LimitPolicy.SKIP

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not {"object", "guard", "time_zone"} & set(self.errors):
            self.add_problems(check_options(**self.options()))
        return cleaned

    def options(self) -> dict[str, Any]:
        """Give what the form says about the document."""
        return {
            "object": self.cleaned_data["object"] or None,
            "guard": self.cleaned_data["guard"],
            "time_zone": self.cleaned_data["time_zone"] or None,
        }

    def columns(self) -> dict[str, Any]:
        """Give what the form says about the flow itself, apart from its key."""
        names = ("name", "description", *LIMITING, *RETENTION)
        return {name: self.cleaned_data[name] for name in names}

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Show problems at their fields."""
        add_problems(self, problems)

    def _keep_unknown(self, document: Document) -> None:
        """A model or a zone that is not known here any more stays what it is, until changed."""
        for name in ("object", "time_zone"):
            field = choice_field(self, name)
            value = self.initial[name]
            known: list[Any] = list(cast("Iterable[Any]", field.choices))
            if value and value not in dict(known):
                unknown = _("%(value)s (unknown here)") % {"value": value}
                field.choices = [*known, (value, unknown)]


class ChangeFlowForm(FlowForm):
    """The same for a flow that exists: its key stays."""

    revision = RevisionField()

    def __init__(self, *args: Any, revision: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["revision"] = revision
        self.fields["key"].disabled = True


def add_problems(form: forms.BaseForm, problems: Iterable[Problem]) -> None:
    """Show problems at the fields of a form, or above them where it has none of that name."""
    for problem in problems:
        field = problem.field if problem.field in form.fields else None
        form.add_error(field, problem.message if field else str(problem))
