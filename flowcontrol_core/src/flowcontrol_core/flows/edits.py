"""The operations of the editor: one function each, with a sentence about what has happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.translation import gettext, ngettext

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document import edit
from flowcontrol_core.document.places import legal_places
from flowcontrol_core.document.serialize import digest
from flowcontrol_core.document.tree import (
    Document,
    IfUnknown,
    Place,
    RetryPolicy,
    Step,
    count_steps,
)
from flowcontrol_core.errors import EditError
from flowcontrol_core.flows.config_forms import initial_config, stored_config
from flowcontrol_core.flows.drafts import edit_draft
from flowcontrol_core.models import Flow, FlowVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What an operation has done.

    ``version`` is what the editor shows now, and its ``revision`` the one to name next; ``step``
    is the id of the step it was about, and ``message`` a sentence for whoever did it. Without
    ``changed`` nothing was written, because it was so already.
    """

    version: FlowVersion
    step: str
    message: str
    changed: bool = True


def step_label(step: Step) -> str:
    """Name a step by its action, as staff know it; by the key where the action is missing."""
    if registry.knows_action(step.action):
        entry = registry.get_action(step.action)
        return str(entry.action.verbose_name or entry.key)
    return step.action


def offered_branches(step: Step) -> tuple[str, ...]:
    """Name the branches into which steps can be put; of a missing action those it has."""
    if registry.knows_action(step.action):
        return registry.get_action(step.action).action.branch_names()
    return tuple(step.branches)


def places(document: Document, *, moving: str | None = None) -> list[Place]:
    """List all places for a new step, or for the one with the id ``moving``."""
    return legal_places(document, moving=moving, branches=offered_branches)


