"""The edits of a flow: permission, revision, one write, and a sentence about what has happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

from django import forms
from django.utils.translation import gettext

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document import edit
from flowcontrol_core.document.places import legal_places
from flowcontrol_core.document.tree import (
    Document,
    IfUnknown,
    Place,
    RetryPolicy,
    Step,
    count_steps,
)
from flowcontrol_core.errors import DocumentError, EditError
from flowcontrol_core.flows import drafts
from flowcontrol_core.flows.config_forms import (
    changed_config,
    has_unknown_choice,
    initial_config,
    known_action,
    stored_config,
    zone_of,
)
from flowcontrol_core.flows.document_checks import check_document
from flowcontrol_core.flows.drafts import Author, Revision
from flowcontrol_core.flows.journal import Change, JournalEntry
from flowcontrol_core.flows.permissions import refuse_unplaceable
from flowcontrol_core.models import EditOperation, Flow, FlowVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What an edit has done.

    ``version`` is what the editor shows now, and its ``revision`` the one to name next; ``step``
    is the id of the step it was about, and ``message`` a sentence for its author. Without
    ``changed`` nothing was written, because it was so already. ``of`` is the edit that it has
    undone or redone.
    """

    version: FlowVersion
    step: str
    message: str
    changed: bool = True
    of: JournalEntry | None = None


def step_label(step: Step) -> str:
    """Return the name of a step's action, as staff know it; its key where the action is missing."""
    return registry.action_label(step.action)


def step_icon(step: Step) -> str:
    """Return the icon that the action of a step names; empty where it names none or is missing."""
    action = known_action(step.action)
    return action.icon if action else ""


def branch_label(step: Step, branch: str) -> str:
    """Return what people call a branch of a step: its name where the action is missing."""
    if registry.knows_action(step.action):
        return registry.get_action(step.action).branch_label(branch)
    return branch


def offered_branches(step: Step) -> tuple[str, ...]:
    """Return the branches into which steps can be put; of a missing action those it has."""
    action = known_action(step.action)
    return action.branch_names() if action else tuple(step.branches)


def places(document: Document, *, moving: str | None = None) -> list[Place]:
    """Return all places for a new step, or for the one with the id ``moving``."""
    return legal_places(document, moving=moving, branches=offered_branches)


Operation: TypeAlias = Callable[[Document], Document]
Said: TypeAlias = tuple[EditOperation, Mapping[str, Any]]
"""What the journal says of an edit: see ``journal.Change``."""


def edit_draft(
    flow: Flow, operation: Operation, *, revision: Revision, author: Author
) -> FlowVersion:
    """Apply an operation to the draft, opening one if need be, and return the changed version.

    ``revision`` is the one that the author has seen; ``None`` applies it to any.
    An operation that changes nothing writes nothing and opens no draft. Raises
    StaleRevisionError where another author was faster, NotPermittedError where the author may not
    place one of the actions, and what the operation raises.
    """

    def change(document: Document) -> Change:
        return Change(document=operation(document), operation=EditOperation.CODE)

    return _apply(flow, change, revision, author).version


def _apply(
    flow: Flow,
    operation: Callable[[Document], Change],
    revision: Revision,
    author: Author,
    *,
    unchanged: str = "",
    read: Callable[[FlowVersion], Document | None] = drafts.get_document,
) -> Edit:
    with drafts.atomic():
        drafts.lock(flow)
        version = drafts.present_version(flow) or drafts.open_draft(flow, author)
        if revision is not None and revision != version.revision:
            raise drafts.stale_revision(flow)
        old = read(version)
        return write(flow, version, old, operation(old or Document()), author, unchanged)


def write(
    flow: Flow,
    version: FlowVersion,
    old: Document | None,
    change: Change,
    author: Author,
    unchanged: str = "",
) -> Edit:
    """Make a change of the present version, if it is one; the flow is locked.

    ``old`` is the document of that version, None where it cannot be read; ``unchanged`` is the
    sentence for its author where the document is the same.
    """
    change = replace(change, document=drafts.completed(change.document))
    columns = drafts.columns_of(change.document)
    if columns["digest"] == version.digest:
        message = unchanged or gettext("Nothing was changed.")
        return Edit(version=version, step=change.step, message=message, changed=False)
    refuse_unplaceable(old or Document(), change.document, author, about=change.step)
    written = drafts.write_draft(flow, version, old, change, columns, author)
    return Edit(version=written, step=change.step, message=change.sentence)


