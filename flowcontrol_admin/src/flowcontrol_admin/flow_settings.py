"""A flow as a whole: its form, and the pages that add, change and delete one."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from functools import cache
from typing import Any

from django import forms
from django.apps import apps
from django.http import HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.errors import DocumentError, EditError, NotPermittedError
from flowcontrol.flows import bounds
from flowcontrol.models import Flow, FlowRun
from flowcontrol_admin.editor import read_version
from flowcontrol_admin.fields import RevisionField, add_problems, code_input
from flowcontrol_admin.pages import CHANGE_FLOW, Page, Text
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.config_forms import offer_unknown
from flowcontrol_core.flows.drafts import atomic
from flowcontrol_core.flows.lifecycle import FIELDS, LIMITS, POLICIES, RETENTION, delete_flow

#: What the form says about the document; each may be left empty.
OPTIONS = ("object", "guard", "time_zone")
#: What is that of flows by default where the form leaves it empty.
DEFAULTED = ("queue", *POLICIES)
#: Each limit with what happens when it is reached.
LIMITING = (
    "max_concurrent",
    "max_concurrent_policy",
    "max_concurrent_per_object",
    "max_concurrent_per_object_policy",
    "max_per_object",
)


def model_choices() -> Iterator[tuple[str, str]]:
    """Yield the models that a flow may be about, by app."""
    yield "", str(_("none: the flow is about no object"))
    models = [model for model in apps.get_models() if model._meta.app_label != "flowcontrol_core"]
    labels = sorted((model._meta.label_lower, str(model._meta.verbose_name)) for model in models)
    for label, name in labels:
        yield label, f"{name} ({label})"


@cache
def zone_choices() -> list[tuple[str, Text]]:
    """Return the time zones that a flow may have; they are files, so they are read once."""
    zones = sorted(zoneinfo.available_timezones())
    return [("", _("the time zone of the site")), *((name, name) for name in zones)]


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
        widget=code_input(),
        help_text=_(
            "Checked between steps, such as: object.is_active. When it is false, the run ends as "
            "obsolete."
        ),
    )
    time_zone = forms.ChoiceField(label=_("Time zone"), choices=zone_choices, required=False)

    class Meta:
        model = Flow
        fields = ("name", "key", "description", *LIMITING, *RETENTION)
        widgets = {
            "name": forms.TextInput(attrs={"class": "vTextField"}),
            "key": code_input(),
            "description": forms.Textarea(attrs={"rows": 3, "cols": 60}),
        }

    SECTIONS = (
        (None, ("name", "key", "description")),
        (_("Subject (part of the draft)"), OPTIONS),
        (_("Limits (take effect immediately)"), LIMITING),
        (_("Execution and retention (take effect immediately)"), RETENTION),
    )

    def __init__(self, *args: Any, document: Document | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in DEFAULTED:
            self.fields[name].required = False
        for name in LIMITS:
            self.fields[name] = forms.IntegerField(
                label=self.fields[name].label,
                help_text=self.fields[name].help_text,
                min_value=1,
                max_value=bounds.LIMIT,
                required=False,
            )
        if document is not None:
            self.initial.update({name: getattr(document, name) or "" for name in OPTIONS})
            offer_unknown(self)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        defaults = Flow()
        for name in DEFAULTED:
            cleaned[name] = cleaned.get(name) or getattr(defaults, name)
        if set(OPTIONS) <= set(cleaned) and set(OPTIONS) & set(self.changed_data):
            add_problems(self, flows.check_options(**self.options()))
        return cleaned

    def options(self) -> dict[str, Any]:
        """Return what the form says about the document."""
        cleaned = self.cleaned_data
        unset = {"object": None, "guard": "", "time_zone": None}
        return {name: cleaned[name] or empty for name, empty in unset.items()}

    def columns(self) -> dict[str, Any]:
        """Return what the form says about the flow itself, apart from its key."""
        return {name: self.cleaned_data[name] for name in FIELDS}


class ChangeFlowForm(FlowForm):
    """The same for a flow that exists: its key stays.

    ``problems`` are those of what it is filled with. Where the document cannot be read, the form
    is about the rest, and the document stays as it is.
    """

    revision = RevisionField()

    def __init__(self, page: Page, flow: Flow) -> None:
        document, unreadable = read_version(flows.present_version(flow))
        super().__init__(page.data, instance=flow, document=document)
        options = {name: getattr(document, name) for name in OPTIONS}
        self.problems = unreadable or flows.check_options(**options)
        for name in OPTIONS if unreadable else ():
            del self.fields[name]
        self.initial["revision"] = flows.present_revision(flow)
        may_change = page.may(CHANGE_FLOW)
        #: Whether the user may change the draft only. What is sent nevertheless is refused.
        self.is_live = may_change and not flows.may_change_live(flow, page.user)
        kept = set(FIELDS) - set(self.data) if self.is_live else ()
        for name, field in self.fields.items():
            field.disabled = not may_change or name == "key" or name in kept


def add_flow(page: Page) -> HttpResponse:
    """Add a flow, and continue in its editor."""
    form = FlowForm(page.data)
    if page.is_to_write and form.is_valid():
        key, document = form.cleaned_data["key"], Document(**form.options())
        try:
            flow = flows.create_flow(key=key, author=page.user, document=document, **form.columns())
        except DocumentError as error:
            add_problems(form, error.problems)
        else:
            page.admin.log_addition(page.request, flow, gettext("Added."))
            page.notify(gettext("The flow was added. It is inactive and has no steps yet."))
            return page.redirect("flow_editor", flow.pk)
    return page.render(
        "flow_form.html",
        title=gettext("Add flow"),
        crumb=gettext("Add"),
        form=form,
        submit=gettext("Save and open the editor"),
    )


def change_flow(page: Page, flow: Flow) -> HttpResponse:
    """Change the name, limits and options of a flow; without permission, read them."""
    form = ChangeFlowForm(page, flow)
    if page.is_to_write and form.is_valid() and _save(page, flow, form):
        page.log(flow, gettext("Changed the settings."))
        page.notify(gettext("The settings were saved."))
        return page.redirect("flow_editor", flow.pk)
    return page.render(
        "flow_form.html",
        title=gettext("Settings of “%(flow)s”") % {"flow": flow.name},
        crumb=gettext("Settings"),
        form=form,
        problems=() if form.is_bound else form.problems,
        submit=gettext("Save") if page.may(CHANGE_FLOW) else "",
    )


def _save(page: Page, flow: Flow, form: ChangeFlowForm) -> bool:
    """Save all of it or nothing; return whether it was saved."""
    revision = form.cleaned_data["revision"]
    try:
        with atomic():
            if set(OPTIONS) <= set(form.fields):
                flows.set_options(flow, **form.options(), revision=revision, author=page.user)
            flows.change_flow(flow, author=page.user, **form.columns())
    except NotPermittedError:
        raise
    except DocumentError as error:
        add_problems(form, error.problems)
    except EditError as error:
        form.add_error(None, str(error))
    else:
        return True
    return False


def delete(page: Page, flow: Flow) -> HttpResponse:
    """Delete a flow, after showing what is deleted with it."""
    if page.is_post:
        try:
            name, count = str(flow), delete_flow(flow, by=page.user, reason=page.reason)
        except EditError as error:
            return page.problem(error, status=409)
        text = ngettext(
            "Deleted the flow “%(flow)s” and %(count)d run.",
            "Deleted the flow “%(flow)s” and %(count)d runs.",
            count,
        )
        page.notify(text % {"flow": name, "count": count})
        return page.redirect("flow_changelist")
    runs = FlowRun.objects.filter(flow=flow)
    live = runs.live().count()
    return page.render(
        "flow_delete.html",
        title=gettext("Delete “%(flow)s”?") % {"flow": flow.name},
        crumb=gettext("Delete"),
        submit=gettext("Delete the flow"),
        live=live,
        done=runs.count() - live,
        versions=flow.versions.count(),
        triggers=flow.flow_triggers.count(),
    )
