"""The operations on steps: each is a form in, one function of the authoring layer out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as say

from flowcontrol import flows
from flowcontrol_admin.fields import place_value, read_place
from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.step_forms import (
    AddForm,
    DisableForm,
    MoveForm,
    NoteForm,
    OperationForm,
    PolicyForm,
    ShiftForm,
    guarded,
    policy_values,
)
from flowcontrol_admin.tree import describe_size, waiting_inside
from flowcontrol_core.actions.registry import ActionEntry, registry
from flowcontrol_core.document.tree import Document, Place, Step
from flowcontrol_core.errors import EditError
from flowcontrol_core.flows.descriptions import Describer
from flowcontrol_core.flows.drafts import stale_revision
from flowcontrol_core.flows.edits import Edit
from flowcontrol_core.flows.overview import counts_by_step
from flowcontrol_core.models import Flow


def pick(page: Page, flow: Flow) -> HttpResponse:
    """Choose an action for a place, and add it there."""
    if page.is_post:
        return _add(page, flow)
    document = flows.present_document(flow)
    place = _legal_place(document, page.request.GET.get("place", ""))
    query = page.request.GET.get("q", "").strip()[:100]
    return page.render(
        "picker.html",
        title=say("Add a step"),
        flow=flow,
        place=place_value(place),
        where=Describer(document).place(place),
        query=query,
        groups=_groups(page, document, query),
        revision=flows.present_revision(flow),
        crumbs=[(say("Add a step"), "")],
    )


def configure(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """The form of a step's action."""
    document, step, revision = _seen(page, flow, step_id)
    if not flows.may_place(step.action, page.user):
        raise PermissionDenied
    label = flows.step_label(step)
    data = page.request.POST if page.is_post else None
    why = flows.why_no_form(step)
    form = guarded(lambda: flows.step_form(step, data, document=document), label)
    if page.is_post and form is not None and guarded(form.is_valid, label):
        return _configured(page, flow, step, form, revision)
    return page.render(
        "step_form.html",
        title=label,
        flow=flow,
        step=step,
        form=form,
        body=guarded(lambda: _as_html(form), label),
        media=form.media if form else "",
        why=why,
        revision=revision,
        entry=registry.get_action(step.action) if registry.knows_action(step.action) else None,
        where=Describer(document).step(step_id),
        crumbs=[(label, "")],
        back=_at(flow, step_id),
    )


