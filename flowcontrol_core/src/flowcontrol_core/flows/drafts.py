"""The draft of a flow: open, change, discard; nobody's change is ever overwritten.

``revision`` counts the changes of a flow across its versions. Whoever edits names the one they
have seen; a draft begins with that of the version it was copied from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext

from flowcontrol_core.document.parse import parse
from flowcontrol_core.document.serialize import digest, to_data
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import EditError, StaleRevisionError
from flowcontrol_core.flows.changes import atomic, lock
from flowcontrol_core.flows.permissions import refuse_forbidden
from flowcontrol_core.models import Flow, FlowVersion

Operation: TypeAlias = Callable[[Document], Document]

CACHED_DOCUMENTS = 256


def get_document(version: FlowVersion) -> Document:
    """Give the document of a version; that of a published one is cached.

    Raises DocumentError for one that this version of flowcontrol cannot read.
    """
    if version.is_draft:
        return parse(version.document)
    return _cached(_Source(version.pk, version.digest, version.document))


def present_version(flow: Flow) -> FlowVersion | None:
    """Give what the editor shows: the draft, or else the published version."""
    draft = FlowVersion.objects.filter(draft_of=flow).first()
    return draft or published_version(flow)


def published_version(flow: Flow) -> FlowVersion | None:
    """Look it up: the instance at hand may be older than the last publication."""
    found = Flow.objects.select_related("published").filter(pk=flow.pk).first()
    return found.published if found else None


def present_document(flow: Flow) -> Document:
    """Give the document of the present version; an empty one where there is none."""
    version = present_version(flow)
    return get_document(version) if version else Document()


def present_revision(flow: Flow) -> int:
    """Give the revision to be named in an edit of what the editor shows."""
    version = present_version(flow)
    return version.revision if version else 1


def open_draft(flow: Flow, author: AbstractBaseUser | None = None) -> FlowVersion:
    """Give the draft; where there is none, a new one copied from the published version.

    Two at once get the same one. Raises StaleRevisionError where one came and went meanwhile.
    """
    with atomic():
        lock(flow)
        draft = FlowVersion.objects.filter(draft_of=flow).first()
        return draft or _create_draft(flow, author) or _draft_of_somebody_faster(flow)


def edit_draft(
    flow: Flow, operation: Operation, *, revision: int | None, author: AbstractBaseUser | None
) -> FlowVersion:
    """Apply an operation to the draft, opening one if need be, and give the changed version.

    ``revision`` is the one that the author has seen; ``None`` applies it to whatever is there.
    An operation that changes nothing writes nothing and opens no draft. Raises
    StaleRevisionError where somebody else was faster, and whatever the operation raises.
    """
    with atomic():
        lock(flow)
        seen = present_version(flow) or open_draft(flow, author)
        if revision is not None and revision != seen.revision:
            raise stale_revision(flow)
        old = get_document(seen)
        new = operation(old)
        if digest(new) == digest(old):
            return seen
        refuse_forbidden(old, new, author)
        draft = open_draft(flow, author)
        if not _swap(draft, seen.revision, new, author):
            raise stale_revision(flow)
        draft.refresh_from_db()
        return draft


def discard_draft(flow: Flow, *, revision: int | None = None) -> FlowVersion:
    """Delete the draft and give the published version, which the editor shows then.

    Raises EditError where there is no draft, or nothing published to go back to.
    """
    with atomic():
        lock(flow)
        draft = FlowVersion.objects.filter(draft_of=flow).first()
        if draft is None:
            raise EditError(f"The flow {flow.key!r} has no draft; there is nothing to discard.")
        published = published_version(flow)
        if published is None:
            raise EditError(
                f"The flow {flow.key!r} was never published, so there is nothing to go back to; "
                "delete its steps or the flow instead."
            )
        expected = draft.revision if revision is None else revision
        deleted, _ = FlowVersion.objects.filter(draft_of=flow, revision=expected).delete()
        if not deleted:
            raise stale_revision(flow)
        # Later drafts count on from here, so that an edit made on the discarded one is stale.
        published.revision = draft.revision + 1
        published.save(update_fields=["revision"])
        return published


def restore_version(
    flow: Flow,
    version: FlowVersion,
    *,
    revision: int | None = None,
    author: AbstractBaseUser | None = None,
) -> FlowVersion:
    """Make the document of an older version the draft; raises EditError for another flow's."""
    if version.flow_id != flow.pk:
        raise EditError(f"{version} is no version of the flow {flow.key!r}; choose one of its own.")
    document = get_document(version)
    return edit_draft(flow, lambda _: document, revision=revision, author=author)


def _create_draft(flow: Flow, author: AbstractBaseUser | None) -> FlowVersion | None:
    """Copy the published version; ``None`` where somebody else was faster."""
    source = published_version(flow)
    document = get_document(source) if source else Document()
    number = _next_number(flow)
    try:
        with atomic():
            return FlowVersion.objects.create(
                flow=flow,
                draft_of=flow,
                number=number,
                document=to_data(document),
                digest=digest(document),
                revision=source.revision if source else 1,
                author_id=_key(author),
            )
    except IntegrityError:
        return None


def _draft_of_somebody_faster(flow: Flow) -> FlowVersion:
    # A locking read sees what others have committed meanwhile, on every database.
    draft = FlowVersion.objects.select_for_update().filter(draft_of=flow).first()
    if draft is None:
        raise stale_revision(flow)
    return draft


def _swap(
    draft: FlowVersion, revision: int, document: Document, author: AbstractBaseUser | None
) -> bool:
    """Write the document if the draft still is as it was seen; say whether it was."""
    values: dict[str, Any] = {
        "document": to_data(document),
        "digest": digest(document),
        "revision": revision + 1,
        "author_id": _key(author),
        "updated_at": timezone.now(),
    }
    unchanged = FlowVersion.objects.filter(pk=draft.pk, draft_of__isnull=False, revision=revision)
    return unchanged.update(**values) == 1


def stale_revision(flow: Flow) -> StaleRevisionError:
    """Give the error for an edit of an old revision: who changed it since, and when.

    To be called inside of a transaction.
    """
    # A locking read sees what others have committed meanwhile, on every database.
    draft = FlowVersion.objects.select_for_update().filter(draft_of=flow).first()
    advice = gettext("Nothing was written; reload the flow and repeat your change.")
    if draft is None:
        what = gettext("The draft was published or discarded meanwhile.")
        return StaleRevisionError(f"{what} {advice}")
    text = gettext("The flow was changed by %(author)s at %(time)s (revision %(revision)s).")
    moment = timezone.localtime(draft.updated_at)
    what = text % {
        "author": draft.author or gettext("somebody"),
        "time": f"{moment:%Y-%m-%d %H:%M:%S}",
        "revision": draft.revision,
    }
    return StaleRevisionError(f"{what} {advice}")


def _next_number(flow: Flow) -> int:
    highest: int | None = flow.versions.aggregate(highest=Max("number"))["highest"]
    return (highest or 0) + 1


def _key(author: AbstractBaseUser | None) -> Any:
    return author.pk if author is not None else None


@dataclass(frozen=True, slots=True)
class _Source:
    """A published version to be parsed; ``document`` follows from the other two."""

    key: int
    digest: str
    document: Any = field(compare=False)


@lru_cache(maxsize=CACHED_DOCUMENTS)
def _cached(source: _Source) -> Document:
    return parse(source.document)
