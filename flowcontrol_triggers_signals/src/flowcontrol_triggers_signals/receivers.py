"""Connects the triggers of models to Django's signals.

Django sends the signals of a save only for the class of the object, so the triggers of a model
listen to its proxies and to the models derived from it too. It sends the signals of a deletion for
the model of each table, so derived models are left out there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from django.apps import apps
from django.db import Error, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_save

from flowcontrol_triggers_signals.changes import read_before
from flowcontrol_triggers_signals.model_triggers import ModelTriggers

logger = logging.getLogger("flowcontrol.triggers")

_BEFORE: Final = "_flowcontrol_before"
UID: Final = "flowcontrol_triggers_signals"
Triggers = Sequence[ModelTriggers]


def connect_models(triggers: Triggers, senders: Iterable[type[Model]] | None = None) -> None:
    """Connect the triggers of models to the signals of all models, or of the given ones."""
    for sender in apps.get_models(include_auto_created=True) if senders is None else senders:
        saved = [each for each in triggers if is_saved_with(each.model, sender)]
        deleted = [each for each in saved if is_deleted_with(each.model, sender)]
        _connect(pre_save, sender, _before_save, saved)
        _connect(post_save, sender, _after_save, saved)
        _connect(post_delete, sender, _after_delete, deleted)


def is_saved_with(model: type[Model], sender: type[Model]) -> bool:
    """Return whether objects of ``sender`` are objects of ``model``."""
    return issubclass(sender, model)


def is_deleted_with(model: type[Model], sender: type[Model]) -> bool:
    """Return whether Django reports a deleted object of ``model`` by the signal of ``sender``."""
    has_same_table = sender._meta.concrete_model is model._meta.concrete_model
    return has_same_table and is_saved_with(model, sender)


def _connect(
    signal: Any, sender: type[Model], handle: Callable[..., None], triggers: Triggers
) -> None:
    """Connect a handler whose errors never reach the code that saves.

    The exception is a database error inside of a transaction: it may have ended the transaction,
    and hiding that would be worse.
    """

    def receive(*, using: str, **kwargs: Any) -> None:
        try:
            handle(triggers, using=using, **kwargs)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, Error) and transaction.get_connection(using).in_atomic_block:
                raise
            logger.exception("The triggers of %s could not be fired.", sender._meta.label)

    if triggers:
        # Strong, or the receiver would be gone as soon as this function returns.
        signal.connect(receive, sender=sender, weak=False, dispatch_uid=UID)


def _before_save(triggers: Triggers, *, instance: Model, raw: bool, **options: Any) -> None:
    # One of a save that failed may be there still.
    instance.__dict__.pop(_BEFORE, None)
    if not raw and any(each.updated.is_listened_to() for each in triggers):
        before = read_before(instance, options["using"], options["update_fields"])
        if before is not None:
            instance.__dict__[_BEFORE] = before


def _after_save(triggers: Triggers, *, instance: Model, created: bool, raw: bool, **_: Any) -> None:
    before = instance.__dict__.pop(_BEFORE, None)
    if raw:
        return
    for each in triggers:
        if created:
            each.created.fire(instance)
        elif before is not None:
            each.fire_updated(instance, before)


def _after_delete(triggers: Triggers, *, instance: Model, **_: Any) -> None:
    for each in triggers:
        each.fire_deleted(instance)
