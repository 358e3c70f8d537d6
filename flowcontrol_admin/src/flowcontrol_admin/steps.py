"""The edits of a step: each is a form in, one function of ``flowcontrol.flows`` out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.errors import DocumentError, EditError, NotPermittedError, Problem
from flowcontrol.flows import Edit, JournalEntry
from flowcontrol.models import Flow, FlowVersion
from flowcontrol.registry import registry
from flowcontrol_admin import seen
from flowcontrol_admin.conflicts import ComparedForm
from flowcontrol_admin.fields import focus_first
from flowcontrol_admin.pages import Page, Text, plugin_code, url
from flowcontrol_admin.pickers import Offer, grouped, search_query
from flowcontrol_admin.pictures import picture_of_action
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
from flowcontrol_core.flows.config_forms import initial_config

#: At most this many changes by others are named above a form.
MOST_REFUSALS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a document that an edit is about.

    ``fingerprint`` changes whenever the part does, and ``steps`` are the ids of its steps; with
    ``is_order``, only their order is a part of it.
    """

    fingerprint: Callable[[Document, str], str]
    steps: Callable[[Document, str], Collection[str]]
    is_order: bool = False


STEP = Part(
    fingerprint=lambda document, step_id: seen.of_step(document.visit(step_id).step),
    steps=lambda document, step_id: [step_id],
)
ALL_INSIDE = Part(
    fingerprint=lambda document, step_id: seen.of_all(document.visit(step_id).step),
    steps=lambda document, step_id: _inside(document.visit(step_id).step).step_ids(),
)
LIST = Part(
    fingerprint=lambda document, step_id: seen.of_list(document, document.visit(step_id).place),
    steps=lambda document, step_id: document.siblings(document.visit(step_id)),
    is_order=True,
)
OUTLINE = Part(
    fingerprint=lambda document, step_id: seen.of_outline(document),
    steps=lambda document, step_id: document.step_ids(),
    is_order=True,
)


class Target(NamedTuple):
    """The step that a request is about, and whether it is as the author of the edit has seen it."""

    flow: Flow
    version: FlowVersion | None
    document: Document
    step: Step
    part: Part
    #: The fingerprint of what the edit is about, as it is now.
    seen: str
    is_late: bool
    #: The revision that the author has seen; 0 where nothing was sent.
    since: int

    @property
    def revision(self) -> int:
        """Return the revision to be named in the edit."""
        return self.version.revision if self.version else 1

    @property
    def where(self) -> str:
        return flows.Describer(self.document).step(self.step.id)

    @property
    def asked(self) -> dict[str, Any]:
        """Return what the journal is asked for: who changed this part since it was seen."""
        steps = self.part.steps(self.document, self.step.id)
        return {"steps": steps, "moved": self.part.is_order, "since": self.since}

    @property
    def refusals(self) -> list[str]:
        """Return who changed what, and when, the newest first; empty where the edit is not late."""
        if not self.is_late or self.version is None:
            return []
        if changes := flows.edits(self.flow, **self.asked):
            is_step = not self.part.is_order
            return [flows.describe_edit(each, of_step=is_step) for each in changes[:MOST_REFUSALS]]
        others = flows.edits(self.flow, since=self.since) or [JournalEntry.of_draft(self.version)]
        return [flows.describe_edit(others[0])]


def _inside(step: Step) -> Document:
    """Return a document of a step and those inside it."""
    return Document(steps=(step,))


