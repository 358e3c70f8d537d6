"""Which objects a user may view: asked wherever an object, or a run about one, is shown.

The general permission counts, that of the single object (``has_perm(permission, obj)``), and what
the model's own admin answers for the object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import DatabaseError, InterfaceError, OperationalError, router
from django.db.models import Model
from django.http import HttpRequest
from django.utils.connection import ConnectionDoesNotExist

from flowcontrol.models import FlowRun
from flowcontrol.plugins import explain
from flowcontrol_admin.fields import find_object
from flowcontrol_core.flows.document_checks import find_model

#: At most this many objects are read to find one that the user may view.
MOST_READ = 20
#: What is raised where the database of an object is not configured, or does not answer.
CANNOT_BE_ASKED = (ConnectionDoesNotExist, OperationalError, InterfaceError)


class ObjectRights:
    """What one user may view of the objects that runs are about."""

    def __init__(self, request: HttpRequest, site: AdminSite) -> None:
        self._request = request
        self._site = site

    def may_view(self, obj: Model) -> bool:
        """Return whether the user may view an object."""
        model, user = type(obj), self._request.user
        if own := self._admin(model):
            if own.has_view_permission(self._request, obj):
                return True
        elif self._may_view_all(model):
            return True
        return any(user.has_perm(name, obj) for name in _permissions(model))

    def find(self, model: type[Model], key: str) -> Model | None:
        """Return the object with a primary key; None where none exists that the user may view."""
        found = find_object(model, key)
        return found if found is not None and self.may_view(found) else None

    def newest(self, model: type[Model], *, before: Model | None = None) -> Model | None:
        """Return the newest object that the user may view, of the last ones; or the one before."""
        objects = model._base_manager.using(router.db_for_write(model)).order_by("-pk")
        if before is not None:
            objects = objects.filter(pk__lt=before.pk)
        return next((obj for obj in objects[:MOST_READ] if self.may_view(obj)), None)

    def may_view_every(self, model: type[Model] | None) -> bool:
        """Return whether the user may view all objects of a model, known without reading them."""
        if model is None:
            # Its app is gone: only for those who may do everything.
            return self._request.user.has_perm(".")
        own = self._admin(model)
        asks_by_object = own and type(own).has_view_permission is not ModelAdmin.has_view_permission
        return not asks_by_object and self._may_view_all(model)

    def visible(self, runs: Iterable[FlowRun]) -> set[int]:
        """Return the keys of the runs whose objects the user may view; one query a model at most.

        A run without an object is one of them.
        """
        by_origin: dict[tuple[str, str], list[FlowRun]] = defaultdict(list)
        for run in runs:
            by_origin[run.object_type, run.object_database].append(run)
        seen = [self._visible(*origin, found) for origin, found in by_origin.items()]
        return set().union(*seen)

    def may_search(self, label: str) -> bool:
        """Return whether objects of a model may be searched: a hit would tell of a hidden one."""
        return self.may_view_every(find_model(label))

    def _visible(self, label: str, database: str, runs: list[FlowRun]) -> set[int]:
        model = find_model(label)
        if not label or self.may_view_every(model):
            return {run.pk for run in runs}
        if model is None:
            return set()
        keys = {run.pk: _read_key(model, run.object_key) for run in runs}
        objects = model._base_manager.using(database or router.db_for_write(model))
        try:
            found = objects.in_bulk({key for key in keys.values() if key is not None})
        except CANNOT_BE_ASKED:
            return set()
        except DatabaseError as error:
            if explain(error) is None:
                raise
            return set()
        viewable = {key for key, obj in found.items() if self.may_view(obj)}
        return {pk for pk, key in keys.items() if key in viewable}

    def searchable(self, model: type[Model]) -> ModelAdmin[Any] | None:
        """Return the admin of a model by whose search the user may find objects, or None."""
        own = self._admin(model)
        if own is None or not own.get_search_fields(self._request):
            return None
        return own if own.has_view_permission(self._request) else None

    def _may_view_all(self, model: type[Model]) -> bool:
        return any(self._request.user.has_perm(name) for name in _permissions(model))

    def _admin(self, model: type[Model]) -> ModelAdmin[Any] | None:
        return self._site._registry.get(model)  # noqa: SLF001 - the only way to ask


def _permissions(model: type[Model]) -> Iterator[str]:
    """Yield the permissions that allow to view objects; the one to change implies it."""
    for action in ("view", "change"):
        yield f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}"


def _read_key(model: type[Model], key: str | None) -> Any:
    try:
        return model._meta.pk.to_python(key)
    except (ValidationError, ValueError, TypeError, OverflowError):
        return None
