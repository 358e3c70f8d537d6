"""Firing a trigger: inserts in the caller's transaction, everything else after its commit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import Error, IntegrityError, models, transaction

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.actions.trigger import connection as trigger_connection
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import encode, normalize
from flowcontrol_core.errors import EffectsError, StateError
from flowcontrol_core.models import FlowRun, Message, Refusal, SkippedFiring, TriggerEvent
from flowcontrol_core.runs.queue import outbox
from flowcontrol_core.runs.queue.dispatch import after_commit, dispatch
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, connection
from flowcontrol_core.runs.triggers import listeners
from flowcontrol_core.runs.triggers.listeners import Listeners, cache
from flowcontrol_core.runs.triggers.match import ConditionDatabaseError, Shot, aim

logger = logging.getLogger("flowcontrol.triggers")
_MAX_UNIQUE_KEY = 200


class Dispatcher:
    """What ``Trigger.fire`` calls once the site has started; it keeps its issues to itself.

    Only an error of the database that has ended the caller's transaction is raised on: its other
    writes are gone.
    """

    def is_listened_to(self, key: str) -> bool:
        try:
            listeners = cache.get()
        except Exception as error:
            if _ended_transaction(error):
                raise
            logger.exception("Who listens to the trigger %s could not be read.", key)
            return False
        return key in listeners.associations or key in listeners.waited

    def fire(
        self,
        trigger: Trigger,
        obj: models.Model | None,
        payload: Mapping[str, Any] | None,
        unique_key: str,
    ) -> None:
        """Fire, and log what goes wrong.

        Raises EffectsError in a step that must not write: that is the fault of its action.
        """
        try:
            trigger_flows(trigger.key, obj, payload, unique_key=unique_key)
        except EffectsError:
            raise
        except Exception as error:
            if _ended_transaction(error):
                raise
            logger.exception("The trigger %s could not be fired.", trigger.key)


def trigger_flows(
    key: str,
    obj: models.Model | None = None,
    payload: Mapping[str, Any] | None = None,
    *,
    unique_key: str = "",
) -> list[FlowRun]:
    """Fire a trigger by its key; give the runs that it created.

    They are created in the present transaction and executed after its commit. Raises
    UnknownTriggerError and StateError (a payload that is not JSON, or too large); Trigger.fire
    logs these.
    """
    trigger = registry.get_trigger(key)
    listeners = cache.get()
    if key not in listeners.associations and key not in listeners.waited:
        return []
    shoot = partial(_shoot, trigger, obj, _payload(payload), unique_key, listeners)
    try:
        shot = shoot()
    except ConditionDatabaseError as trouble:
        if _ended_transaction(trouble.error):
            raise trouble.error from None
        shot = shoot(careful=True)
    dispatch([run.pk for run in shot.runs])
    return shot.runs


def _payload(given: Mapping[str, Any] | None) -> dict[str, Any]:
    payload: dict[str, Any] = normalize(dict(given or {}), "payload")
    size, most = len(json.dumps(encode(payload))), get_settings().STATE_MAX_BYTES
    if size > most:
        raise StateError(
            f"The payload has {size:,} bytes as JSON; at most {most:,} are possible (setting "
            "STATE_MAX_BYTES). Put a key into it and read the rest in the flow."
        )
    return payload


def _shoot(
    trigger: Trigger,
    obj: models.Model | None,
    payload: Mapping[str, Any],
    unique_key: str,
    listeners: Listeners,
    *,
    careful: bool = False,
) -> Shot:
    """Write what comes of a firing: one statement a table, which nobody else's has to wait for."""
    associations = listeners.associations.get(trigger.key, ())
    with transaction.atomic(using=alias()):
        shot = Shot(
            trigger=trigger,
            obj=obj,
            payload=payload,
            now=clock().now(),
            configs=listeners.configs,
            careful=careful,
        )
        if _keep_event(shot, waited=trigger.key in listeners.waited, unique_key=unique_key):
            aim(shot, associations)
        else:
            for association in associations:
                shot.refuse(association, Refusal.DUPLICATE, unique_key)
        _write(shot)
    if shot.messages:
        after_commit(partial(outbox.deliver_messages, {one.run_id for one in shot.messages}))
    return shot


def _keep_event(shot: Shot, *, waited: bool, unique_key: str) -> bool:
    """Keep the event where a live version waits for it, or to know it again.

    Say whether it is a new one.
    """
    if not waited and not unique_key:
        return True
    event = TriggerEvent(
        key=shot.trigger.key,
        content_type_id=shot.about["content_type_id"],
        object_key=shot.about["object_key"],
        payload=encode(shot.payload),
        unique_key=_unique(shot.trigger.key, unique_key) if unique_key else None,
        created_at=shot.now,
        undelivered_since=shot.now if waited else None,
    )
    try:
        _insert_event(event)
    except IntegrityError:
        return False
    if waited:
        after_commit(partial(outbox.deliver_events, [event.pk]))
    return True


def _insert_event(event: TriggerEvent) -> None:
    if event.unique_key is None:
        event.save(force_insert=True, using=alias())
        return
    with transaction.atomic(using=alias()):
        event.save(force_insert=True, using=alias())


def _unique(key: str, unique_key: str) -> str:
    """Give a text that is as unique as the two keys, however long they are."""
    text = f"{key}:{unique_key}"
    if len(text) <= _MAX_UNIQUE_KEY:
        return text
    return f"{key[:100]}#{hashlib.sha256(text.encode()).hexdigest()}"


def _write(shot: Shot) -> None:
    if shot.runs:
        FlowRun.objects.using(alias()).bulk_create(shot.runs)
    if shot.messages:
        Message.objects.using(alias()).bulk_create(shot.messages)
    if shot.skipped_firings:
        SkippedFiring.objects.using(alias()).bulk_create(shot.skipped_firings)


def _ended_transaction(error: BaseException) -> bool:
    """Say whether an error has ended the caller's transaction.

    By then the savepoint around the firing has been rolled back, if the database still knew it.
    """
    database = connection()
    broken = database.needs_rollback or database.closed_in_transaction
    return isinstance(error, Error) and database.in_atomic_block and broken


def connect() -> None:
    """Connect triggers with the runtime: from now on firing one does something."""
    trigger_connection.receiver = Dispatcher()
    listeners.connect()