def add_step(
    flow: Flow,
    action_key: str,
    place: Place,
    *,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Put a new step at a place, with the initial values of its action's form.

    It need not be valid yet: that is looked at when it is configured, and when the flow is
    published. Raises UnknownActionError and EditError.
    """
    entry = registry.get_action(action_key)

    def change(document: Document) -> _Change:
        _refuse_foreign_branch(document, place)
        step = Step(
            id=edit.new_step_id(document.step_ids()),
            action=entry.key,
            config=initial_config(entry.action, document),
            config_version=entry.action.config_version,
        )
        message = gettext("Added “%(step)s”.") % {"step": step_label(step)}
        return _Change(edit.add_step(document, step, place), step.id, message)

    return _apply(flow, change, revision, author)


def configure_step(
    flow: Flow,
    step_id: str,
    form: forms.BaseForm,
    *,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Store what was filled into the form of a step (``step_form``, bound).

    Raises EditError where the form is not valid or not that of the step's action.
    """
    config = stored_config(form)

    def change(document: Document) -> _Change:
        step = _find(document, step_id)
        action = registry.get_action(step.action).action
        if not isinstance(form, action.Config):
            raise EditError(
                f"The form does not belong to the action {step.action!r} of the step {step_id!r}; "
                "use step_form()."
            )
        changed = edit.configure_step(document, step_id, config, action.config_version)
        return _Change(changed, step_id, gettext("Saved “%(step)s”.") % {"step": step_label(step)})

    unchanged = gettext("The step was configured like that already.")
    return _apply(flow, change, revision, author, unchanged)


def move_step(
    flow: Flow,
    step_id: str,
    place: Place,
    *,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Move a step, with everything inside it; the index counts the list without that step."""

    def change(document: Document) -> _Change:
        label = step_label(_find(document, step_id))
        _refuse_foreign_branch(document, place)
        changed = edit.move_step(document, step_id, place)
        return _Change(changed, step_id, gettext("Moved “%(step)s”.") % {"step": label})

    unchanged = gettext("The step is at that place already; nothing was moved.")
    return _apply(flow, change, revision, author, unchanged)


def shift_step(
    flow: Flow,
    step_id: str,
    by: Literal[-1, 1],
    *,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Move a step up (-1) or down (1) by one in its list; raises EditError at the list's end."""

    def change(document: Document) -> _Change:
        label = step_label(_find(document, step_id))
        text = gettext("Moved “%(step)s” up.") if by < 0 else gettext("Moved “%(step)s” down.")
        changed = edit.shift_step(document, step_id, by)
        return _Change(changed, step_id, text % {"step": label})

    return _apply(flow, change, revision, author)


def duplicate_step(
    flow: Flow, step_id: str, *, revision: int | None, author: AbstractBaseUser | None = None
) -> Edit:
    """Copy a step, with everything inside it, right behind itself; ``step`` is the copy's id."""

    def change(document: Document) -> _Change:
        count = count_steps(_find(document, step_id))
        changed, copy_id = edit.duplicate_step(document, step_id)
        text = ngettext("Duplicated %(count)d step.", "Duplicated %(count)d steps.", count)
        return _Change(changed, copy_id, text % {"count": count})

    return _apply(flow, change, revision, author)


def delete_step(
    flow: Flow, step_id: str, *, revision: int | None, author: AbstractBaseUser | None = None
) -> Edit:
    """Delete a step with everything inside it; runs in flight keep theirs."""

    def change(document: Document) -> _Change:
        count = count_steps(_find(document, step_id))
        text = ngettext("Deleted %(count)d step.", "Deleted %(count)d steps.", count)
        changed = edit.delete_step(document, step_id)
        return _Change(changed, step_id, text % {"count": count})

    return _apply(flow, change, revision, author)


def set_disabled(
    flow: Flow,
    step_id: str,
    disabled: bool,
    *,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Disable a step, so that runs pass it by, or enable it."""

    def change(document: Document) -> _Change:
        label = step_label(_find(document, step_id))
        off, on = gettext("Disabled “%(step)s”: runs pass it by."), gettext("Enabled “%(step)s”.")
        changed = edit.set_disabled(document, step_id, disabled)
        return _Change(changed, step_id, (off if disabled else on) % {"step": label})

    off, on = gettext("The step is disabled already."), gettext("The step is enabled already.")
    return _apply(flow, change, revision, author, off if disabled else on)


def annotate_step(
    flow: Flow,
    step_id: str,
    note: str,
    *,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Replace the note of a step; an empty one removes it."""

    def change(document: Document) -> _Change:
        message = gettext("Saved the note.") if note else gettext("Removed the note.")
        return _Change(edit.annotate_step(document, step_id, note), step_id, message)

    return _apply(flow, change, revision, author)


def set_policy(
    flow: Flow,
    step_id: str,
    *,
    retry: RetryPolicy | None,
    timeout: float | None,
    if_unknown: IfUnknown,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Replace what happens when a step fails or takes too long (``timeout``: seconds)."""

    def change(document: Document) -> _Change:
        changed = edit.set_policy(
            document, step_id, retry=retry, timeout=timeout, if_unknown=if_unknown
        )
        return _Change(changed, step_id, gettext("Saved what happens when the step fails."))

    return _apply(flow, change, revision, author)


def set_options(
    flow: Flow,
    *,
    object: str | None,  # noqa: A002 - the word of the document
    guard: str,
    time_zone: str | None,
    revision: int | None,
    author: AbstractBaseUser | None = None,
) -> Edit:
    """Replace what is said about the whole flow: its model, its guard and its time zone."""

    def change(document: Document) -> _Change:
        changed = edit.set_options(document, object=object, guard=guard, time_zone=time_zone)
        return _Change(changed, "", gettext("Saved the settings of the flow."))

    return _apply(flow, change, revision, author)


class _Change(NamedTuple):
    """The document as it becomes, the step it is about, and the sentence to say."""

    document: Document
    step: str
    message: str


_Changer: TypeAlias = Callable[[Document], _Change]


def _apply(
    flow: Flow,
    changer: _Changer,
    revision: int | None,
    author: AbstractBaseUser | None,
    unchanged: str = "",
) -> Edit:
    """Edit the draft; ``unchanged`` is what to say where the document stays as it is."""
    made: list[tuple[_Change, bool]] = []

    def operation(document: Document) -> Document:
        change = changer(document)
        made.append((change, digest(change.document) != digest(document)))
        return change.document

    version = edit_draft(flow, operation, revision=revision, author=author)
    change, is_changed = made[-1]
    message = change.message if is_changed else unchanged or gettext("Nothing was changed.")
    return Edit(version=version, step=change.step, message=message, changed=is_changed)


def _find(document: Document, step_id: str) -> Step:
    step = document.find(step_id)
    if step is None:
        raise EditError(
            f"The flow has no step {step_id!r}; it may have been deleted. Reload the flow."
        )
    return step


def _refuse_foreign_branch(document: Document, place: Place) -> None:
    """Raise EditError for a branch that the parent's action does not offer."""
    if place.parent is None:
        return
    parent = _find(document, place.parent)
    offered = offered_branches(parent)
    if place.branch not in offered:
        raise EditError(
            f"The action {parent.action!r} has no branch {place.branch!r}; "
            f"possible: {', '.join(offered) or 'none, it takes no steps inside'}."
        )