def restore_version(
    flow: Flow, version: FlowVersion, *, revision: Revision = None, author: Author = None
) -> FlowVersion:
    """Make the document of an older version the draft; raises EditError for another flow's."""
    if version.flow_id != flow.pk:
        text = gettext("%(version)s is not a version of the flow %(flow)r; choose one of its own.")
        raise EditError(text % {"version": version, "flow": flow.key})
    said = EditOperation.RESTORE, {"version": version.number}
    document = drafts.get_document(version)
    return replace_draft(flow, document, said, revision=revision, author=author)


def replace_draft(
    flow: Flow, document: Document, said: Said, *, revision: Revision, author: Author
) -> FlowVersion:
    """Make a document the draft, also where the present one cannot be read; as ``edit_draft``."""

    def change(_: Document) -> Change:
        return Change(document=document, operation=said[0], values=said[1])

    return _apply(flow, change, revision, author, read=drafts.readable_document).version


def add_step(
    flow: Flow, action_key: str, place: Place, *, revision: Revision, author: Author = None
) -> Edit:
    """Put a new step at a place, with the initial values of its action's form.

    It need not be valid yet: that is checked when it is configured, and when the flow is
    published. Raises UnknownActionError and EditError.
    """
    entry = registry.get_action(action_key)

    def change(document: Document) -> Change:
        _refuse_foreign_branch(document, place)
        step = Step(
            id=edit.new_step_id(document.index),
            action=entry.key,
            config=initial_config(entry.action, document),
            config_version=entry.action.config_version,
        )
        return Change(
            document=edit.add_step(document, step, place),
            operation=EditOperation.ADD,
            step=step.id,
            values=_about(step),
        )

    return _apply(flow, change, revision, author)


def configure_step(
    flow: Flow,
    step_id: str,
    form: forms.BaseForm,
    *,
    revision: Revision,
    author: Author = None,
    check: bool = False,
) -> Edit:
    """Store what was filled into the form of a step (``step_form``, bound).

    Raises EditError where the form is not valid or not that of the step's action, and with
    ``check`` DocumentError where the step would have problems.
    """
    config = stored_config(form)

    def configure(document: Document) -> Document:
        action = registry.get_action(document.visit(step_id).step.action).action
        if not isinstance(form, action.Config):
            text = gettext("The form does not belong to the step %(step)r; use step_form().")
            raise EditError(text % {"step": step_id})
        version = action.config_version
        step = document.visit(step_id).step
        changed = changed_config(step, action, form, config, zone_of(document))
        new = edit.change_step(document, step_id, config=changed, config_version=version)
        if not check:
            return new
        # What is not offered any more is valid in the form only, which keeps it.
        cleaned = None if has_unknown_choice(form) else form.cleaned_data
        if problems := check_document(new, flow=flow, step=step_id, cleaned=cleaned):
            raise DocumentError(problems)
        return new

    unchanged = gettext("The step was configured like that already.")
    said = EditOperation.CONFIGURE
    return _edit_step(flow, step_id, configure, revision, author, said, unchanged)


def move_step(
    flow: Flow, step_id: str, place: Place, *, revision: Revision, author: Author = None
) -> Edit:
    """Move a step, with everything inside it; the index counts the list without that step."""

    def move(document: Document) -> Document:
        _refuse_foreign_branch(document, place)
        return edit.move_step(document, step_id, place)

    unchanged = gettext("The step is at that place already; nothing was moved.")
    return _edit_step(flow, step_id, move, revision, author, EditOperation.MOVE, unchanged)


def shift_step(
    flow: Flow, step_id: str, by: Literal[-1, 1], *, revision: Revision, author: Author = None
) -> Edit:
    """Move a step up (-1) or down (1) by one in its list; raises EditError at the list's end."""
    shift = partial(edit.shift_step, step_id=step_id, by=by)
    said = EditOperation.MOVE_UP if by < 0 else EditOperation.MOVE_DOWN
    return _edit_step(flow, step_id, shift, revision, author, said)