def move(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Choose a place out of all legal ones."""
    document, step, revision = _seen(page, flow, step_id)
    form = MoveForm(
        page.request.POST or None, document=document, step=step, initial={"revision": revision}
    )
    if page.is_post and form.is_valid():
        place = _read_place(form.cleaned_data["place"])
        edit = flows.move_step(flow, step_id, place, revision=revision, author=page.user)
        return _done(page, flow, edit)
    return _form_page(page, flow, step, form, say("Move “%(step)s”"), say("Move"))


def note(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Write a note at a step."""
    _document, step, revision = _seen(page, flow, step_id)
    initial = {"revision": revision, "note": step.note}
    form = NoteForm(page.request.POST or None, initial=initial)
    if page.is_post and form.is_valid():
        text = form.cleaned_data["note"]
        edit = flows.annotate_step(flow, step_id, text, revision=revision, author=page.user)
        return _done(page, flow, edit)
    return _form_page(page, flow, step, form, say("Note at “%(step)s”"), say("Save"))


def policy(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Say what happens when a step fails or takes too long."""
    _document, step, revision = _seen(page, flow, step_id)
    form = PolicyForm(
        page.request.POST or None, initial={"revision": revision, **policy_values(step)}
    )
    if page.is_post and form.is_valid():
        try:
            edit = flows.set_policy(
                flow,
                step_id,
                retry=form.retry(),
                timeout=form.cleaned_data["timeout"],
                if_unknown=form.cleaned_data["if_unknown"],
                revision=revision,
                author=page.user,
            )
        except EditError as error:
            form.add_error(None, str(error))
        else:
            return _done(page, flow, edit)
    return _form_page(page, flow, step, form, say("When “%(step)s” fails"), say("Save"))


def delete(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Delete a step, after saying what goes with it and who waits there."""
    document, step, revision = _seen(page, flow, step_id)
    if page.is_post:
        edit = flows.delete_step(flow, step_id, revision=revision, author=page.user)
        return _done(page, flow, edit)
    return page.render(
        "step_delete.html",
        title=say("Delete “%(step)s”?") % {"step": flows.step_label(step)},
        flow=flow,
        step=step,
        size=describe_size(step),
        waiting=waiting_inside(step, counts_by_step(flow)),
        revision=revision,
        where=Describer(document).step(step_id),
        crumbs=[(say("Delete a step"), "")],
        back=_at(flow, step_id),
    )


def duplicate(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Copy a step with everything inside it."""
    _document, step, revision = _seen(page, flow, step_id)
    inside = {visit.step.action for visit in Document(steps=(step,)).walk()}
    if not all(flows.may_place(action, page.user) for action in inside):
        raise PermissionDenied
    edit = flows.duplicate_step(flow, step_id, revision=revision, author=page.user)
    return _done(page, flow, edit)


def shift(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Move a step up or down by one."""
    _document, _step, revision = _seen(page, flow, step_id)
    by = _cleaned(ShiftForm(page.request.POST))["by"]
    edit = flows.shift_step(flow, step_id, by, revision=revision, author=page.user)
    return _done(page, flow, edit)


def disable(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Disable a step, or enable it."""
    _document, _step, revision = _seen(page, flow, step_id)
    off = _cleaned(DisableForm(page.request.POST))["disabled"]
    edit = flows.set_disabled(flow, step_id, off, revision=revision, author=page.user)
    return _done(page, flow, edit)


def read_revision(page: Page) -> int:
    """Give the revision that a request carries; raises EditError where it has none."""
    revision: int = _cleaned(OperationForm(page.request.POST))["revision"]
    return revision


def _seen(page: Page, flow: Flow, step_id: str) -> tuple[Document, Step, int]:
    """Give the document, the step, and the revision to be named in the edit.

    A stale request is refused before anything else is looked at. Raises Http404 for a step that
    the flow does not have.
    """
    version = flows.present_version(flow)
    document = flows.get_document(version) if version else Document()
    present = version.revision if version else 1
    revision = read_revision(page) if page.is_post else present
    if revision != present:
        raise stale_revision(flow)
    step = document.find(step_id)
    if step is None:
        raise Http404(say("The flow has no such step."))
    return document, step, revision


def _cleaned(form: forms.Form) -> dict[str, Any]:
    if form.is_valid():
        return form.cleaned_data
    listed = "; ".join(
        f"{name}: {' '.join(map(str, found))}" for name, found in form.errors.items()
    )
    raise EditError(
        say("The request is not complete (%(problems)s). Go back and reload the page.")
        % {"problems": listed}
    )


def _add(page: Page, flow: Flow) -> HttpResponse:
    cleaned = _cleaned(AddForm(page.request.POST))
    if cleaned["revision"] != flows.present_revision(flow):
        raise stale_revision(flow)
    place = _legal_place(flows.present_document(flow), cleaned["place"])
    key = cleaned["action"]
    if not flows.may_place(key, page.user):
        raise PermissionDenied
    entry = registry.get_action(key)
    edit = guarded(
        lambda: flows.add_step(flow, key, place, revision=cleaned["revision"], author=page.user),
        key,
    )
    page.say(edit.message)
    if entry.action.Config.base_fields:
        return page.redirect("flow_step_configure", flow.pk, edit.step)
    return page.redirect("flow_editor", flow.pk, anchor=f"step-{edit.step}")


def _read_place(text: str) -> Place:
    place = read_place(text)
    if place is None:
        raise EditError(say("The place is missing. Go back, and choose “Add step” at a place."))
    return place


def _legal_place(document: Document, text: str) -> Place:
    """Read a place; raises Http404 for one in a step, or at an index, that is not there."""
    place = _read_place(text)
    legal = flows.places(document)
    if not legal:
        raise EditError(say("The flow has as many steps as it can have; split it."))
    if place not in legal:
        raise Http404(say("The flow has no such place."))
    return place


def _groups(page: Page, document: Document, query: str) -> list[tuple[str, list[ActionEntry]]]:
    """Give the actions that may be placed, by group, those that fit the search only."""
    groups: dict[str, list[ActionEntry]] = defaultdict(list)
    for entry in registry.actions.values():
        wanted = entry.action.object_type.lower()
        if wanted and wanted != document.object:
            continue
        if flows.may_place(entry.key, page.user) and _matches(entry, query):
            groups[str(entry.action.group or entry.plugin)].append(entry)
    return [
        (name, sorted(found, key=lambda entry: str(entry.action.verbose_name)))
        for name, found in sorted(groups.items())
    ]


def _matches(entry: ActionEntry, query: str) -> bool:
    action = entry.action
    text = f"{action.verbose_name} {action.description} {entry.key} {action.group}".lower()
    return all(word in text for word in query.lower().split())


def _configured(
    page: Page, flow: Flow, step: Step, form: forms.BaseForm, revision: int
) -> HttpResponse:
    edit = flows.configure_step(flow, step.id, form, revision=revision, author=page.user)
    return _done(page, flow, edit)


def _as_html(form: forms.BaseForm | None) -> SafeString:
    return form.render("flowcontrol_admin/fields.html") if form else SafeString("")


def _form_page(
    page: Page, flow: Flow, step: Step, form: forms.Form, title: str, submit: str
) -> HttpResponse:
    words: Mapping[str, str] = {"step": flows.step_label(step)}
    return page.render(
        "form.html",
        title=title % words,
        flow=flow,
        form=form,
        submit=submit,
        crumbs=[(title % words, "")],
        back=_at(flow, step.id),
    )


def _done(page: Page, flow: Flow, edit: Edit) -> HttpResponse:
    """Say what has happened, and show the step it was about; a no-op is said to be one."""
    page.say(edit.message, messages.SUCCESS if edit.changed else messages.INFO)
    return page.redirect("flow_editor", flow.pk, anchor=f"step-{edit.step}")


def _at(flow: Flow, step_id: str) -> str:
    return f"{url('flow_editor', flow.pk)}#step-{step_id}"
