"""Starting a run by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from flowcontrol.models import Flow, FlowRun, FlowVersion, Status
from flowcontrol.registry import registry
from flowcontrol_admin.fields import JsonObjectField, ReasonForm
from flowcontrol_admin.object_fields import TYPED, ObjectField, search_objects
from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.state_rows import MORE, BaseStateRows, has_rows, state_rows
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.document_checks import find_model, inspect_document
from flowcontrol_core.flows.drafts import readable_document

LATEST = timedelta(days=3_660)
DRAFT, PUBLISHED = "draft", "published"


class StartForm(ReasonForm):
    """The object of a run, its first state, and when it starts."""

    # What a flow declares as its inputs will stand here, between the object and the state.
    state = JsonObjectField(
        label=_("State as JSON"),
        help_text=_("A JSON object, in addition to the rows above. Leave empty for none."),
    )
    at = forms.DateTimeField(
        label=_("Not before"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    field_order = ("object", "state", "at", "reason")

    def __init__(self, data: Mapping[str, Any] | None, initial: Mapping[str, Any]) -> None:
        super().__init__(data, initial=dict(initial))
        zone = {"zone": timezone.get_current_timezone_name()}
        text = gettext("In the time zone %(zone)s. Leave empty to start immediately.")
        self.fields["at"].help_text = text % zone

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


class DryRunForm(forms.Form):
    """What only a dry run asks: which version, and which events arrive."""

    version = forms.ChoiceField(label=_("Version"), required=False)
    events = forms.MultipleChoiceField(
        label=_("Events that arrive"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("A wait for any other event times out, if it can."),
    )
    payload = JsonObjectField(
        label=_("Payload"),
        help_text=_(
            "A JSON object: what the trigger brings that would start the run, and what the events "
            "bring. Leave empty for none."
        ),
    )

    def __init__(
        self, data: Mapping[str, Any] | None, versions: list[FlowVersion], waited: list[str]
    ) -> None:
        super().__init__(data, initial={"version": DRAFT})
        _set_choices(self, "version", [(_kind(one), _name(one)) for one in versions])
        _set_choices(self, "events", [(key, registry.trigger_label(key)) for key in waited])
        if len(versions) < len((DRAFT, PUBLISHED)):
            del self.fields["version"]
        if not waited:
            del self.fields["events"]


def _set_choices(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field: Any = form.fields[name]
    field.choices = choices


def _kind(version: FlowVersion) -> str:
    return PUBLISHED if version.published_at else DRAFT


def _name(version: FlowVersion) -> str:
    if not version.published_at:
        return gettext("the draft")
    return gettext("version %(number)d, the published one") % {"number": version.number}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person fills in to start a run, or to see what it would do."""

    form: StartForm
    rows: BaseStateRows
    show: DryRunForm
    published: FlowVersion | None
    draft: FlowVersion | None
    #: The model that the flow is about, and its label.
    model: type[Model] | None
    label: str

    @property
    def is_possible(self) -> bool:
        return bool(self.model) or not self.label

    def is_valid(self, *others: forms.BaseForm) -> bool:
        """Return whether all is filled in; each form says what is wrong in it."""
        # A request that brings the JSON only has no rows.
        valid = [self.rows.is_valid() or not self.rows.is_bound]
        valid += [form.is_valid() for form in (self.form, *others)]
        return self.is_possible and all(valid) and not self._has_doubles()

    def _has_doubles(self) -> bool:
        """Return whether a key stands in a row and in the JSON, and say so at the JSON."""
        both = sorted(self._row_values.keys() & self.form.cleaned_data["state"].keys())
        if both:
            text = gettext("These keys stand in the rows too: %(keys)s.")
            self.form.add_error("state", text % {"keys": ", ".join(both)})
        return bool(both)

    @property
    def _row_values(self) -> dict[str, Any]:
        return self.rows.values if self.rows.is_bound else {}

    @property
    def state(self) -> dict[str, Any]:
        return {**self.form.cleaned_data["state"], **self._row_values}


