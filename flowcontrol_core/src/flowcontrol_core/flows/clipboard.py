"""Steps as text: copied out of a flow, and pasted into it or another one."""

from __future__ import annotations

from django.utils.translation import gettext, ngettext

from flowcontrol_core.document import edit
from flowcontrol_core.document.tree import Document, Place, Step
from flowcontrol_core.errors import EditError
from flowcontrol_core.flows import drafts
from flowcontrol_core.flows.drafts import Author, Revision
from flowcontrol_core.flows.edits import Edit, edit_draft, places
from flowcontrol_core.flows.exports import export_step
from flowcontrol_core.flows.import_files import read_steps
from flowcontrol_core.flows.imports import filled, known_values, markers_of
from flowcontrol_core.models import Flow


def copy_step(document: Document, step_id: str) -> str:
    """Return a step with everything inside it as YAML; raises EditError where there is none."""
    return export_step(document.visit(step_id).step)


def paste_step(
    flow: Flow, content: str | bytes, place: Place, *, revision: Revision, author: Author = None
) -> Edit:
    """Put copied steps at a place, under new ids; ``step`` is the id of the first one.

    A value that is not in the text is taken from the step that it was copied from, where the flow
    still has it. Raises DocumentError where the text has no steps, EditError for a place that is
    not legal, and what ``edit_draft`` raises.
    """
    copied = Document(steps=read_steps(content))

    def paste(document: Document) -> Document:
        if not copied.steps:
            raise EditError(gettext("There is no step in the text; copy one first."))
        if place not in places(document):
            raise EditError(gettext("The flow has no such place; reload it and choose again."))
        for step in reversed(filled(copied, known_values(copied, document)).steps):
            document = edit.add_step(document, edit.with_new_ids(step, document.index), place)
        return document

    before = drafts.present_document(flow)
    version = edit_draft(flow, paste, revision=revision, author=author)
    pasted = _step_at(drafts.get_document(version), place)
    return Edit(version=version, step=pasted.id, message=_message(copied, before))


def _step_at(document: Document, place: Place) -> Step:
    if place.parent is None:
        return document.steps[place.index]
    return document.visit(place.parent).step.branches[place.branch or ""][place.index]


def _message(copied: Document, before: Document) -> str:
    """Return how many steps were pasted, and how many values have to be entered."""
    count, known = len(copied.index), known_values(copied, before)
    text = ngettext("Pasted %(count)d step.", "Pasted %(count)d steps.", count)
    missing = sum(
        len(markers_of(visit.step)) - len(known.get(step_id, ()))
        for step_id, visit in copied.index.items()
    )
    if not missing:
        return text % {"count": count}
    more = ngettext(
        "%(count)d value is not copied with steps: enter it.",
        "%(count)d values are not copied with steps: enter them.",
        missing,
    )
    return f"{text % {'count': count}} {more % {'count': missing}}"
