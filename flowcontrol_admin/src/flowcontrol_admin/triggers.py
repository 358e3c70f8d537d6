"""“Starts when …”: the triggers of a flow."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import Http404, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.conf import get_settings
from flowcontrol.errors import DocumentError
from flowcontrol.models import Flow, FlowTrigger, Mode
from flowcontrol.registry import TriggerEntry, registry
from flowcontrol_admin.fields import add_problems, choice_field, code_input
from flowcontrol_admin.pages import CHANGE_FLOW, Page, plugin_code, url
from flowcontrol_admin.pickers import Offer, grouped, search_query
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.config_forms import offer_unknown
from flowcontrol_core.flows.document_checks import find_model

SHOWN_FIRINGS = 20


class FlowTriggerForm(forms.Form):
    """What a trigger does to the flow, and when."""

    mode = forms.ChoiceField(label=_("What it does"), choices=Mode.choices)
    condition = forms.CharField(
        label=_("Only if"),
        max_length=flows.bounds.EXPRESSION_CHARACTERS,
        required=False,
        widget=code_input(),
        help_text=_(
            "An expression over object and payload, such as: object.total > 100. Leave empty for "
            "always."
        ),
    )
    step = forms.ChoiceField(
        label=_("Step"),
        required=False,
        help_text=_("Only for the mode that sends runs to a step."),
    )
    active = forms.BooleanField(label=_("Switched on"), required=False, initial=True)

    def __init__(self, data: Any, flow_trigger: FlowTrigger, document: Document) -> None:
        names = ("mode", "condition", "step", "active")
        super().__init__(data, initial={name: getattr(flow_trigger, name) for name in names})
        words = flows.Describer(document)
        steps = [(one, words.step(one)) for one in document.index]
        choice_field(self, "step").choices = [("", "---------"), *steps]
        offer_unknown(self)


def pick(page: Page, flow: Flow) -> HttpResponse:
    """Choose one of the registered triggers."""
    query, model = search_query(page), flows.present_document(flow).object
    offers = [
        _offer(entry)
        for entry in registry.triggers.values()
        if not model or entry.trigger.model.lower() in ("", model)
    ]
    return page.render(
        "trigger_picker.html",
        title=gettext("Add a trigger"),
        query=query,
        groups=grouped(offers, query),
    )


def add(page: Page, flow: Flow, key: str) -> HttpResponse:
    """Add a trigger to the flow."""
    if key not in registry.triggers:
        raise Http404(gettext("This trigger is not registered."))
    return _edit(page, FlowTrigger(flow=flow, trigger=key))


def change(page: Page, flow: Flow, trigger_id: int) -> HttpResponse:
    """Change a flow trigger; its page also shows why it did not start runs recently."""
    return _edit(page, _own(flow, trigger_id))


def toggle(page: Page, flow: Flow, trigger_id: int) -> HttpResponse:
    """Switch a flow trigger on or off."""
    found = _own(flow, trigger_id)
    flows.change_trigger(found, active=not found.active, author=page.user)
    on, off = gettext("The trigger is switched on."), gettext("The trigger is switched off.")
    return _done(page, found, on if found.active else off)


def delete(page: Page, flow: Flow, trigger_id: int) -> HttpResponse:
    """Remove a trigger from the flow."""
    found = _own(flow, trigger_id)
    if page.is_post:
        flows.remove_trigger(found, author=page.user)
        text = gettext("The trigger was removed; the runs it started continue.")
        return _done(page, found, text)
    name = registry.trigger_label(found.trigger)
    return page.render(
        "trigger_delete.html",
        title=gettext("Remove the trigger “%(name)s”?") % {"name": name},
        crumb=gettext("Remove a trigger"),
        submit=gettext("Remove"),
        back=url("flow_editor", flow.pk, anchor="triggers"),
    )


def _own(flow: Flow, trigger_id: int) -> FlowTrigger:
    found = FlowTrigger.objects.filter(flow=flow, pk=trigger_id).first()
    if found is None:
        raise Http404(gettext("The flow has no such trigger."))
    found.flow = flow
    return found


def _edit(page: Page, flow_trigger: FlowTrigger) -> HttpResponse:
    """Show and save both forms: that of the flow trigger, and that of the trigger itself."""
    document, key = flows.present_document(flow_trigger.flow), flow_trigger.trigger
    entry = registry.triggers.get(key)
    form = FlowTriggerForm(page.data, flow_trigger, document)
    with plugin_code(key):
        config = _config_form(flow_trigger, page.data, document)
        is_valid = form.is_valid() and (config is None or config.is_valid())
        shown = config.render("flowcontrol_admin/fields.html") if config else ""
    if page.is_to_write and is_valid and (saved := _save(page, form, config, flow_trigger)):
        for warning in flows.association_warnings(saved, document):
            page.notify(warning, messages.WARNING)
        return _done(page, flow_trigger, gettext("The trigger was saved."), _delay())
    label = registry.trigger_label(key)
    skipped_firings = flow_trigger.skipped_firings.all()[:SHOWN_FIRINGS] if flow_trigger.pk else []
    return page.render(
        "trigger_form.html",
        title=gettext("Starts when: %(label)s") % {"label": label},
        crumb=label,
        flow_trigger=flow_trigger,
        form=form,
        config=shown,
        media=config.media if config else "",
        offer=_offer(entry) if entry else None,
        skipped_firings=skipped_firings,
        warnings=[] if page.is_post else flows.association_warnings(flow_trigger, document),
        shows_objects=page.objects.may_view_every(_model(entry, document)),
        delay=_delay(),
        submit=gettext("Save") if may_change(page, flow_trigger.flow) else "",
        back=url("flow_editor", flow_trigger.flow_id, anchor="triggers"),
    )


def _model(entry: TriggerEntry | None, document: Document) -> type[Model] | None:
    """Return the model of the objects that a trigger comes with."""
    return find_model((entry.trigger.model if entry else "") or document.object or "")


def _config_form(flow_trigger: FlowTrigger, data: Any, document: Document) -> forms.BaseForm | None:
    """Return the form of the trigger itself; ``None`` where it asks for nothing."""
    key = flow_trigger.trigger
    if key not in registry.triggers or not registry.get_trigger(key).Config.base_fields:
        return None
    return flows.trigger_form(key, flow_trigger.config, data, document=document)


def may_change(page: Page, flow: Flow) -> bool:
    """Return whether the user may change the triggers of a flow; they are in force at once."""
    return page.may(CHANGE_FLOW) and flows.may_change_live(flow, page.user)


def _save(
    page: Page, form: FlowTriggerForm, config: forms.BaseForm | None, flow_trigger: FlowTrigger
) -> FlowTrigger | None:
    """Save what was entered; show what is wrong with it at the fields, and return None."""
    values = {**form.cleaned_data, "author": page.user}
    if config is not None:
        values["config"] = flows.stored_config(config)
    try:
        if flow_trigger.pk:
            return flows.change_trigger(flow_trigger, **values)
        return flows.associate_trigger(flow_trigger.flow, flow_trigger.trigger, **values)
    except DocumentError as error:
        add_problems(form, error.problems)
        return None


def _done(page: Page, flow_trigger: FlowTrigger, text: str, more: str = "") -> HttpResponse:
    page.log(flow_trigger.flow, f"{flow_trigger.trigger}: {text}")
    page.notify(f"{text} {more}".strip())
    return page.redirect("flow_editor", flow_trigger.flow_id, anchor="triggers")


def _offer(entry: TriggerEntry) -> Offer:
    texts = (entry.label, entry.description, entry.trigger.model)
    return Offer(entry.plugin, entry.key, *texts, tuple(entry.payload.items()))


def _delay() -> str:
    text = gettext("Other processes of the site see changes within %(seconds)g seconds.")
    return text % {"seconds": get_settings().TRIGGER_CACHE_SECONDS}
