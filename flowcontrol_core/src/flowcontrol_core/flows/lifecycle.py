"""Flows as a whole: create, rename, limit, switch on and off, pause."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from flowcontrol_core.document.serialize import digest, to_data
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, EditError, Problem
from flowcontrol_core.flows.changes import atomic, record
from flowcontrol_core.flows.permissions import refuse_forbidden
from flowcontrol_core.models import Flow, FlowOperation, FlowVersion

#: The limits, and what happens to a run too many; one that counts all runs ever skips it.
LIMITS = ("max_concurrent", "max_concurrent_per_object", "max_per_object")
POLICIES = ("max_concurrent_policy", "max_concurrent_per_object_policy")
RETENTION = ("queue", "retention_days", "retention_runs")
#: What may be said about a flow apart from its document; unversioned, so in force at once.
FIELDS = ("name", "description", *LIMITS, *POLICIES, *RETENTION)
_COLUMNS = frozenset(field.name for field in Flow._meta.get_fields())


def create_flow(
    *,
    key: str,
    name: str,
    author: AbstractBaseUser | None = None,
    document: Document | None = None,
    by: Any = None,
    reason: str = "",
    **fields: Any,
) -> Flow:
    """Create a flow, inactive, with a draft of the document (by default without steps).

    ``fields`` are ``description``, the limits and their policies, ``queue``, ``retention_days`` and
    ``retention_runs``; ``by`` (who, by default the author) and ``reason`` are recorded. Raises
    DocumentError, with the problems by field, for a key that is malformed or taken and for other
    wrong values, and EditError where the author may not place one of the actions.
    """
    flow = Flow(key=key, name=name, **_known(fields))
    content = document or Document()
    refuse_forbidden(Document(), content, author)
    _validate(flow, exclude=())
    try:
        with atomic():
            flow.save(force_insert=True)
            FlowVersion.objects.create(
                flow=flow,
                draft_of=flow,
                number=1,
                document=to_data(content),
                digest=digest(content),
                author_id=author.pk if author else None,
            )
            record(flow.key, FlowOperation.CREATE, by=by or author, reason=reason)
    except IntegrityError as error:
        if Flow.objects.filter(key=key).exists():
            raise DocumentError([_taken(key)]) from error
        raise
    return flow


def change_flow(flow: Flow, *, by: Any = None, reason: str = "", **fields: Any) -> Flow:
    """Change the name, the description or the limits, and write nothing else.

    They are not part of a version, so they are in force at once. Raises DocumentError, with
    the problems by field, for wrong values.
    """
    known = _known(fields)
    changed = [name for name, value in known.items() if getattr(flow, name) != value]
    for name, value in known.items():
        setattr(flow, name, value)
    _validate(flow, exclude=_COLUMNS - set(fields))
    with atomic():
        _write(flow, *fields)
        if changed:
            fields_changed = {"fields": ", ".join(changed)}
            record(flow.key, FlowOperation.CHANGE, fields_changed, by=by, reason=reason)
    return flow


def activate(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """Let the flow start runs; raises EditError where nothing is published."""
    flow.refresh_from_db(fields=["published"])
    if flow.published_id is None:
        raise EditError(
            f"The flow {flow.key!r} cannot be activated: nothing of it is published. Publish "
            "its draft first."
        )
    flow.active = True
    return _switch(flow, "active", FlowOperation.ACTIVATE, by, reason)


def deactivate(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """Start no further runs; those in flight go on."""
    flow.active = False
    return _switch(flow, "active", FlowOperation.DEACTIVATE, by, reason)


def pause(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """Pause what waits as well: runs that become due stop where they are."""
    flow.paused = True
    return _switch(flow, "paused", FlowOperation.PAUSE, by, reason)


def resume(flow: Flow, *, by: Any = None, reason: str = "") -> Flow:
    """End the pause; whoever calls this wakes the runs that were held (``runtime``)."""
    flow.paused = False
    return _switch(flow, "paused", FlowOperation.RESUME, by, reason)


def _switch(flow: Flow, name: str, operation: FlowOperation, by: Any, reason: str) -> Flow:
    with atomic():
        _write(flow, name)
        record(flow.key, operation, by=by, reason=reason)
    return flow


def _write(flow: Flow, *names: str) -> None:
    """Write the named columns only, so that two verbs at once do not undo each other."""
    flow.updated_at = timezone.now()
    flow.save(update_fields=[*names, "updated_at"])


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise EditError(
            f"{', '.join(unknown)} cannot be set on a flow this way; possible are "
            f"{', '.join(FIELDS)}. To switch it on or off there are activate() and pause()."
        )
    return fields


def _validate(flow: Flow, exclude: Iterable[str]) -> None:
    try:
        flow.full_clean(exclude=exclude)
    except ValidationError as error:
        raise DocumentError(
            [
                Problem(path=name, message=message, field=name)
                for name, messages in error.message_dict.items()
                for message in messages
            ]
        ) from error


def _taken(key: str) -> Problem:
    message = f"There is a flow with the key {key!r} already; choose another one."
    return Problem(path="key", message=message, field="key")
