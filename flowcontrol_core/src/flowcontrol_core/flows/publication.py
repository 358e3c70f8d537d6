"""Publish a draft: check it, and make it the immutable version that new runs start on."""

from __future__ import annotations

import logging
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext

from flowcontrol_core.document.diff import Diff, diff
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, Problem, PublishError
from flowcontrol_core.flows import drafts, references
from flowcontrol_core.flows.document_checks import check_document, inspect_document
from flowcontrol_core.flows.flow_triggers import check_associations
from flowcontrol_core.flows.lifecycle import record
from flowcontrol_core.flows.warnings import find_warnings
from flowcontrol_core.models import Flow, FlowOperation, FlowVersion

logger = logging.getLogger(__name__)


def publish(
    flow: Flow, *, by: Any = None, reason: str = "", revision: int | None = None
) -> FlowVersion:
    """Make the draft the published version; runs in flight stay on theirs.

    Raises PublishError with everything that would fail at run time, or where there is nothing
    to publish, and StaleRevisionError where the draft is not the one that the author has seen.
    What is probably wrong (``find_warnings``) is recorded with it.
    """
    draft = FlowVersion.objects.filter(draft_of=flow).first()
    if revision is not None and (draft is None or draft.revision != revision):
        with drafts.atomic():
            raise drafts.stale_revision(flow)
    if draft is None or is_unchanged(flow):
        text = gettext(
            "There is nothing to publish: the flow %(flow)r has no changes since its published "
            "version. Change something first."
        )
        raise PublishError([Problem("", text % {"flow": flow.key})])
    document = drafts.get_document(draft)
    # Plugins are asked outside of the transaction, and before anything is locked.
    problems, inspection = inspect_document(document, flow=flow)
    problems += check_associations(flow, document)
    if problems:
        raise PublishError(problems)
    # An action may have been registered since the site started.
    references.connect()
    warnings = [str(warning) for warning in find_warnings(document, flow=flow)]
    with drafts.atomic():
        _freeze(flow, draft, document, inspection.waits_for)
        values = {"version": draft.number} | ({"warnings": warnings} if warnings else {})
        record(flow.key, FlowOperation.PUBLISH, values, by=by, reason=reason)
    logger.info("%s was published by %s.", draft, by or "code")
    return draft


def is_unchanged(flow: Flow) -> bool:
    """Return whether there is nothing to publish."""
    published = drafts.published_version(flow)
    if published is None:
        return False
    draft = FlowVersion.objects.filter(draft_of=flow).only("digest").first()
    return draft is None or draft.digest == published.digest


def diff_with_published(flow: Flow) -> Diff:
    """Return what publishing would change; without a published version, everything is new."""
    old = drafts.get_document(drafts.published_version(flow))
    return diff(old, drafts.present_document(flow))


def present_problems(flow: Flow) -> list[Problem]:
    """Return what prevents publishing what the editor shows."""
    try:
        document = drafts.present_document(flow)
    except DocumentError as error:
        return list(error.problems)
    return check_document(document, flow=flow) + check_associations(flow, document)


def _freeze(flow: Flow, draft: FlowVersion, document: Document, waits_for: frozenset[str]) -> None:
    """Write it if the draft still is as it was checked."""
    drafts.lock(flow)
    now = timezone.now()
    frozen = drafts.as_seen(draft, draft.revision).update(
        published_at=now,
        updated_at=now,
        draft_of=None,
        object_type=document.object or "",
        guarded=bool(document.guard),
        time_zone=document.time_zone or "",
        waits_for="\n".join(sorted(waits_for)),
        # An action that was missing when the draft was written may have come since.
        **drafts.columns_of(document),
    )
    if not frozen:
        raise drafts.stale_revision(flow)
    draft.refresh_from_db()
    flow.published = draft
    flow.updated_at = now
    flow.save(update_fields=["published", "updated_at"])