def configure(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Show and save the form of a step's action."""
    target = _target(page, flow, step_id)
    step, label = target.step, flows.step_label(target.step)
    if not flows.may_place(step.action, page.user):
        raise PermissionDenied
    with_secrets = flows.may_use_secrets(page.user)
    make = partial(flows.step_form, step, document=target.document, with_secrets=with_secrets)
    prefix = flows.form_prefix(step_id)
    shown = f"{prefix}-{target.seen}"
    with plugin_code(label):
        bound = make(_renamed(page, prefix, shown), prefix=shown)
        form, compared, may_save = bound.form, None, False
        if form is not None:
            compared = ComparedForm(
                form=form,
                make=lambda data, prefix: cast("forms.BaseForm", make(data, prefix=prefix).form),
                store=flows.stored_config,
                now=seen.of_values({name: step.config.get(name) for name in form.fields}),
                sent=page.request.POST,
                is_late=target.is_late,
                is_again=page.is_again,
            )
            may_save = compared.may_save()
    problems: Sequence[Problem] = ()
    if form is not None and may_save:
        try:
            edit = flows.configure_step(
                flow,
                step_id,
                form,
                revision=target.revision,
                author=page.user,
                check="anyway" not in page.request.POST,
            )
            return _done(page, target, edit)
        except DocumentError as error:
            problems = error.problems
    with plugin_code(label):
        if form is not None:
            _add_problems(form, problems)
        return _form_page(
            page,
            target,
            "step_form.html",
            compared,
            title=label,
            submit=gettext("Save") if form and form.fields else "",
            can_force=bool(problems),
            media=form.media if form else "",
            step=step,
            reason=bound.reason,
            cancel=_cancel_address(page, target),
            entry=registry.get_action(step.action) if registry.knows_action(step.action) else None,
            **_position(target),
            where=target.where,
            expressions=url("flow_expression", flow.pk, step_id),
        )


def _position(target: Target) -> dict[str, Any]:
    """Return whether a step can be moved up and down, and the fingerprint of its list."""
    visit = target.document.visit(target.step.id)
    ids = target.document.siblings(visit)
    return {
        "is_first": ids[0] == target.step.id,
        "is_last": ids[-1] == target.step.id,
        "order": seen.of_list(target.document, visit.place),
    }


def _add_problems(form: forms.BaseForm, problems: Sequence[Problem]) -> None:
    """Show the problems of the step at the fields of its form, or above them."""
    for problem in problems:
        form.add_error(problem.field if problem.field in form.fields else None, problem.message)


def cancel(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Remove a step that was just added, and never saved; any other stays."""
    target = _target(page, flow, step_id)
    if target.is_late or not _is_new(target):
        page.notify(gettext("The step was saved meanwhile, so it stays."), messages.INFO)
        return page.redirect("flow_editor", flow.pk, anchor=f"step-{step_id}")
    edit = flows.delete_step(flow, step_id, revision=target.revision, author=page.user)
    message = gettext("The new step was removed: its form was not saved.")
    return _done(page, target, replace(edit, message=message))


def _renamed(page: Page, prefix: str, shown: str) -> Mapping[str, Any] | None:
    """Return what was sent, under the names of the form as it is shown now.

    The names contain what was seen: a browser that fills in a form anew, as after Back, never
    puts a text into the form of another revision.
    """
    data = page.data
    if not isinstance(data, MultiValueDict):
        return data
    sent = "-".join(filter(None, (prefix, page.seen)))
    start, copy = f"{sent}-" if sent else "", data.copy()
    for key, values in data.lists():
        if key.startswith(start):
            copy.setlist(f"{shown}-{key.removeprefix(start)}", values)
    return copy


def _form_page(
    page: Page, target: Target, template: str, compared: ComparedForm | None, **context: Any
) -> HttpResponse:
    """Return the page of a form about a step, with what has to be sent with it."""
    form = compared.form if compared else None
    body = ""
    if compared is not None and form is not None:
        focus_first(form)
        body = compared.render()
    return page.render(
        template,
        status=409 if target.is_late else 200,
        form=form,
        body=body,
        refusals=target.refusals,
        is_conflict=bool(compared and compared.choices),
        revision=target.revision,
        seen=target.seen,
        was=seen.write_values(compared.now) if compared else "",
        back=url("flow_editor", target.flow.pk, anchor=f"step-{target.step.id}"),
        **context,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEdit:
    """One edit of a step: what it asks for, the function that makes it, and its page.

    Without a title it has no page: a button of the editor posts it. ``part`` is what the
    edit is about.
    """

    name: str
    make: Callable[..., Edit]
    form: type[EditForm] = EditForm
    part: Part = STEP
    title: Text = ""
    submit: Text = ""
    template: str = "form.html"
    details: Callable[[Target], dict[str, Any]] = lambda target: {}

    def __call__(self, page: Page, flow: Flow, step_id: str) -> HttpResponse:
        """Make the edit, or ask for what it needs."""
        target = _target(page, flow, step_id, self.part)
        if not self.title:
            if target.is_late:
                raise flows.stale_revision(flow, **target.asked)
            form = self._form(target, page.data, None)
            page.cleaned(form)
            return self._make(page, target, form)
        form = self._form(target, _renamed(page, "", target.seen), target.seen)
        compared = ComparedForm(
            form=form,
            make=partial(self._form, target),
            store=lambda form: form.cleaned_data,
            now=seen.of_values({name: form.initial.get(name) for name in form.fields}),
            sent=page.request.POST,
            is_late=target.is_late,
            is_again=page.is_again,
        )
        # Where it stands, and what is inside it, is chosen as a whole.
        is_by_field = self.part is STEP
        if (is_by_field or not target.is_late) and compared.may_save():
            try:
                return self._make(page, target, form)
            except NotPermittedError:
                raise
            except EditError as error:
                form.add_error(None, str(error))
        return _form_page(
            page,
            target,
            self.template,
            compared,
            title=str(self.title) % {"step": flows.step_label(target.step)},
            submit=self.submit or gettext("Save"),
            **self.details(target),
        )

    def _form(self, target: Target, data: Any, prefix: str | None) -> EditForm:
        return self.form(data, target.document, target.step, prefix)

    def _make(self, page: Page, target: Target, form: EditForm) -> HttpResponse:
        arguments = form.arguments() | {"revision": target.revision, "author": page.user}
        return _done(page, target, self.make(target.flow, target.step.id, **arguments))


def _losses(target: Target) -> dict[str, Any]:
    """Return what a deletion removes, and how many runs are there."""
    count, waiting = count_steps(target.step), flows.counts_by_step(target.flow)
    return {
        "where": target.where,
        "size": ngettext("%(count)d step", "%(count)d steps", count) % {"count": count},
        "waiting": sum(waiting.get(each, 0) for each in _inside(target.step).step_ids()),
    }


STEP_EDITS = (
    StepEdit(
        name="move",
        make=flows.move_step,
        form=MoveForm,
        part=OUTLINE,
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
        part=ALL_INSIDE,
        title=_("Delete “%(step)s”?"),
        submit=_("Delete"),
        template="step_delete.html",
        details=_losses,
    ),
    StepEdit(name="duplicate", make=flows.duplicate_step),
    StepEdit(name="shift", make=flows.shift_step, form=ShiftForm, part=LIST),
    StepEdit(name="disable", make=flows.set_disabled, form=DisableForm),
)


def pick(page: Page, flow: Flow) -> HttpResponse:
    """Show the actions for a place, and add the chosen one there."""
    if page.is_post:
        return _add(page, flow)
    document = flows.present_document(flow)
    place = legal_place(document, page.request.GET.get("place", ""))
    query = search_query(page)
    return page.render(
        "picker.html",
        title=gettext("Add a step"),
        place=place_value(place),
        where=flows.Describer(document).place(place),
        query=query,
        groups=grouped(_offers(page, document), query),
        revision=flows.present_revision(flow),
        seen=seen.of_list(document, place),
    )


def _offers(page: Page, document: Document) -> Iterator[Offer]:
    """Yield the actions that the user may place in a flow about such objects."""
    for entry in registry.actions.values():
        fits = entry.action.object_type.lower() in ("", document.object)
        if fits and flows.may_place(entry.key, page.user):
            picture = picture_of_action(entry.key)
            yield Offer(entry.group, entry.key, entry.label, entry.description, picture=picture)


def _add(page: Page, flow: Flow) -> HttpResponse:
    cleaned, version = page.cleaned(AddForm(page.request.POST)), flows.present_version(flow)
    key, revision = cleaned["action"], version.revision if version else 1
    document, place = flows.get_document(version), read_place(cleaned["place"])
    is_known = place is not None and (place.parent is None or place.parent in document.index)
    found = seen.of_list(document, place) if place and is_known else ""
    if page.is_late(revision, found):
        about = _list_or_parent(document, place) if place else {}
        raise flows.stale_revision(flow, since=page.revision, **about)
    place = legal_place(document, cleaned["place"])
    if not flows.may_place(key, page.user):
        raise PermissionDenied
    entry = registry.get_action(key)
    with plugin_code(key):
        edit = flows.add_step(flow, key, place, revision=revision, author=page.user)
    page.notify(edit.message)
    if entry.action.Config.base_fields:
        return HttpResponseRedirect(url("flow_step_configure", flow.pk, edit.step) + "?new")
    return page.redirect("flow_editor", flow.pk, anchor=f"step-{edit.step}")


def _list_or_parent(document: Document, place: Place) -> dict[str, Any]:
    """Return what the journal is asked for about a place: its list, or its step that is gone."""
    if place.parent is None or place.parent in document.index:
        return {"steps": seen.ids_at(document, place), "moved": True}
    return {"steps": [place.parent]}


def _cancel_address(page: Page, target: Target) -> str:
    """Return what removes a step that was just added; empty for any other."""
    is_new = "new" in page.request.GET and _is_new(target)
    return url("flow_step_cancel", target.flow.pk, target.step.id) if is_new else ""


def _is_new(target: Target) -> bool:
    """Return whether the step is as it was added: its form was never saved."""
    step = target.step
    if not registry.knows_action(step.action):
        return False
    action = registry.get_action(step.action).action
    config, version = initial_config(action, target.document), action.config_version
    return step == Step(id=step.id, action=step.action, config=config, config_version=version)


def legal_place(document: Document, text: str) -> Place:
    """Read a place; raises Http404 for one in a step, or at an index, that does not exist."""
    place, legal = read_place(text), flows.places(document)
    if place is None:
        raise EditError(gettext("The place is missing. Go back and choose “Add step” at a place."))
    if not legal:
        raise EditError(gettext("The flow has reached the maximum number of steps; split it."))
    if place not in legal:
        raise Http404(gettext("The flow has no such place."))
    return place


def _target(
    page: Page,
    flow: Flow,
    step_id: str,
    part: Part = STEP,
) -> Target:
    """Return what a request is about, and whether that was changed since it was shown.

    Raises Http404 for a step that the flow does not have, and StaleRevisionError for one that it
    does not have any more.
    """
    version = flows.present_version(flow)
    present = version.revision if version else 1
    document = flows.get_document(version)
    step = document.find(step_id)
    if step is None:
        if page.is_post and page.revision != present:
            raise flows.stale_revision(flow, steps=[step_id], since=page.revision)
        raise Http404(gettext("The flow has no such step."))
    found, since = part.fingerprint(document, step_id), page.revision if page.is_post else 0
    is_late = page.is_post and page.is_late(present, found)
    return Target(flow, version, document, step, part, found, is_late, since)


def _done(page: Page, target: Target, edit: Edit) -> HttpResponse:
    """Show what was done, also where nothing was, and the step in the editor, or one near it."""
    page.notify(edit.message, messages.SUCCESS if edit.changed else messages.INFO)
    if page.revision != target.revision:
        text = gettext("Others have changed other parts of the flow meanwhile.")
        page.notify(text, messages.INFO)
    where = edit.step
    if where not in flows.get_document(edit.version).index:
        where = _before(target.document, where)
    anchor = f"step-{where}" if where else "steps"
    return page.redirect("flow_editor", target.flow.pk, anchor=anchor)


def _before(document: Document, step_id: str) -> str:
    """Return the step before another one in its list, or else the one around it."""
    visit = document.visit(step_id)
    if visit.position:
        return document.siblings(visit)[visit.position - 1]
    return visit.around.step.id if visit.around else ""
