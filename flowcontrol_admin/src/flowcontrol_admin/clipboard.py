"""Steps as text: a page to copy one from, and one to paste into; and a flow copied as a whole."""

from __future__ import annotations

from django import forms
from django.http import Http404, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.errors import DocumentError
from flowcontrol.flows import bounds
from flowcontrol.models import Flow
from flowcontrol_admin import seen
from flowcontrol_admin.fields import add_problems, focus_first
from flowcontrol_admin.pages import Page, plugin_code
from flowcontrol_admin.steps import legal_place
from flowcontrol_admin.tree import place_value


class PasteForm(forms.Form):
    """The text of copied steps."""

    text = forms.CharField(
        label=_("Copied step"),
        max_length=bounds.FILE_BYTES,
        widget=forms.Textarea(attrs={"rows": 12, "cols": 60, "spellcheck": "false"}),
        help_text=_("The text that “Copy” of a step shows, of this flow or another one."),
    )


def copy(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Show a step, with everything inside it, as the text that can be pasted."""
    document = flows.present_document(flow)
    step = document.find(step_id)
    if step is None:
        raise Http404(gettext("The flow has no such step."))
    with plugin_code(step.action):
        text = flows.copy_step(document, step_id)
    return page.render(
        "copy.html",
        title=gettext("Copy “%(step)s”") % {"step": flows.step_label(step)},
        crumb=gettext("Copy"),
        text=text,
        back=page.home(step_id=step_id),
    )


def paste(page: Page, flow: Flow) -> HttpResponse:
    """Ask for the text of copied steps, and put them at a place."""
    version = flows.present_version(flow)
    document, revision = flows.get_document(version), version.revision if version else 1
    sent = page.request.POST if page.is_post else page.request.GET
    place = legal_place(document, sent.get("place", ""))
    found = seen.of_list(document, place)
    if page.is_post and page.is_late(revision, found):
        raise flows.stale_revision(flow)
    form = PasteForm(page.data)
    if page.is_post and form.is_valid():
        text = form.cleaned_data["text"]
        try:
            edit = flows.paste_step(flow, text, place, revision=revision, author=page.user)
        except DocumentError as error:
            add_problems(form, error.problems)
        else:
            page.notify(edit.message)
            return page.redirect("flow_editor", flow.pk, anchor=f"step-{edit.step}")
    focus_first(form)
    return page.render(
        "paste.html",
        title=gettext("Paste a step"),
        crumb=gettext("Paste"),
        submit=gettext("Paste"),
        form=form,
        place=place_value(place),
        where=flows.Describer(document).place(place),
        revision=revision,
        seen=found,
    )


def duplicate(page: Page, flow: Flow) -> HttpResponse:
    """Copy a flow as a whole, and continue in the editor of the copy."""
    copied = flows.duplicate_flow(flow, author=page.user)
    page.admin.log_addition(page.request, copied, gettext("Copied."))
    page.notify(gettext("This is the copy. It is inactive; check its name, key and triggers."))
    return page.redirect("flow_editor", copied.pk)
