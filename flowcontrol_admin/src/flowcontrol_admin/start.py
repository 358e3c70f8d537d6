"""Starting a run by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol_admin.fields import JsonObjectField
from flowcontrol_admin.pages import MAX_REASON, Page, url
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import Flow, FlowRun, Status
from flowcontrol_core.runs.execution.start import create_flowrun, start_flowrun

MAX_KEY = 200
LATEST = timedelta(days=3_660)


class StartForm(forms.Form):
    """The object of a run, its first state, and when it begins."""

    object = forms.CharField(label=_("Object"), max_length=MAX_KEY)
    state = JsonObjectField(
        label=_("State"), help_text=_("A JSON object that the run begins with; empty for none.")
    )
    at = forms.DateTimeField(
        label=_("Not before"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("Is shown in the history of the run."),
    )

    def __init__(self, *args: Any, model: type[Model] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model = model
        self.fields["at"].help_text = _("In the time zone %(zone)s; empty: at once.") % {
            "zone": timezone.get_current_timezone_name()
        }
        if model is None:
            del self.fields["object"]
        else:
            self.fields["object"].label = str(model._meta.verbose_name).capitalize()
            self.fields["object"].help_text = _("Its primary key.")

    def clean_object(self) -> Model:
        key = self.cleaned_data["object"]
        model = cast("type[Model]", self.model)
        try:
            found = model._base_manager.filter(pk=model._meta.pk.to_python(key)).first()
        except (ValidationError, ValueError, TypeError, OverflowError):
            found = None
        if found is None:
            raise ValidationError(
                _("There is no %(model)s with the primary key “%(key)s”."),
                params={"model": model._meta.verbose_name, "key": key},
            )
        return found

    def clean_at(self) -> Any:
        at = self.cleaned_data["at"]
        if at is None:
            return None
        now = timezone.now()
        if at < now - timedelta(minutes=1):
            raise ValidationError(_("This time has passed. Leave it empty to start at once."))
        if at > now + LATEST:
            raise ValidationError(_("This is more than ten years ahead."))
        return at


def start(page: Page, flow: Flow) -> HttpResponse:
    """Start a run; one that is refused says why."""
    model, gone = _model(flow)
    data = page.request.POST if page.is_post else None
    form = StartForm(data, model=model, initial={"object": page.request.GET.get("object", "")})
    if page.is_post and not gone and form.is_valid():
        try:
            run = _start(flow, form.cleaned_data, page.user)
        except FlowcontrolError as error:
            form.add_error(None, str(error))
        else:
            page.log(flow, say("Started run %(run)s.") % {"run": run.pk})
            page.say(_result(run))
            return page.redirect("flowrun_change", run.pk)
    return page.render(
        "start.html",
        title=say("Start “%(flow)s”") % {"flow": flow.name},
        flow=flow,
        tab="start",
        form=form,
        gone=gone,
        published=flows.published_version(flow),
        lookup=_lookup(page, model),
        crumbs=[(say("Start a run"), "")],
        back=url("flow_editor", flow.pk),
    )


def _start(flow: Flow, cleaned: dict[str, Any], user: Any) -> FlowRun:
    obj, state, at = cleaned.get("object"), cleaned["state"], cleaned["at"]
    who: dict[str, Any] = {"by": user, "reason": cleaned["reason"]}
    if at is None:
        return start_flowrun(flow, obj, state, **who)
    return create_flowrun(flow, obj, state, at=at, **who)


def _model(flow: Flow) -> tuple[type[Model] | None, str]:
    """Give the model of the published version's objects; and its name where it is not there."""
    version = flows.published_version(flow)
    label = version.object_type if version else ""
    if not label:
        return None, ""
    try:
        return apps.get_model(label), ""
    except (LookupError, ValueError):
        return None, label


def _lookup(page: Page, model: type[Model] | None) -> str:
    """Give the address of the admin's list of these objects, where the user may see it."""
    if model is None:
        return ""
    found = page.admin.admin_site._registry.get(model)  # noqa: SLF001 - the only way to ask
    if found is None or not found.has_view_permission(page.request):
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _result(run: FlowRun) -> str:
    if run.status == Status.PENDING:
        return say("The run was created; a worker begins it when it is due.")
    return say("The run was started; it is %(status)s now.") % {
        "status": run.get_outcome_display() or run.get_status_display()
    }
