"""The model objects of runs: named by model, database and key, read when they are needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import copy
from types import TracebackType
from typing import Any, NoReturn, TypeAlias

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections, models, router, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext

from flowcontrol_core.errors import FlowcontrolError, raise_interruption
from flowcontrol_core.models import NO_OBJECT, FlowRun, Reason, about_object, describe_object
from flowcontrol_core.runs.store.connection import alias, connection
from flowcontrol_core.runs.store.guard import CallGuard


class ObjectGone(Exception):
    """The model object of a run no longer exists; ``reason`` says what exactly is gone."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(str(reason))


def reference(obj: models.Model | None) -> dict[str, Any]:
    """Return the columns of a run that name its object."""
    about = NO_OBJECT if obj is None else about_object(obj)
    return {**about, "object_text": describe_object(obj)}


#: A model, by its label, and the database that its objects are in.
Place: TypeAlias = tuple[str, str]


class ObjectSource:
    """Reads the objects of the runs of one claim, all of a model and database with one query.

    What was read is used for steps without a transaction of their own; ``fresh`` reads again.
    """

    def __init__(self, runs: Iterable[FlowRun]) -> None:
        self._keys: dict[Place, set[str]] = defaultdict(set)
        self._read: dict[Place, dict[str, Any] | None] = {}
        for run in runs:
            if run.object_key is not None:
                self._keys[run.object_type, run.object_database].add(run.object_key)

    def get(self, run: FlowRun) -> Any:
        """Return the object of a run as read together with the others; raises ObjectGone."""
        if not run.object_type:
            return None
        place = (run.object_type, run.object_database)
        if place not in self._read:
            if len(self._keys[place]) == 1:
                return self.fresh(run)
            self._read[place] = self._read_together(run, place)
        together = self._read[place]
        if together is None:
            return self.fresh(run)
        obj = together.get(str(run.object_key))
        # A copy for each run: what one does to it does not concern the others.
        return copy(obj) if obj is not None else _raise_gone(run)

    def _read_together(self, run: FlowRun, place: Place) -> dict[str, Any] | None:
        """Return all objects of a model; ``None``: one of them fails, so each is read alone."""
        objects = _objects(run)
        keys = _valid_keys(objects.model, self._keys[place])
        try:
            return {str(obj.pk): obj for obj in objects.filter(pk__in=keys)}
        except BaseException as error:  # noqa: BLE001 - read alone, each has what is wrong to itself
            raise_interruption(error)
            return None

    def fresh(self, run: FlowRun, *, lock: bool = False) -> Any:
        """Read the object of a run now, where it is written; raises ObjectGone."""
        if not run.object_type:
            return None
        objects = _objects(run)
        if lock:
            objects = objects.select_for_update(of=_own_tables(objects))
        try:
            return objects.get(pk=run.object_key)
        except (objects.model.DoesNotExist, ValidationError, ValueError, OverflowError):
            return _raise_gone(run)


class RunObject:
    """The object of one run: read once a transaction, forgotten before it and at its end.

    Until then it comes from what was read for all runs of the claim. A step that may lock it is
    called within it (``with``).
    """

    __slots__ = ("_cached", "_first", "_guard", "_run", "_source", "_transaction")

    def __init__(self, run: FlowRun, source: ObjectSource, guard: CallGuard) -> None:
        self._run = run
        self._source = source
        self._guard = guard
        self._first = True
        self._cached: Any = None
        #: The transaction of the present step in another database, where its object is locked.
        self._transaction: transaction.Atomic | None = None

    def load(self) -> Any:
        """Return the object; raises ObjectGone."""
        if self._cached is None:
            read = self._source.get if self._first else self._source.fresh
            self._cached = read(self._run)
        return self._cached

    def lock(self) -> Any:
        """Return the object, read and locked until the end of the transaction.

        In another database than the runs' own it is locked until the end of the step.
        """
        if not connection().in_atomic_block:
            raise RuntimeError("lock_object() works in actions with Effects.DATABASE only.")
        if self._run.object_type and self._transaction is None:
            database = _database(self._run)
            if database != alias():
                self._transaction = self._guard.begin_transaction(database)
        self._cached = self._source.fresh(self._run, lock=True)
        return self._cached

    @property
    def is_spoiled(self) -> bool:
        """Return whether the present step has hidden an error of the database of its object."""
        elsewhere = self._transaction
        return elsewhere is not None and connections[str(elsewhere.using)].needs_rollback

    def forget(self) -> None:
        """Read afresh from now on."""
        self._cached = None
        self._first = False

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        elsewhere, self._transaction = self._transaction, None
        if elsewhere is None:
            return
        if connection().needs_rollback and connections[str(elsewhere.using)].in_atomic_block:
            # The step has failed: what it has written there is undone too.
            transaction.set_rollback(True, using=elsewhere.using)
        elsewhere.__exit__(kind, error, traceback)


def _objects(run: FlowRun) -> QuerySet[Any]:
    """Return all objects of the model of a run, in the database that its own is written to."""
    return _model(run)._base_manager.using(_database(run))


def _model(run: FlowRun) -> type[models.Model]:
    try:
        return apps.get_model(run.object_type)
    except (LookupError, ValueError):
        raise ObjectGone(Reason.of("model_gone", model=run.object_type)) from None


def _database(run: FlowRun) -> str:
    """Return the alias of the database that the object of a run is written to."""
    database = run.object_database or router.db_for_write(_model(run))
    if database not in connections.settings:
        text = gettext(
            "The object %(object)s is in the database %(database)r, which is not in DATABASES. "
            "Name it there, then retry the run."
        )
        raise FlowcontrolError(text % {"object": run.object_text, "database": database})
    return database


def _own_tables(objects: QuerySet[Any]) -> tuple[str, ...]:
    """Return what ``select_for_update`` locks: the row of the object, and of what it joins none.

    PostgreSQL refuses to lock what is on the nullable side of a join. A derived model has its row
    in several tables.
    """
    if not connections[objects.db].features.has_select_for_update_of:
        return ()
    links = objects.model._meta.parents.values()
    return ("self", *(link.name for link in links if link is not None))


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