def ask(page: Page, flow: Flow) -> Asked:
    """Return the forms of the page, bound where something is to be done with what was sent."""
    published, present = flows.published_version(flow), flows.present_version(flow)
    draft = present if present and not present.published_at else None
    document = readable_document(published or draft) or Document()
    label = document.object or ""
    model = find_model(label)
    sent = None if page.data is None else page.data
    is_checked = sent is not None and not _is_only_shown(page)
    data = sent if is_checked else None
    initial = {name: (sent or {}).get(name, "") for name in ("state", "at", "reason")}
    form = StartForm(data, initial)
    if model is not None:
        _add_object(form, page, flow, model)
    versions = [version for version in (draft, published) if version]
    return Asked(
        form=form,
        rows=state_rows(_rows_of(sent), is_checked=is_checked),
        show=DryRunForm(data, versions, _waited(versions)),
        published=published,
        draft=draft,
        model=model,
        label=label,
    )


def _is_only_shown(page: Page) -> bool:
    """Return whether what was sent is only to be shown again: after a login, or with more rows."""
    return page.is_again or MORE in page.request.POST


def _rows_of(sent: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return sent if sent is not None and has_rows(sent) else None


def _add_object(form: StartForm, page: Page, flow: Flow, model: type[Model]) -> None:
    request, rights = page.request, page.objects
    posted = request.POST.get(f"object{TYPED}") or request.POST.get("object", "")
    key = posted or request.GET.get("object", "")
    searched = url("flow_start_objects", flow.pk) if rights.searchable(model) else ""
    form.initial["object"] = key
    form.fields["object"] = ObjectField(model, rights, address=searched, present=key)
    form.order_fields(form.field_order)


def _waited(versions: list[FlowVersion]) -> list[str]:
    """Return the keys of the triggers that the steps of these versions wait for."""
    documents = [found for version in versions if (found := readable_document(version))]
    return sorted(
        {key for document in documents for key in inspect_document(document)[1].waits_for}
    )


def start(page: Page, flow: Flow) -> HttpResponse:
    """Start a run, or show why it was refused."""
    asked = ask(page, flow)
    if page.is_post and not _is_only_shown(page) and asked.is_valid():
        try:
            run = _start(flow, asked, page.user)
        except FlowcontrolError as error:
            asked.form.add_error(None, str(error))
        else:
            page.log(flow, gettext("Started run %(run)s.") % {"run": run.pk})
            page.notify(_result(run))
            return page.redirect("flowrun_change", run.pk)
    return show(page, flow, asked)


def show(page: Page, flow: Flow, asked: Asked, **context: Any) -> HttpResponse:
    """Return the page with the forms, and what else it shows."""
    page.name = "flow_start"
    model = asked.model
    return page.render(
        "start.html",
        **{
            "title": gettext("Start “%(flow)s”") % {"flow": flow.name},
            "crumb": gettext("Start a run"),
            "asked": asked,
            "form": asked.form,
            "rows": asked.rows,
            "media": asked.form.media,
            "more": MORE,
            "gone": "" if asked.is_possible else asked.label,
            "lookup": page.link_to(model, "changelist") if model else "",
            **context,
        },
    )


def find_objects(page: Page, flow: Flow) -> HttpResponse:
    """Answer the search for the object of a run."""
    version = flows.published_version(flow) or flows.present_version(flow)
    return search_objects(page, find_model((readable_document(version) or Document()).object or ""))


def _start(flow: Flow, asked: Asked, user: Any) -> FlowRun:
    cleaned = asked.form.cleaned_data
    obj, at, reason = cleaned.get("object"), cleaned["at"], cleaned["reason"]
    if at is None:
        return start_flowrun(flow, obj, asked.state, by=user, reason=reason)
    return create_flowrun(flow, obj, asked.state, at=at, by=user, reason=reason)


def _result(run: FlowRun) -> str:
    if run.status == Status.PENDING:
        return gettext("The run was created; a worker will start it when it is due.")
    status = run.get_outcome_display() or run.get_status_display()
    return gettext("The run was started; its status is: %(status)s.") % {"status": status}
