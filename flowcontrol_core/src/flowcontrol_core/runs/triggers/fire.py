"""Firing a trigger: inserts in the caller's transaction, everything else after its commit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextvars import copy_context
from functools import partial
from typing import Any

from django.db import Error, IntegrityError, models, transaction
from django.utils.asyncio import async_unsafe
from django.utils.translation import gettext

from flowcontrol_core.actions import trigger as triggers
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import encode, normalize
from flowcontrol_core.errors import EffectsError, StateError, raise_interruption
from flowcontrol_core.models import FlowRun, Message, Refusal, SkippedFiring, TriggerEvent
from flowcontrol_core.runs.queue.outbox import (
    deliver_events,
    deliver_messages,
    is_awaited,
)
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    after_commit,
    alias,
    connection,
    dispatch,
    note_inserted,
    transaction_elsewhere,
)
from flowcontrol_core.runs.triggers import listeners
from flowcontrol_core.runs.triggers.listeners import Listeners, cache
from flowcontrol_core.runs.triggers.match import ConditionDatabaseError, FiredEvent, Match, match
from flowcontrol_core.runs.triggers.result import DEFERRED, UNHEARD, FiringResult, RefusedFlow
from flowcontrol_core.texts import key_problem

logger = logging.getLogger("flowcontrol.triggers")
_MAX_UNIQUE_KEY = 200


def connect() -> None:
    """Connect triggers with the engine: from now on firing one does something."""
    triggers.connection.receiver = Dispatcher()
    listeners.connect()


class Dispatcher:
    """What ``Trigger.fire`` calls once the site has started; it logs its own failures.

    Only an error of the database that has ended the caller's transaction is raised on: its other
    writes are gone.
    """

    def is_listened_to(self, key: str) -> bool:
        try:
            known, entry = cache.get(), registry.triggers.get(key)
            is_about_guarded = entry is not None and entry.trigger.model.lower() in known.guarded
            return known.hears(key) or is_about_guarded
        except BaseException as error:
            raise_interruption(error)
            if _ended_transaction(error):
                raise
            logger.exception("The listeners of the trigger %s could not be read.", key)
            return False

    def fire(
        self,
        trigger: Trigger,
        obj: models.Model | None,
        payload: Mapping[str, Any] | None,
        unique_key: str,
    ) -> None:
        """Fire, and log what fails.

        Raises EffectsError in a step that must not write: that is the fault of its action.
        """
        try:
            _fire(trigger, obj, payload, unique_key)
        except EffectsError:
            raise
        except BaseException as error:
            raise_interruption(error)
            if _ended_transaction(error):
                raise
            logger.exception("The trigger %s could not be fired.", trigger.key)


@async_unsafe("trigger_flows() asks the database: call it through asgiref.sync.sync_to_async().")
def trigger_flows(
    key: str,
    obj: models.Model | None = None,
    payload: Mapping[str, Any] | None = None,
    *,
    unique_key: str = "",
) -> FiringResult:
    """Fire a trigger by its key; return what became of the event: a sequence of the runs started.

    They are created in the present transaction and executed after its commit; in a transaction of
    another database than that of the runs, it fires after the commit, and the result says so. An
    event whose ``unique_key`` was that of an earlier one is a duplicate; only an event that started
    or notified a run, or that a run waits for, spends its key. Raises UnknownTriggerError,
    StateError (a payload that is not JSON, or too large) and, in an event loop,
    SynchronousOnlyOperation; Trigger.fire logs the others.
    """
    return _fire(registry.get_trigger(key), obj, payload, unique_key)


def _fire(
    trigger: Trigger,
    obj: models.Model | None,
    payload: Mapping[str, Any] | None,
    unique_key: str,
) -> FiringResult:
    known = cache.get()
    if not (known.hears(trigger.key) or known.guards(obj)):
        return UNHEARD
    checked = _payload(payload)
    if elsewhere := transaction_elsewhere():
        # Under the run whose step fires it: what it starts is deeper by one.
        fire = partial(copy_context().run, Dispatcher().fire, trigger, obj, checked, unique_key)
        transaction.on_commit(fire, using=elsewhere)
        return DEFERRED
    insert = partial(_insert_match, trigger, obj, checked, unique_key, known)
    try:
        found = insert()
    except ConditionDatabaseError as failure:
        if _ended_transaction(failure.error):
            raise failure.error from None
        found = insert(careful=True)
    dispatch([run.pk for run in found.runs])
    return found


def _payload(given: Mapping[str, Any] | None) -> dict[str, Any]:
    payload: dict[str, Any] = normalize(dict(given or {}), "payload")
    size, most = len(json.dumps(encode(payload))), get_settings().STATE_MAX_BYTES
    if size > most:
        text = gettext(
            "The payload has %(size)d bytes as JSON; at most %(most)d are possible (setting "
            "STATE_MAX_BYTES). Put a key into it and read the rest in the flow."
        )
        raise StateError(text % {"size": size, "most": most})
    return payload


def _insert_match(
    trigger: Trigger,
    obj: models.Model | None,
    payload: Mapping[str, Any],
    unique_key: str,
    known: Listeners,
    *,
    careful: bool = False,
) -> FiringResult:
    """Insert what comes of a firing: one statement a table, which no other has to wait for."""
    is_waited = trigger.key in known.waited
    with transaction.atomic(using=alias()):
        now = clock().time_of_event() if is_waited else clock().now()
        event = FiredEvent.of(trigger, obj, payload, now)
        found = match(event, known, careful=careful)
        is_new = _store(event, found, unique_key, is_waited=is_waited)
        if not is_new:
            flow_triggers = known.flow_triggers.get(trigger.key, ())
            skipped = [event.skip(each, Refusal.DUPLICATE, unique_key) for each in flow_triggers]
            found = Match(skipped=skipped, checks=found.checks)
        _insert(found)
    if told := {message.run_id for message in (*found.messages, *found.checks)}:
        after_commit(partial(deliver_messages, told))
    return FiringResult(
        runs=tuple(found.runs),
        notified=len({message.run_id for message in found.messages}),
        refused=tuple(map(_refused, found.skipped)),
        is_stored=is_new and is_waited,
        is_duplicate=not is_new,
        is_heard=known.hears(trigger.key),
    )


def _store(event: FiredEvent, found: Match, unique_key: str, *, is_waited: bool) -> bool:
    """Store an event for those who wait for it, and its key; return whether it is a new one."""
    if not unique_key:
        return not is_waited or _store_event(event, is_waited=True)
    key = _unique(event.trigger.key, unique_key)
    if _is_taken(event, found, is_waited=is_waited):
        return _store_event(event, is_waited=is_waited, unique_key=key)
    # What no one takes leaves its key to the next event.
    is_new = not TriggerEvent.objects.using(alias()).filter(unique_key=key).exists()
    if is_new and is_waited:
        _store_event(event, is_waited=True)
    return is_new


def _is_taken(event: FiredEvent, found: Match, *, is_waited: bool) -> bool:
    """Return whether an event starts or notifies a run, or one waits for it."""
    return bool(found.runs or found.messages) or (
        is_waited and is_awaited(event.trigger.key, event.about)
    )


def _refused(skipped: SkippedFiring) -> RefusedFlow:
    key = skipped.flow_trigger.flow.key
    return RefusedFlow(flow=key, reason=Refusal(skipped.reason), detail=skipped.detail)


def _insert(found: Match) -> None:
    if found.runs:
        note_inserted(FlowRun.objects.using(alias()).bulk_create(found.runs))
    if found.messages or found.checks:
        Message.objects.using(alias()).bulk_create([*found.messages, *found.checks])
    if found.skipped:
        SkippedFiring.objects.using(alias()).bulk_create(found.skipped)


def _store_event(event: FiredEvent, *, is_waited: bool, unique_key: str | None = None) -> bool:
    """Insert the row of an event; return False where one with its key is there already."""
    row = TriggerEvent(
        key=event.trigger.key,
        **event.about,
        payload=encode(event.payload),
        unique_key=unique_key,
        created_at=event.now,
        undelivered_since=event.now if is_waited else None,
    )
    try:
        _insert_event(row)
    except IntegrityError:
        return False
    if is_waited:
        after_commit(partial(deliver_events, [row.pk]))
    return True


def _insert_event(event: TriggerEvent) -> None:
    if event.unique_key is None:
        event.save(force_insert=True, using=alias())
        return
    with transaction.atomic(using=alias()):
        event.save(force_insert=True, using=alias())


def _unique(key: str, unique_key: str) -> str:
    """Return a text that is as unique as the two keys, whatever they are."""
    text = f"{key}:{unique_key}"
    if not key_problem(text, _MAX_UNIQUE_KEY):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{key[:100]}#{digest}"


def _ended_transaction(error: BaseException) -> bool:
    """Return whether an error has ended the caller's transaction.

    By then the savepoint around the firing has been rolled back, if the database still knew it.
    """
    database = connection()
    broken = database.needs_rollback or database.closed_in_transaction
    return isinstance(error, Error) and database.in_atomic_block and broken
