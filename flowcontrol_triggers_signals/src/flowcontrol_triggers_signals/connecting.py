"""Connects the triggers of models with Django's signals.

Django sends the signals of a save for the class of the object only, so a model's triggers listen to
its proxies and to the models derived from it too. The signals of a deletion it sends for each
table's model, so there the derived models are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, Final

from django.apps import apps
from django.db import Error, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_save

from flowcontrol_triggers_signals.comparing import read_before
from flowcontrol_triggers_signals.watching import WatchedModel

logger = logging.getLogger("flowcontrol.triggers")

_BEFORE: Final = "_flowcontrol_before"
_UID: Final = "flowcontrol_triggers_signals"
Handler = Callable[..., None]
Models = Iterable[type[Model]]


def connect_models(watched: Sequence[WatchedModel], senders: Models | None = None) -> None:
    """Connect the triggers of models with the signals of all models, or of the given ones."""
    for sender in apps.get_models(include_auto_created=True) if senders is None else senders:
        saved = [each for each in watched if is_saved_with(each.model, sender)]
        deleted = [each for each in saved if is_deleted_with(each.model, sender)]
        if saved:
            _connect(pre_save, sender, _before_save(saved))
            _connect(post_save, sender, _after_save(saved))
        if deleted:
            _connect(post_delete, sender, _after_delete(deleted))


def disconnect_models(senders: Models) -> None:
    """Undo ``connect_models`` for these models."""
    for sender in senders:
        for signal in (pre_save, post_save, post_delete):
            signal.disconnect(sender=sender, dispatch_uid=_UID)


def is_saved_with(model: type[Model], sender: type[Model]) -> bool:
    """Say whether objects of ``sender`` are objects of ``model``."""
    return issubclass(sender, model)


def is_deleted_with(model: type[Model], sender: type[Model]) -> bool:
    """Say whether Django tells of a deleted object of ``model`` by the signal of ``sender``."""
    return is_saved_with(model, sender) and (
        sender._meta.concrete_model is model._meta.concrete_model
    )


def _connect(signal: Any, sender: type[Model], handler: Handler) -> None:
    # Strong, or the handler would be gone as soon as this function returns.
    signal.connect(handler, sender=sender, weak=False, dispatch_uid=_UID)


def _before_save(watched: Sequence[WatchedModel]) -> Handler:
    @_harmless
    def handle(
        *, instance: Model, raw: bool, using: str, update_fields: Any = None, **_: Any
    ) -> None:
        # One of a save that failed may be there still.
        instance.__dict__.pop(_BEFORE, None)
        if not raw and any(each.updated.is_listened_to() for each in watched):
            before = read_before(instance, using, update_fields)
            if before is not None:
                instance.__dict__[_BEFORE] = before

    return handle


def _after_save(watched: Sequence[WatchedModel]) -> Handler:
    @_harmless
    def handle(*, instance: Model, created: bool, raw: bool, **_: Any) -> None:
        before = instance.__dict__.pop(_BEFORE, None)
        if raw:
            return
        for each in watched:
            if created:
                each.fire_created(instance)
            elif before is not None:
                each.fire_updated(instance, before)

    return handle


def _after_delete(watched: Sequence[WatchedModel]) -> Handler:
    @_harmless
    def handle(*, instance: Model, **_: Any) -> None:
        for each in watched:
            each.fire_deleted(instance)

    return handle


def _harmless(handler: Handler) -> Handler:
    """Keep what goes wrong here away from whoever saves.

    Not so an error of the database inside of a transaction: that may be at its end, and hiding it
    would be worse.
    """

    @wraps(handler)
    def handle(sender: type[Model], using: str, **kwargs: Any) -> None:
        try:
            handler(using=using, **kwargs)
        except Exception as error:
            if isinstance(error, Error) and transaction.get_connection(using).in_atomic_block:
                raise
            logger.exception("The triggers of %s could not be fired.", sender._meta.label)

    return handle
