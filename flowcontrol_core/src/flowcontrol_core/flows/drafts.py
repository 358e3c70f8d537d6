"""The draft of a flow: read, open, write, discard; no change is ever overwritten.

``revision`` counts the changes of a flow across its versions. An edit names the one that its
author has seen; a draft begins with that of the version it was copied from.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, router, transaction
from django.db.models import Max, QuerySet
from django.db.transaction import Atomic
from django.utils import timezone
from django.utils.translation import gettext

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.bounds import ACTOR_CHARACTERS
from flowcontrol_core.document.format import digest, parse, to_data
from flowcontrol_core.document.tree import Document, Step, map_steps
from flowcontrol_core.errors import DocumentError, EditError, StaleRevisionError, UnknownFlowError
from flowcontrol_core.flows import journal
from flowcontrol_core.flows.journal import Change, JournalEntry
from flowcontrol_core.models import EditOperation, Flow, FlowVersion

Author: TypeAlias = AbstractBaseUser | None
"""Who edits; code that names no author may do everything."""

Revision: TypeAlias = int | None
"""The revision that an author has seen; None stands for any."""

CACHED_DOCUMENTS = 256


def atomic() -> Atomic:
    """Return a transaction, or a savepoint inside of one, on the database of the flows."""
    return transaction.atomic(using=router.db_for_write(Flow))


def lock(flow: Flow) -> None:
    """Let the changes of a flow's versions come one after the other; runs never wait for it.

    Without it, two first edits at once would deadlock on MariaDB. Correctness rests on the
    revision alone. Raises UnknownFlowError where the flow was deleted meanwhile.
    """
    if not Flow.objects.select_for_update().filter(pk=flow.pk).values_list("pk").first():
        text = gettext("The flow %(flow)r was deleted; go back to the list of flows.")
        raise UnknownFlowError(text % {"flow": flow.key})


def get_document(version: FlowVersion | None) -> Document:
    """Return the document of a version, an empty one for None; it is cached once it is parsed.

    Raises DocumentError for one that this version of flowcontrol cannot read.
    """
    if version is None:
        return Document()
    return _parsed(_Source(version.pk, version.digest, version.document))


def readable_document(version: FlowVersion | None) -> Document | None:
    """Return the document of a version, None where it cannot be read (any more)."""
    try:
        return get_document(version)
    except DocumentError:
        return None


def present_version(flow: Flow) -> FlowVersion | None:
    """Return what the editor shows: the draft, or else the published version."""
    return _draft(flow) or published_version(flow)


def published_version(flow: Flow) -> FlowVersion | None:
    """Return the version that new runs start on; the instance at hand may name an older one."""
    found = Flow.objects.select_related("published").filter(pk=flow.pk).first()
    return found.published if found else None


def present_document(flow: Flow) -> Document:
    """Return the document of the present version; an empty one where there is none."""
    return get_document(present_version(flow))


def present_revision(flow: Flow) -> int:
    """Return the revision to be named in an edit of what the editor shows."""
    version = present_version(flow)
    return version.revision if version else 1


def completed(document: Document) -> Document:
    """Return a document as it is stored.

    What means the present version of an action when it is stored means that one for ever.
    """
    return replace(document, steps=map_steps(document.steps, _with_version))


def columns_of(document: Document) -> dict[str, Any]:
    """Return the columns of a version with that document; raises DocumentError if too large."""
    data = to_data(completed(document))
    return {"document": data, "digest": digest(data)}


def open_draft(flow: Flow, author: Author = None) -> FlowVersion:
    """Return the draft; where there is none, a new one copied from the published version.

    Two at once get the same one. Raises StaleRevisionError where one came and went meanwhile.
    """
    with atomic():
        lock(flow)
        draft = _draft(flow) or _create_draft(flow, author) or _committed_draft(flow)
        if draft is None:
            raise stale_revision(flow)
        return draft


def add_draft(flow: Flow, author: Author, **columns: Any) -> FlowVersion:
    """Write the draft of a flow that has none."""
    return FlowVersion.objects.create(flow=flow, draft_of=flow, author=_name(author), **columns)


def write_draft(
    flow: Flow,
    seen: FlowVersion,
    old: Document | None,
    change: Change,
    columns: dict[str, Any],
    author: Author,
) -> FlowVersion:
    """Write columns (``columns_of``) to the draft, opening one if need be, and return it.

    The journal gets what was changed; ``old`` is the document as it was ``seen``, None where it
    cannot be read. Raises StaleRevisionError where the flow was changed since. To be called inside
    of a transaction that has locked the flow.
    """
    draft = seen if seen.draft_of_id else open_draft(flow, author)
    values = {
        **columns,
        "revision": seen.revision + 1,
        "author": _name(author),
        "updated_at": timezone.now(),
    }
    if not as_seen(draft, seen.revision).update(**values):
        raise stale_revision(flow)
    for name, value in values.items():
        setattr(draft, name, value)
    journal.record(draft, old, change, draft.author, draft.revision)
    return draft


def discard_draft(flow: Flow, *, revision: Revision = None, author: Author = None) -> FlowVersion:
    """Delete the draft and return the published version, which the editor shows then.

    Raises EditError where there is no draft, or no published version to return to.
    """
    with atomic():
        lock(flow)
        draft, published = _draft(flow), published_version(flow)
        if draft is None:
            text = gettext("The flow %(flow)r has no draft; there is nothing to discard.")
            raise EditError(text % {"flow": flow.key})
        if published is None:
            text = gettext("The flow %(flow)r was never published; delete the flow instead.")
            raise EditError(text % {"flow": flow.key})
        seen, was = draft.revision if revision is None else revision, readable_document(draft)
        deleted, _ = as_seen(draft, seen).delete()
        if not deleted:
            raise stale_revision(flow)
        # Later drafts count on from here, so that an edit made on the discarded one is stale.
        published.revision = draft.revision + 1
        published.save(update_fields=["revision"])
        now = readable_document(published)
        change = Change(document=now or Document(), operation=EditOperation.DISCARD)
        journal.record(draft, was if now else None, change, _name(author), published.revision)
        return published


def draft_number(version: FlowVersion | None) -> int:
    """Return the number of the draft that the present version is, or whose edits lead to it."""
    if version is None:
        return 1
    return version.number if version.draft_of_id else version.number + 1


def stale_revision(
    flow: Flow, *, steps: Collection[str] = (), moved: bool = False, since: int = 0
) -> StaleRevisionError:
    """Return the error for an edit of an old revision: who changed what, and when.

    With the ids of ``steps`` it tells who changed one of these after the revision ``since``, or
    with ``moved`` their order; as ``journal.edits``.
    """
    with atomic():
        draft, last = _committed_draft(flow), journal.last_edit(flow)
        changes = journal.edits(flow, steps=steps, moved=moved, since=since) if steps else []
    if changes:
        what = journal.describe_edit(changes[0], of_step=not moved)
    elif last is not None and _led_to(last, draft):
        what = journal.describe_edit(last)
    elif draft is None:
        what = gettext("The draft was published or discarded meanwhile.")
    else:
        what = journal.describe_edit(JournalEntry.of_draft(draft))
    advice = gettext("Nothing was written; reload the flow and repeat your change.")
    return StaleRevisionError(f"{what} {advice}")


def _led_to(edit: JournalEntry, draft: FlowVersion | None) -> bool:
    """Return whether it is by that edit that there is this draft, or no draft any more."""
    if draft is None:
        return edit.operation == EditOperation.DISCARD
    return edit.revision == draft.revision


def _with_version(step: Step) -> Step:
    if step.config_version is not None or not registry.knows_action(step.action):
        return step
    present = registry.get_action(step.action).action.config_version
    return replace(step, config_version=present)


def _draft(flow: Flow) -> FlowVersion | None:
    return FlowVersion.objects.filter(draft_of=flow).first()


def _committed_draft(flow: Flow) -> FlowVersion | None:
    # A locking read sees what others have committed meanwhile, on every database.
    return FlowVersion.objects.select_for_update().filter(draft_of=flow).first()


def as_seen(draft: FlowVersion, revision: int) -> QuerySet[FlowVersion]:
    """Return the row of a draft, if it still is one, and at that revision."""
    return FlowVersion.objects.filter(pk=draft.pk, draft_of__isnull=False, revision=revision)


def _create_draft(flow: Flow, author: Author) -> FlowVersion | None:
    """Copy the published version; None where another author was faster."""
    source = published_version(flow)
    copied = ("document", "digest", "revision") if source else ()
    columns = {name: getattr(source, name) for name in copied} or columns_of(Document())
    number = _next_number(flow)
    try:
        with atomic():
            return add_draft(flow, author, number=number, **columns)
    except IntegrityError:
        return None


def _next_number(flow: Flow) -> int:
    highest: int | None = flow.versions.aggregate(highest=Max("number"))["highest"]
    return (highest or 0) + 1


def _name(author: Author) -> str:
    return str(author or "")[:ACTOR_CHARACTERS]


@dataclass(frozen=True, slots=True)
class _Source:
    """The document of a version, to be parsed; found again by the other two, then compared."""

    key: int
    digest: str
    document: Any = field(hash=False)


@lru_cache(maxsize=CACHED_DOCUMENTS)
def _parsed(source: _Source) -> Document:
    return parse(source.document)
