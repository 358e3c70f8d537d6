"""Undo and redo: the last edit of a draft is taken back, or made again, by a further edit."""

from __future__ import annotations

from dataclasses import replace

from django.utils.translation import gettext

from flowcontrol_core.document import patch
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import EditError
from flowcontrol_core.flows import drafts, edits, journal
from flowcontrol_core.flows.drafts import Author, Revision
from flowcontrol_core.flows.edits import Edit
from flowcontrol_core.flows.journal import Change, LastEdits
from flowcontrol_core.models import EditOperation, Flow, FlowEdit, FlowVersion


def undo(flow: Flow, *, revision: Revision = None, author: Author = None) -> Edit:
    """Take back the last edit of the draft, of any author; ``of`` of the answer is that edit.

    With the ``revision`` that the author has seen, it is the last edit of then, and what was
    changed since stays: StaleRevisionError is raised where the same part of the flow was changed,
    or the edit was undone. Raises EditError where there is nothing to undo: a publication is not
    undone; and NotPermittedError where the author may not place one of the actions.
    """
    return _revert(flow, EditOperation.UNDO, revision, author)


def redo(flow: Flow, *, revision: Revision = None, author: Author = None) -> Edit:
    """Make the edit again that was undone last, as ``undo``; any other edit leaves none."""
    return _revert(flow, EditOperation.REDO, revision, author)


def last_edits(flow: Flow, version: FlowVersion | None) -> LastEdits:
    """Return what ``undo`` and ``redo`` would do to the present version of a flow; one query."""
    rows = journal.read_rows(flow, number=drafts.draft_number(version))
    undone, redone = (journal.entry(chain[-1]) if chain else None for chain in journal.chains(rows))
    return LastEdits(undo=undone, redo=redone)


def _revert(flow: Flow, operation: EditOperation, revision: Revision, author: Author) -> Edit:
    with drafts.atomic():
        drafts.lock(flow)
        version = drafts.present_version(flow) or drafts.open_draft(flow, author)
        target = _target(flow, version, operation, revision)
        document = drafts.get_document(version)
        change = Change(
            document=_reverted(flow, document, target, operation),
            operation=operation,
            step=target.step,
            values={
                "author": target.author,
                "operation": target.operation,
                "values": target.values,
            },
            target=target,
        )
        edit = edits.write(flow, version, document, change, author)
    return replace(edit, of=journal.entry(target, is_undone=operation == EditOperation.UNDO))


def _target(
    flow: Flow, version: FlowVersion, operation: EditOperation, revision: Revision
) -> FlowEdit:
    """Return the edit to undo or to redo: the last one that the author has seen."""
    number = drafts.draft_number(version)
    rows = journal.read_rows(flow, number=number)
    seen = [row for row in rows if revision is None or row.revision <= revision]
    then, now = (_chain(each, operation) for each in (seen, rows))
    if then and then[-1] not in now:
        raise drafts.stale_revision(flow)
    if not then and revision not in (None, version.revision):
        raise drafts.stale_revision(flow)
    if not then:
        raise EditError(_nothing(operation, number))
    return FlowEdit.objects.get(pk=then[-1].pk)


def _chain(rows: list[FlowEdit], operation: EditOperation) -> list[FlowEdit]:
    chains = journal.chains(rows)
    return chains.done if operation == EditOperation.UNDO else chains.undone


def _reverted(
    flow: Flow, document: Document, target: FlowEdit, operation: EditOperation
) -> Document:
    """Return the document without the edit, or with it; only where its part is as it left it."""
    is_undo = operation == EditOperation.UNDO
    expected, wanted = (target.after, target.before) if is_undo else (target.before, target.after)
    try:
        if patch.agrees(document, expected):
            return patch.apply(document, wanted)
    except EditError as error:
        raise drafts.stale_revision(flow) from error
    except journal.DAMAGED as error:
        text = gettext("The journal cannot be read here, so that this edit cannot be undone.")
        raise EditError(text) from error
    own, lists = expected["own"], [each for ids in expected["lists"].values() for each in ids]
    raise drafts.stale_revision(flow, steps=own or lists, moved=not own, since=target.revision)


def _nothing(operation: EditOperation, number: int) -> str:
    """Return why there is nothing to undo or to redo in the draft that becomes that version."""
    if operation == EditOperation.REDO:
        return gettext("There is nothing to redo: no edit was undone, or another one came after.")
    if number == 1:
        return gettext("There is nothing to undo: the flow has not been edited.")
    text = gettext(
        "There is nothing to undo since version %(number)d was published, and a publication is "
        "not undone. Restore an older version instead."
    )
    return text % {"number": number - 1}
