"""“Starts when …”: the triggers of a flow."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from django import forms
from django.http import Http404, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol_admin.fields import choice_field
from flowcontrol_admin.flow_forms import add_problems
from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.step_forms import guarded
from flowcontrol_core.actions.registry import TriggerEntry, registry
from flowcontrol_core.conf import get_settings
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, Problem
from flowcontrol_core.flows.descriptions import Describer
from flowcontrol_core.models import Flow, FlowTrigger, Mode

SHOWN_FIRINGS = 20


class Offer(NamedTuple):
    """A trigger as templates may see it: they would call, and so fire, the trigger itself."""

    key: str
    label: str
    description: str
    model: str
    payload: tuple[tuple[str, str], ...]


class AssociationForm(forms.Form):
    """What a trigger does to the flow, and when."""

    mode = forms.ChoiceField(label=_("What it does"), choices=Mode.choices)
    condition = forms.CharField(
        label=_("Only if"),
        max_length=flows.bounds.EXPRESSION_CHARACTERS,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"}),
        help_text=_("Sees object and payload, such as: object.total > 100. Empty: always."),
    )
    step = forms.ChoiceField(
        label=_("Step"),
        required=False,
        help_text=_("Where runs are sent back to; only for that mode."),
    )
    active = forms.BooleanField(label=_("Switched on"), required=False, initial=True)

    def __init__(self, *args: Any, document: Document, present: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        words = Describer(document)
        known = document.step_ids()
        gone = [(present, present)] if present and present not in known else []
        steps = [(one, words.step(one)) for one in known]
        choice_field(self, "step").choices = [("", "---------"), *gone, *steps]


def pick(page: Page, flow: Flow) -> HttpResponse:
    """Choose one of the registered triggers."""
    query = page.request.GET.get("q", "").strip()[:100]
    groups: dict[str, list[Offer]] = defaultdict(list)
    document = flows.present_document(flow)
    for entry in registry.triggers.values():
        if _fits(entry, document) and query.lower() in f"{entry.trigger.label} {entry.key}".lower():
            groups[entry.plugin].append(_offer(entry))
    return page.render(
        "trigger_picker.html",
        title=say("Add a trigger"),
        flow=flow,
        query=query,
        groups=sorted(groups.items()),
        crumbs=[(say("Add a trigger"), "")],
    )


def add(page: Page, flow: Flow, key: str) -> HttpResponse:
    """Associate a trigger with the flow."""
    if key not in registry.triggers:
        raise Http404(say("There is no such trigger."))
    return _edit(page, flow, FlowTrigger(flow=flow, trigger=key), is_new=True)


def change(page: Page, flow: Flow, trigger_id: int) -> HttpResponse:
    """Change a flow trigger; its page says too why it did not start lately."""
    return _edit(page, flow, _own(flow, trigger_id), is_new=False)


def toggle(page: Page, flow: Flow, trigger_id: int) -> HttpResponse:
    """Switch a flow trigger on or off."""
    association = _own(flow, trigger_id)
    flows.change_trigger(association, active=not association.active)
    on, off = say("The trigger is switched on."), say("The trigger is switched off.")
    page.say(on if association.active else off)
    page.log(flow, f"{association.trigger}: {on if association.active else off}")
    return page.redirect("flow_editor", flow.pk, anchor="triggers")


def delete(page: Page, flow: Flow, trigger_id: int) -> HttpResponse:
    """End an association."""
    association = _own(flow, trigger_id)
    if page.is_post:
        flows.remove_trigger(association)
        page.say(say("The trigger was removed; runs that it started go on."))
        page.log(flow, say("Removed the trigger %(key)s.") % {"key": association.trigger})
        return page.redirect("flow_editor", flow.pk, anchor="triggers")
    return page.render(
        "trigger_delete.html",
        title=say("Remove the trigger “%(name)s”?") % {"name": _label(association.trigger)},
        flow=flow,
        association=association,
        crumbs=[(say("Remove a trigger"), "")],
        back=url("flow_editor", flow.pk) + "#triggers",
    )


def _own(flow: Flow, trigger_id: int) -> FlowTrigger:
    association = FlowTrigger.objects.filter(flow=flow, pk=trigger_id).first()
    if association is None:
        raise Http404(say("The flow has no such trigger."))
    association.flow = flow
    return association


def _edit(page: Page, flow: Flow, association: FlowTrigger, *, is_new: bool) -> HttpResponse:
    document = flows.present_document(flow)
    data = page.request.POST if page.is_post else None
    initial = {name: getattr(association, name) for name in ("mode", "condition", "step", "active")}
    form = AssociationForm(data, document=document, present=association.step, initial=initial)
    config = _config_form(association, data, document)
    valid = form.is_valid() if page.is_post else False
    if config is not None and page.is_post:
        valid = guarded(config.is_valid, association.trigger) and valid
    if valid and _save(form, config, association, is_new=is_new):
        saved = say("The trigger was added.") if is_new else say("The trigger was changed.")
        page.log(flow, f"{association.trigger}: {saved}")
        page.say(f"{saved} {_delay()}")
        return page.redirect("flow_editor", flow.pk, anchor="triggers")
    label = _label(association.trigger)
    return page.render(
        "trigger_form.html",
        title=say("Starts when: %(label)s") % {"label": label},
        flow=flow,
        association=association,
        form=form,
        config=guarded(lambda: _as_html(config), association.trigger),
        media=config.media if config else "",
        offer=_offer(entry) if (entry := registry.triggers.get(association.trigger)) else None,
        skipped_firings=[] if is_new else association.skipped_firings.all()[:SHOWN_FIRINGS],
        delay=_delay(),
        crumbs=[(label, "")],
        back=url("flow_editor", flow.pk) + "#triggers",
    )


def _config_form(association: FlowTrigger, data: Any, document: Document) -> forms.BaseForm | None:
    key = association.trigger
    if key not in registry.triggers or not registry.get_trigger(key).Config.base_fields:
        return None
    stored = association.config
    return guarded(lambda: flows.trigger_form(key, stored, data, document=document), key)


def _save(
    form: AssociationForm, config: forms.BaseForm | None, association: FlowTrigger, *, is_new: bool
) -> bool:
    values = dict(form.cleaned_data)
    if config is not None:
        values["config"] = flows.stored_config(config)
    try:
        if is_new:
            flows.associate_trigger(association.flow, association.trigger, **values)
        else:
            flows.change_trigger(association, **values)
    except DocumentError as error:
        problems = list(error.problems)
        add_problems(form, [Problem(one.path, one.message, field=one.field) for one in problems])
        return False
    return True


def _offer(entry: TriggerEntry) -> Offer:
    trigger = entry.trigger
    described = tuple((name, str(text)) for name, text in trigger.payload.items())
    return Offer(entry.key, str(trigger.label), str(trigger.description), trigger.model, described)


def _fits(entry: TriggerEntry, document: Document) -> bool:
    model = entry.trigger.model.lower()
    return not model or not document.object or model == document.object


def _label(key: str) -> str:
    entry = registry.triggers.get(key)
    return str(entry.trigger.label) if entry else key


def _delay() -> str:
    seconds = get_settings().TRIGGER_CACHE_SECONDS
    text = say("Other processes of the site see changes within %(seconds)g seconds.")
    return text % {"seconds": seconds}


def _as_html(form: forms.BaseForm | None) -> SafeString:
    return form.render("flowcontrol_admin/fields.html") if form else SafeString("")
