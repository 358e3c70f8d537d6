"""Starting a run by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.errors import FlowcontrolError
from flowcontrol.models import Flow, FlowRun, Status
from flowcontrol_admin.fields import JsonObjectField, ReasonForm
from flowcontrol_admin.objects import ObjectRights
from flowcontrol_admin.pages import Page
from flowcontrol_core.flows.document_checks import find_model

MAX_KEY = 200
LATEST = timedelta(days=3_660)


class StartForm(ReasonForm):
    """The object of a run, its first state, and when it starts."""

    state = JsonObjectField(
        label=_("State"),
        help_text=_("A JSON object that the run starts with. Leave empty for none."),
    )
    at = forms.DateTimeField(
        label=_("Not before"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    field_order = ("object", "state", "at", "reason")

    def __init__(self, page: Page, model: type[Model] | None) -> None:
        super().__init__(page.data, initial={"object": page.request.GET.get("object", "")})
        zone = {"zone": timezone.get_current_timezone_name()}
        text = gettext("In the time zone %(zone)s. Leave empty to start immediately.")
        self.fields["at"].help_text = text % zone
        if model is not None:
            self.fields["object"] = ObjectField(model, page.objects)
            self.order_fields(self.field_order)

    def clean_at(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["at"]
        now = timezone.now()
        if at is not None and at < now - timedelta(minutes=1):
            raise ValidationError(
                _("This time has passed. Leave the field empty to start immediately.")
            )
        if at is not None and at > now + LATEST:
            raise ValidationError(_("This is more than ten years ahead."))
        return at


class ObjectField(forms.CharField):
    """The primary key of an object; any model may have millions of them."""

    def __init__(self, model: type[Model], rights: ObjectRights) -> None:
        self.model = model
        self.rights = rights
        label = str(model._meta.verbose_name).capitalize()
        super().__init__(max_length=MAX_KEY, label=label, help_text=_("Its primary key."))

    def clean(self, value: Any) -> Model:
        key = super().clean(value)
        found = self.rights.find(self.model, key)
        if found is None:
            # One answer, so that it does not tell which keys exist.
            raise ValidationError(
                _("No %(model)s with the primary key “%(key)s” exists that you may view."),
                params={"model": self.model._meta.verbose_name, "key": key},
            )
        return found


def start(page: Page, flow: Flow) -> HttpResponse:
    """Start a run, or show why it was refused."""
    published = flows.published_version(flow)
    label = published.object_type if published else ""
    model = find_model(label)
    form = StartForm(page, model)
    if page.is_to_write and (model or not label) and form.is_valid():
        try:
            run = _start(flow, form.cleaned_data, page.user)
        except FlowcontrolError as error:
            form.add_error(None, str(error))
        else:
            page.log(flow, gettext("Started run %(run)s.") % {"run": run.pk})
            page.notify(_result(run))
            return page.redirect("flowrun_change", run.pk)
    return page.render(
        "start.html",
        title=gettext("Start “%(flow)s”") % {"flow": flow.name},
        crumb=gettext("Start a run"),
        form=form,
        submit=gettext("Start"),
        gone="" if model else label,
        published=published,
        lookup=page.link_to(model, "changelist") if model else "",
    )


def _start(flow: Flow, cleaned: dict[str, Any], user: Any) -> FlowRun:
    obj, state, at = cleaned.get("object"), cleaned["state"], cleaned["at"]
    if at is None:
        return start_flowrun(flow, obj, state, by=user, reason=cleaned["reason"])
    return create_flowrun(flow, obj, state, at=at, by=user, reason=cleaned["reason"])


def _result(run: FlowRun) -> str:
    if run.status == Status.PENDING:
        return gettext("The run was created; a worker will start it when it is due.")
    status = run.get_outcome_display() or run.get_status_display()
    return gettext("The run was started; its status is: %(status)s.") % {"status": status}