def set_disabled(
    flow: Flow, step_id: str, disabled: bool, *, revision: Revision, author: Author = None
) -> Edit:
    """Disable a step, so that runs skip it, or enable it."""
    if disabled:
        said, unchanged = EditOperation.DISABLE, gettext("The step is disabled already.")
    else:
        said, unchanged = EditOperation.ENABLE, gettext("The step is enabled already.")
    change = partial(edit.change_step, step_id=step_id, disabled=disabled)
    return _edit_step(flow, step_id, change, revision, author, said, unchanged)


def annotate_step(
    flow: Flow, step_id: str, note: str, *, revision: Revision, author: Author = None
) -> Edit:
    """Replace the note of a step; an empty one removes it."""
    said = EditOperation.ANNOTATE if note else EditOperation.REMOVE_NOTE
    change = partial(edit.change_step, step_id=step_id, note=note)
    return _edit_step(flow, step_id, change, revision, author, said)


def set_policy(
    flow: Flow,
    step_id: str,
    *,
    retry: RetryPolicy | None,
    timeout: float | None,
    if_unknown: IfUnknown,
    revision: Revision,
    author: Author = None,
) -> Edit:
    """Replace what happens when a step fails or takes too long (``timeout``: seconds)."""
    change = partial(
        edit.change_step, step_id=step_id, retry=retry, timeout=timeout, if_unknown=if_unknown
    )
    return _edit_step(flow, step_id, change, revision, author, EditOperation.POLICY)


def duplicate_step(flow: Flow, step_id: str, *, revision: Revision, author: Author = None) -> Edit:
    """Copy a step, with everything inside it, right after itself; ``step`` is the copy's id."""

    def duplicate(document: Document) -> Change:
        changed, copy_id = edit.duplicate_step(document, step_id)
        return Change(
            document=changed,
            operation=EditOperation.DUPLICATE,
            step=copy_id,
            values=_about(document.visit(step_id).step),
        )

    return _apply(flow, duplicate, revision, author)


def delete_step(flow: Flow, step_id: str, *, revision: Revision, author: Author = None) -> Edit:
    """Delete a step with everything inside it; runs in flight keep theirs."""

    def delete(document: Document) -> Change:
        return Change(
            document=edit.delete_step(document, step_id),
            operation=EditOperation.DELETE,
            step=step_id,
            values=_about(document.visit(step_id).step),
        )

    return _apply(flow, delete, revision, author)


def set_options(
    flow: Flow,
    *,
    object: str | None,  # noqa: A002 - the word of the document
    guard: str,
    time_zone: str | None,
    revision: Revision,
    author: Author = None,
) -> Edit:
    """Replace what applies to the whole flow: its model, its guard and its time zone."""

    def change(document: Document) -> Change:
        changed = edit.set_options(document, object=object, guard=guard, time_zone=time_zone)
        return Change(document=changed, operation=EditOperation.OPTIONS)

    return _apply(flow, change, revision, author)


def _edit_step(
    flow: Flow,
    step_id: str,
    operation: Operation,
    revision: Revision,
    author: Author,
    said: EditOperation,
    unchanged: str = "",
) -> Edit:
    """Apply an operation on one step; ``unchanged`` says for its author that it was not needed."""

    def change(document: Document) -> Change:
        values = {"action": document.visit(step_id).step.action}
        return Change(document=operation(document), operation=said, step=step_id, values=values)

    return _apply(flow, change, revision, author, unchanged=unchanged)


def _about(step: Step) -> dict[str, Any]:
    """Return what a sentence about a step with those inside it needs."""
    return {"action": step.action, "count": count_steps(step)}


def _refuse_foreign_branch(document: Document, place: Place) -> None:
    """Raise EditError for a branch that the parent's action does not offer."""
    if place.parent is None:
        return
    parent = document.visit(place.parent).step
    offered = offered_branches(parent)
    if place.branch not in offered:
        text = gettext("The action %(action)r has no branch %(branch)r; possible: %(possible)s.")
        words = {"action": parent.action, "branch": place.branch}
        none = gettext("none, it takes no steps inside")
        raise EditError(text % {**words, "possible": ", ".join(offered) or none})
