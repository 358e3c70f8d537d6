"""Flows as a whole: create, rename, limit, switch on and off, pause, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from flowcontrol_core.bounds import ACTOR_CHARACTERS
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, EditError, Problem
from flowcontrol_core.flows import drafts
from flowcontrol_core.flows.drafts import Author
from flowcontrol_core.flows.permissions import refuse_live_change, refuse_unplaceable
from flowcontrol_core.models import Flow, FlowEvent, FlowOperation, FlowRun, Status
from flowcontrol_core.texts import storable_text

#: The limits, and what happens to a run that exceeds one; one that counts all runs ever skips it.
LIMITS = ("max_concurrent", "max_concurrent_per_object", "max_per_object")
POLICIES = ("max_concurrent_policy", "max_concurrent_per_object_policy")
RETENTION = ("queue", "retention_days", "retention_runs")
#: What a flow has apart from its document; unversioned, so in force at once.
FIELDS = ("name", "description", *LIMITS, *POLICIES, *RETENTION)
#: Runs that are deleted with one statement.
CHUNK = 500
_COLUMNS = frozenset(field.name for field in Flow._meta.get_fields())


def record(
    key: str,
    operation: FlowOperation,
    values: Mapping[str, Any] | None = None,
    *,
    by: Any = None,
    reason: str = "",
) -> None:
    """Add what was done to the history of a flow, in the transaction that does it."""
    FlowEvent.objects.create(
        key=key,
        operation=operation,
        values=dict(values or {}),
        note=storable_text(reason),
        actor=storable_text(by, ACTOR_CHARACTERS),
        at=timezone.now(),
    )


def create_flow(
    *,
    key: str,
    name: str,
    author: Author = None,
    document: Document | None = None,
    by: Any = None,
    reason: str = "",
    **fields: Any,
) -> Flow:
    """Create a flow, inactive, with a draft of the document (by default without steps).

    ``fields`` are ``description``, the limits and their policies, ``queue``, ``retention_days`` and
    ``retention_runs``; ``by`` (who, by default the author) and ``reason`` are recorded. Raises
    DocumentError, with the problems by field, for a key that is malformed or taken and for other
    wrong values, and NotPermittedError where the author may not place one of the actions.
    """
    flow = Flow(key=key, name=name, **_known(fields))
    content = document or Document()
    refuse_unplaceable(Document(), content, author)
    columns = drafts.columns_of(content)
    _validate(flow, exclude=())
    try:
        with drafts.atomic():
            flow.save(force_insert=True)
            drafts.add_draft(flow, author, number=1, **columns)
            record(flow.key, FlowOperation.CREATE, by=by or author, reason=reason)
    except IntegrityError as error:
        if Flow.objects.filter(key=key).exists():
            text = gettext("There is a flow with the key %(key)r already; choose another one.")
            raise DocumentError([Problem("key", text % {"key": key}, field="key")]) from error
        raise
    return flow


def change_flow(
    flow: Flow, *, author: Author = None, by: Any = None, reason: str = "", **fields: Any
) -> Flow:
    """Change the name, the description or the limits, and write nothing else.

    They are not part of a version, so they are in force at once. Recorded is ``by``, by default the
    author. Raises NotPermittedError where the author may not change a live flow, and
    DocumentError, with the problems by field, for wrong values.
    """
    known = _known(fields)
    for name, value in known.items():
        setattr(flow, name, value)
    _validate(flow, exclude=_COLUMNS - set(fields))
    with drafts.atomic():
        drafts.lock(flow)
        # Compared with the row: a form has set the values of its instance already.
        stored = Flow.objects.get(pk=flow.pk)
        changed = [name for name, value in known.items() if getattr(stored, name) != value]
        if changed:
            refuse_live_change(flow, author)
        _write(flow, *fields)
        if changed:
            fields_changed = {"fields": ", ".join(changed)}
            record(flow.key, FlowOperation.CHANGE, fields_changed, by=by or author, reason=reason)
    return flow


def activate(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """Let the flow start runs; raises EditError where nothing is published."""
    flow.refresh_from_db(fields=["published"])
    if flow.published_id is None:
        text = gettext("The flow “%(flow)s” cannot be activated: publish its draft first.")
        raise EditError(text % {"flow": flow.key})
    return _switch(flow, FlowOperation.ACTIVATE, by, reason, active=True)


def deactivate(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """Start no further runs; those in flight continue."""
    return _switch(flow, FlowOperation.DEACTIVATE, by, reason, active=False)


def pause(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """Pause what waits as well: runs that become due stop where they are."""
    return _switch(flow, FlowOperation.PAUSE, by, reason, paused=True)


def resume(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """End the pause; the caller wakes the runs that it paused."""
    return _switch(flow, FlowOperation.RESUME, by, reason, paused=False)


def delete_flow(flow: Flow, *, by: Any = None, reason: str = "") -> int:
    """Delete a flow with its versions, its triggers and its runs; return the number of runs.

    Raises EditError where runs have not ended: cancel them first. It is deactivated before, so
    that no further run starts meanwhile.
    """
    _refuse_live(flow)
    if flow.active:
        deactivate(flow, by=by, reason=reason)
    with drafts.atomic():
        drafts.lock(flow)
        _refuse_live(flow)
        deleted = _delete_runs(flow)
        flow.delete()
        record(flow.key, FlowOperation.DELETE, {"runs": deleted}, by=by, reason=reason)
    return deleted


def _switch(flow: Flow, operation: FlowOperation, by: Any, reason: str, **values: bool) -> Flow:
    with drafts.atomic():
        for name, value in values.items():
            setattr(flow, name, value)
        _write(flow, *values)
        record(flow.key, operation, by=by, reason=reason)
    return flow


def _write(flow: Flow, *names: str) -> None:
    """Write the named columns only, so that two operations at once do not undo each other."""
    flow.updated_at = timezone.now()
    flow.save(update_fields=[*names, "updated_at"])


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        text = gettext(
            "%(unknown)s cannot be set on a flow here; possible are %(names)s. "
            "Use activate() and pause() to switch it on or off."
        )
        raise EditError(text % {"unknown": ", ".join(unknown), "names": ", ".join(FIELDS)})
    return fields


def _validate(flow: Flow, exclude: Iterable[str]) -> None:
    try:
        flow.full_clean(exclude=exclude)
    except ValidationError as error:
        found = [(name, text) for name, texts in error.message_dict.items() for text in texts]
        raise DocumentError([Problem(name, text, field=name) for name, text in found]) from error


def _refuse_live(flow: Flow) -> None:
    live = FlowRun.objects.filter(flow=flow).live().count()
    if live:
        text = ngettext(
            "%(count)d run of the flow has not ended. Cancel it, or wait for its end.",
            "%(count)d runs of the flow have not ended. Cancel them, or wait for their end.",
            live,
        )
        refused = gettext("The flow “%(flow)s” cannot be deleted.") % {"flow": flow}
        raise EditError(f"{refused} {text % {'count': live}}")


def _delete_runs(flow: Flow) -> int:
    ended, deleted = FlowRun.objects.filter(flow=flow, status=Status.DONE), 0
    while ids := list(ended.values_list("pk", flat=True)[:CHUNK]):
        FlowRun.objects.filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted
