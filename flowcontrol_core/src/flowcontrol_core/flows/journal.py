"""The journal of a flow: each edit of its draft in words, and what can be undone and redone.

The edits of a draft stand in one row, and an undo is an edit as well: nothing is ever taken out of
the journal, except that only the newest ``bounds.EDITS`` are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol_core import bounds
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.format import canonical_json
from flowcontrol_core.document.patch import Patch, patches
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.config_forms import label_of_field
from flowcontrol_core.models import EditOperation, Flow, FlowEdit, FlowVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An edit: the new document, and what the journal says of it (see ``FlowEdit``)."""

    document: Document
    operation: EditOperation
    step: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    #: The edit that it undoes or redoes.
    target: FlowEdit | None = None

    @property
    def sentence(self) -> str:
        """Return what it does, for its author."""
        return sentence(self.operation, self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """An edit of the draft of a flow, as people read it.

    ``number`` is that of the version that it was made on, ``revision`` the one it led to, ``step``
    the id of the step it was about, ``text`` a sentence about what was done.
    """

    number: int
    revision: int
    operation: str
    step: str
    text: str
    author: str
    at: datetime
    is_undone: bool = False

    @classmethod
    def of_draft(cls, draft: FlowVersion) -> JournalEntry:
        """Return the last edit of a draft as far as the draft itself tells it."""
        return cls(
            number=draft.number,
            revision=draft.revision,
            operation="",
            step="",
            text="",
            author=draft.author or gettext("an unknown author"),
            at=draft.updated_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEdits:
    """What would be undone and redone now; None where there is nothing."""

    undo: JournalEntry | None
    redo: JournalEntry | None


_Chain: TypeAlias = dict[int, FlowEdit]


class Chains(NamedTuple):
    """What can be undone and what can be redone, the next one last."""

    done: list[FlowEdit]
    undone: list[FlowEdit]


_UNKNOWN: tuple[Patch, Patch] = ({}, {})
#: What is raised where a row is read that something else has written.
DAMAGED = (AttributeError, KeyError, TypeError, ValueError)


def record(
    version: FlowVersion, old: Document | None, change: Change, author: str, revision: int
) -> None:
    """Write an edit into the journal, in the transaction that makes it; old ones are dropped.

    ``old`` is the document before it, None where it could not be read.
    """
    before, after = patches(old, change.document) if old else _UNKNOWN
    FlowEdit.objects.create(
        flow_id=version.flow_id,
        number=version.number,
        revision=revision,
        operation=change.operation,
        step=change.step,
        values={**change.values, **_fields(change, before, after)},
        target=change.target.revision if change.target else None,
        before=before,
        after=after,
        undoable=any(before.values()),
        author=author,
        at=timezone.now(),
    )
    oldest = revision - bounds.EDITS
    FlowEdit.objects.filter(flow=version.flow_id, revision__lte=oldest).delete()


def _fields(change: Change, before: Patch, after: Patch) -> dict[str, list[str]]:
    """Return the names of the fields that were configured."""
    if change.operation != EditOperation.CONFIGURE:
        return {}
    found = (patch.get("own", {}).get(change.step) or {} for patch in (before, after))
    old, new = (own.get("config", {}) for own in found)
    is_same = {name: canonical_json(old[name]) == canonical_json(new.get(name)) for name in old}
    return {"fields": [name for name in {**old, **new} if not is_same.get(name)]}


def read_rows(flow: Flow, **wanted: int) -> list[FlowEdit]:
    """Return the edits of a flow without what they changed, the oldest first; one query."""
    rows = FlowEdit.objects.filter(flow=flow, **wanted).defer("before", "after")
    return [*rows.order_by("revision")]


def chains(rows: Iterable[FlowEdit]) -> Chains:
    """Return what can be undone and redone of the edits of one version, the oldest of them first.

    An edit empties what can be redone. One that cannot be undone ends both.
    """
    done: _Chain = {}
    undone: _Chain = {}
    for row in rows:
        if row.operation == EditOperation.UNDO:
            undone = _moved(row.target, done, undone)
        elif row.operation == EditOperation.REDO:
            done = _moved(row.target, undone, done)
        else:
            undone = {}
            done = {**done, row.revision: row} if row.undoable else {}
    return Chains([*done.values()], [*undone.values()])


def _moved(target: int | None, source: _Chain, to: _Chain) -> _Chain:
    """Take an edit out of one chain, and return the other one with it.

    That is empty where the edit is not kept any more: those that come after need it.
    """
    found = source.pop(target or 0, None)
    return {} if found is None else {**to, found.revision: found}


def entries(rows: Iterable[FlowEdit]) -> list[JournalEntry]:
    """Return edits as people read them; those come first that come last in ``rows``."""
    undone: set[int] = set()
    listed = [*rows]
    for row in listed:
        if row.operation == EditOperation.UNDO:
            undone.add(row.target or 0)
        elif row.operation == EditOperation.REDO:
            undone.discard(row.target or 0)
    return [entry(row, is_undone=row.revision in undone) for row in reversed(listed)]


def entry(row: FlowEdit, *, is_undone: bool = False) -> JournalEntry:
    """Return an edit as people read it."""
    return JournalEntry(
        number=row.number,
        revision=row.revision,
        operation=row.operation,
        step=row.step,
        text=sentence(row.operation, row.values),
        author=row.author or gettext("an unknown author"),
        at=row.at,
        is_undone=is_undone,
    )


def edits(
    flow: Flow, *, steps: Collection[str] = (), moved: bool = False, since: int = 0
) -> list[JournalEntry]:
    """Return who changed what of the draft, the newest first; at most ``bounds.EDITS`` edits.

    With the ids of ``steps``, only what changed one of these, or with ``moved`` instead the list
    that one of these is in. With ``since``, only what came after that revision.
    """
    listed = [each for each in entries(read_rows(flow)) if each.revision > since]
    if not steps or not listed:
        return listed
    rows = FlowEdit.objects.filter(flow=flow, revision__gt=since)
    found = {
        revision
        for revision, *patched in rows.values_list("revision", "before", "after")
        if any(_touches(patch, steps, moved=moved) for patch in patched)
    }
    return [each for each in listed if each.revision in found]


def _touches(patch: Patch, steps: Collection[str], *, moved: bool) -> bool:
    try:
        if not moved:
            return any(step in patch.get("own", ()) for step in steps)
        return any(step in ids for ids in patch.get("lists", {}).values() for step in steps)
    except DAMAGED:
        return False


def last_edit(flow: Flow) -> JournalEntry | None:
    """Return the newest edit, also where another transaction has just committed it.

    To be called in a transaction. None where the journal is empty.
    """
    # A locking read sees what others have committed meanwhile, on every database.
    rows = FlowEdit.objects.select_for_update().filter(flow=flow).order_by("-revision")
    row = rows.defer("before", "after").first()
    return entry(row) if row else None


def describe_edit(edit: JournalEntry, *, of_step: bool = False) -> str:
    """Return who changed the flow, or the step, when, and what was done."""
    if of_step:
        text = gettext("The step was changed by %(author)s at %(time)s (revision %(revision)s).")
    else:
        text = gettext("The flow was changed by %(author)s at %(time)s (revision %(revision)s).")
    words = {
        "author": edit.author,
        "time": f"{timezone.localtime(edit.at):%Y-%m-%d %H:%M:%S}",
        "revision": edit.revision,
    }
    return f"{text % words} {edit.text}".strip()


def sentence(operation: str, values: Mapping[str, Any]) -> str:
    """Return what an edit did, in the language of the reader."""
    try:
        return _sentence(operation, values)
    except DAMAGED:
        # Better raw than not at all.
        return f"{operation} {values}"


def _sentence(operation: str, values: Mapping[str, Any]) -> str:
    action = values.get("action", "")
    words = {**values, "step": registry.action_label(action)}
    if operation in (EditOperation.UNDO, EditOperation.REDO):
        words["author"] = values["author"] or gettext("an unknown author")
        words["edit"] = sentence(values["operation"], values["values"])
    if operation == EditOperation.CONFIGURE and (names := values.get("fields")):
        words["fields"] = ", ".join(label_of_field(action, name) for name in names)
        text = gettext("Saved “%(step)s”: %(fields)s.")
    elif operation == EditOperation.DELETE:
        text = ngettext(
            "Deleted “%(step)s”.",
            "Deleted “%(step)s” and the steps inside it (%(count)d steps).",
            values["count"],
        )
    elif operation == EditOperation.DUPLICATE:
        text = ngettext(
            "Duplicated “%(step)s”.",
            "Duplicated “%(step)s” and the steps inside it (%(count)d steps).",
            values["count"],
        )
    else:
        text = str(_SENTENCES[operation])
    return text % words


_SENTENCES: Mapping[str, Any] = {
    EditOperation.ADD: _("Added “%(step)s”."),
    EditOperation.CONFIGURE: _("Saved “%(step)s”."),
    EditOperation.MOVE: _("Moved “%(step)s”."),
    EditOperation.MOVE_UP: _("Moved “%(step)s” up."),
    EditOperation.MOVE_DOWN: _("Moved “%(step)s” down."),
    EditOperation.DISABLE: _("Disabled “%(step)s”: runs skip it."),
    EditOperation.ENABLE: _("Enabled “%(step)s”."),
    EditOperation.ANNOTATE: _("Saved the note on “%(step)s”."),
    EditOperation.REMOVE_NOTE: _("Removed the note on “%(step)s”."),
    EditOperation.POLICY: _("Saved what happens when “%(step)s” fails."),
    EditOperation.OPTIONS: _("Saved the settings of the flow."),
    EditOperation.CODE: _("Changed the steps by code."),
    EditOperation.RESTORE: _("Restored version %(version)d as the draft."),
    EditOperation.IMPORT: _("Imported the steps from a file."),
    EditOperation.DISCARD: _("Discarded the draft."),
    EditOperation.UNDO: _("Undid an edit by %(author)s: %(edit)s"),
    EditOperation.REDO: _("Redid an edit by %(author)s: %(edit)s"),
}
