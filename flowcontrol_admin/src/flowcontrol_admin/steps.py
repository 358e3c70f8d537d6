"""The edits of a step: each is a form in, one function of ``flowcontrol.flows`` out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.errors import EditError, NotPermittedError
from flowcontrol.flows import Edit
from flowcontrol.models import Flow
from flowcontrol.registry import registry
from flowcontrol_admin.pages import Page, Text, plugin_code, url
from flowcontrol_admin.pickers import Offer, grouped, search_query
from flowcontrol_admin.step_forms import (
    AddForm,
    DisableForm,
    EditForm,
    MoveForm,
    NoteForm,
    PolicyForm,
    ShiftForm,
    read_place,
)
from flowcontrol_admin.tree import place_value
from flowcontrol_core.document.tree import Document, Place, Step, count_steps


class Target(NamedTuple):
    """The step that a request is about, and the revision to be named in its edit."""

    flow: Flow
    document: Document
    step: Step
    revision: int

    @property
    def where(self) -> str:
        return flows.Describer(self.document).step(self.step.id)

    @property
    def inside(self) -> Document:
        """Return a document of the step and those inside it."""
        return Document(steps=(self.step,))


def configure(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Show and save the form of a step's action; it is bound once."""
    target = _target(page, flow, step_id)
    step = target.step
    if not flows.may_place(step.action, page.user):
        raise PermissionDenied
    label = flows.step_label(step)
    with plugin_code(label):
        may_use_secrets = flows.may_use_secrets(page.user)
        bound = flows.step_form(
            step, page.data, document=target.document, with_secrets=may_use_secrets
        )
        form = bound.form
        is_valid = form is not None and form.is_bound and form.is_valid()
        body = "" if form is None or is_valid else form.render("flowcontrol_admin/fields.html")
    if form is not None and is_valid:
        changes: dict[str, Any] = {"revision": target.revision, "author": page.user}
        return _done(page, flows.configure_step(flow, step_id, form, **changes))
    return page.render(
        "step_form.html",
        title=label,
        step=step,
        form=form,
        body=body,
        submit=gettext("Save") if form and form.fields else "",
        media=form.media if form else "",
        reason=bound.reason,
        revision=target.revision,
        entry=registry.get_action(step.action) if registry.knows_action(step.action) else None,
        where=target.where,
        back=url("flow_editor", flow.pk, anchor=f"step-{step_id}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEdit:
    """One edit of a step: what it asks for, the function that makes it, and its page.

    Without a title it has no page: a button of the editor posts it.
    """

    name: str
    make: Callable[..., Edit]
    form: type[EditForm] = EditForm
    title: Text = ""
    submit: Text = ""
    template: str = "form.html"
    details: Callable[[Target], dict[str, Any]] = lambda target: {}

    def __call__(self, page: Page, flow: Flow, step_id: str) -> HttpResponse:
        """Make the edit, or ask for what it needs."""
        target = _target(page, flow, step_id)
        form = self.form(page.data, target.document, target.step, target.revision)
        if not self.title:
            page.cleaned(form)
            return self._make(page, target, form)
        if page.is_post and form.is_valid():
            try:
                return self._make(page, target, form)
            except NotPermittedError:
                raise
            except EditError as error:
                form.add_error(None, str(error))
        return self._ask(page, target, form)

    def _make(self, page: Page, target: Target, form: EditForm) -> HttpResponse:
        arguments = form.arguments() | {"revision": target.revision, "author": page.user}
        return _done(page, self.make(target.flow, target.step.id, **arguments))

    def _ask(self, page: Page, target: Target, form: EditForm) -> HttpResponse:
        return page.render(
            self.template,
            title=str(self.title) % {"step": flows.step_label(target.step)},
            form=form,
            submit=self.submit or gettext("Save"),
            revision=target.revision,
            back=url("flow_editor", target.flow.pk, anchor=f"step-{target.step.id}"),
            **self.details(target),
        )


def _losses(target: Target) -> dict[str, Any]:
    """Return what a deletion removes, and how many runs are there."""
    count, waiting = count_steps(target.step), flows.counts_by_step(target.flow)
    return {
        "where": target.where,
        "size": ngettext("%(count)d step", "%(count)d steps", count) % {"count": count},
        "waiting": sum(waiting.get(step_id, 0) for step_id in target.inside.step_ids()),
    }


STEP_EDITS = (
    StepEdit(
        name="move",
        make=flows.move_step,
        form=MoveForm,
        title=_("Move “%(step)s”"),
        submit=_("Move"),
    ),
    StepEdit(name="note", make=flows.annotate_step, form=NoteForm, title=_("Note on “%(step)s”")),
    StepEdit(
        name="policy", make=flows.set_policy, form=PolicyForm, title=_("When “%(step)s” fails")
    ),
    StepEdit(
        name="delete",
        make=flows.delete_step,
        title=_("Delete “%(step)s”?"),
        submit=_("Delete"),
        template="step_delete.html",
        details=_losses,
    ),
    StepEdit(name="duplicate", make=flows.duplicate_step),
    StepEdit(name="shift", make=flows.shift_step, form=ShiftForm),
    StepEdit(name="disable", make=flows.set_disabled, form=DisableForm),
)


def pick(page: Page, flow: Flow) -> HttpResponse:
    """Show the actions for a place, and add the chosen one there."""
    if page.is_post:
        return _add(page, flow)
    document = flows.present_document(flow)
    place = _legal_place(document, page.request.GET.get("place", ""))
    query = search_query(page)
    return page.render(
        "picker.html",
        title=gettext("Add a step"),
        place=place_value(place),
        where=flows.Describer(document).place(place),
        query=query,
        groups=grouped(_offers(page, document), query),
        revision=flows.present_revision(flow),
    )


def _offers(page: Page, document: Document) -> Iterator[Offer]:
    """Yield the actions that the user may place in a flow about such objects."""
    for entry in registry.actions.values():
        fits = entry.action.object_type.lower() in ("", document.object)
        if fits and flows.may_place(entry.key, page.user):
            yield Offer(entry.group, entry.key, entry.label, entry.description)


def _add(page: Page, flow: Flow) -> HttpResponse:
    cleaned = page.cleaned(AddForm(page.request.POST))
    key, revision = cleaned["action"], cleaned["revision"]
    if revision != flows.present_revision(flow):
        raise flows.stale_revision(flow)
    place = _legal_place(flows.present_document(flow), cleaned["place"])
    if not flows.may_place(key, page.user):
        raise PermissionDenied
    entry = registry.get_action(key)
    with plugin_code(key):
        edit = flows.add_step(flow, key, place, revision=revision, author=page.user)
    if entry.action.Config.base_fields:
        page.notify(edit.message)
        return page.redirect("flow_step_configure", flow.pk, edit.step)
    return _done(page, edit)


def _legal_place(document: Document, text: str) -> Place:
    """Read a place; raises Http404 for one in a step, or at an index, that does not exist."""
    place, legal = read_place(text), flows.places(document)
    if place is None:
        raise EditError(gettext("The place is missing. Go back and choose “Add step” at a place."))
    if not legal:
        raise EditError(gettext("The flow has reached the maximum number of steps; split it."))
    if place not in legal:
        raise Http404(gettext("The flow has no such place."))
    return place


def _target(page: Page, flow: Flow, step_id: str) -> Target:
    """Return what a request is about; refuse a late one before anything else is read.

    Raises Http404 for a step that the flow does not have.
    """
    version = flows.present_version(flow)
    present = version.revision if version else 1
    if page.is_post and page.revision != present:
        raise flows.stale_revision(flow)
    document = flows.get_document(version)
    step = document.find(step_id)
    if step is None:
        raise Http404(gettext("The flow has no such step."))
    return Target(flow, document, step, present)


def _done(page: Page, edit: Edit) -> HttpResponse:
    """Show what was done, also where nothing was, and the step in the editor."""
    page.notify(edit.message, messages.SUCCESS if edit.changed else messages.INFO)
    return page.redirect("flow_editor", edit.version.flow_id, anchor=f"step-{edit.step}")
