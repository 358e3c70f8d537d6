"""The model objects of runs: named by content type and key, read when they are needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import copy
from typing import Any, NoReturn

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models

from flowcontrol_core.errors import raise_interruption
from flowcontrol_core.models import FlowRun, Reason
from flowcontrol_core.runs.store.connection import alias, connection, is_lost_connection

MAX_TEXT = 200


class ObjectGone(Exception):
    """The model object of a run no longer exists; ``reason`` says what exactly is gone."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(str(reason))


def reference(obj: models.Model | None) -> dict[str, Any]:
    """Return the columns of a run that name its object."""
    if obj is None:
        return {"content_type_id": None, "object_key": None, "object_text": ""}
    content_type = ContentType.objects.db_manager(alias()).get_for_model(obj)
    return {
        "content_type_id": content_type.pk,
        "object_key": str(obj.pk),
        "object_text": describe_object(obj),
    }


def describe_object(obj: models.Model | None) -> str:
    """Return an object's text for people; never raises, whatever its ``__str__`` does."""
    if obj is None:
        return ""
    try:
        text = str(obj)
    except BaseException as error:  # noqa: BLE001 - a project's own method
        raise_interruption(error)
        text = f"{obj._meta.label} {obj.pk}"
    return text.replace("\x00", "")[:MAX_TEXT]


class ObjectSource:
    """Reads the objects of the runs of one claim, all of a model with one query.

    What was read is used for steps without a transaction of their own; ``fresh`` reads again.
    """

    def __init__(self, runs: Iterable[FlowRun]) -> None:
        self._keys: dict[int, set[str]] = defaultdict(set)
        self._read: dict[int, dict[str, Any] | None] = {}
        for run in runs:
            if run.content_type_id is not None and run.object_key is not None:
                self._keys[run.content_type_id].add(run.object_key)

    def get(self, run: FlowRun) -> Any:
        """Return the object of a run as read together with the others; raises ObjectGone."""
        content_type_id = run.content_type_id
        if content_type_id is None:
            return None
        if content_type_id not in self._read:
            if len(self._keys[content_type_id]) == 1:
                return self.fresh(run)
            self._read[content_type_id] = self._read_together(run, content_type_id)
        together = self._read[content_type_id]
        if together is None:
            return self.fresh(run)
        obj = together.get(str(run.object_key))
        # A copy for each run: what one does to it does not concern the others.
        return copy(obj) if obj is not None else _raise_gone(run)

    def _read_together(self, run: FlowRun, content_type_id: int) -> dict[str, Any] | None:
        """Return all objects of a model; ``None``: one of them fails, so each is read alone."""
        manager = _manager(run, content_type_id)
        keys = _valid_keys(manager.model, self._keys[content_type_id])
        try:
            return {str(obj.pk): obj for obj in manager.filter(pk__in=keys)}
        except BaseException as error:
            raise_interruption(error)
            if is_lost_connection(error):
                raise
            return None

    def fresh(self, run: FlowRun, *, lock: bool = False) -> Any:
        """Read the object of a run now; raises ObjectGone."""
        if run.content_type_id is None:
            return None
        manager = _manager(run, run.content_type_id)
        queryset = manager.select_for_update() if lock else manager.all()
        try:
            return queryset.get(pk=run.object_key)
        except (manager.model.DoesNotExist, ValidationError, ValueError, OverflowError):
            return _raise_gone(run)


class RunObject:
    """The object of one run: read once a transaction, forgotten before it and at its end.

    Until then it comes from what was read for all runs of the claim.
    """

    __slots__ = ("_cached", "_first", "_run", "_source")

    def __init__(self, run: FlowRun, source: ObjectSource) -> None:
        self._run = run
        self._source = source
        self._first = True
        self._cached: Any = None

    def load(self) -> Any:
        """Return the object; raises ObjectGone."""
        if self._cached is None:
            read = self._source.get if self._first else self._source.fresh
            self._cached = read(self._run)
        return self._cached

    def lock(self) -> Any:
        """Return the object, read and locked until the end of the transaction."""
        if not connection().in_atomic_block:
            raise RuntimeError("lock_object() works in actions with Effects.DATABASE only.")
        self._cached = self._source.fresh(self._run, lock=True)
        return self._cached

    def forget(self) -> None:
        """Read afresh from now on."""
        self._cached = None
        self._first = False


def _manager(run: FlowRun, content_type_id: int) -> Any:
    try:
        content_type = ContentType.objects.db_manager(alias()).get_for_id(content_type_id)
    except ContentType.DoesNotExist:
        raise ObjectGone(Reason.of("object_type_gone", object=run.object_text)) from None
    model = content_type.model_class()
    if model is None:
        label = f"{content_type.app_label}.{content_type.model}"
        raise ObjectGone(Reason.of("model_gone", model=label))
    return model._base_manager


def _valid_keys(model: type[models.Model], keys: Iterable[str]) -> list[Any]:
    """Leave out the keys that cannot be the model's, so that one bad run does not fail all."""
    valid = []
    for key in keys:
        try:
            valid.append(model._meta.pk.to_python(key))
        except (ValidationError, ValueError, AttributeError):
            continue
    return valid


def _raise_gone(run: FlowRun) -> NoReturn:
    raise ObjectGone(Reason.of("object_gone", object=run.object_text or run.object_key))
