"""The confirmation of a deletion, in any admin, names the published flows that name the row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Model

from flowcontrol.flows import find_references

Deleted = tuple[list[Any], dict[str, int], set[str], list[Any]]


def connect() -> None:
    """Add the flows to what Django's admin lists as protected.

    The row has no foreign key from a flow, by which Django would find it. ``get_deleted_objects``
    is the documented place to say what else is affected, but a method of the project's own classes.
    """
    present: Any = ModelAdmin.get_deleted_objects
    if not hasattr(present, "names_flows"):
        ModelAdmin.get_deleted_objects = _naming_flows(present)  # type: ignore[method-assign]


def _naming_flows(original: Callable[..., Deleted]) -> Any:
    @wraps(original)
    def get_deleted_objects(self: Any, objs: Iterable[Model], request: Any) -> Deleted:
        found = [*objs]
        deleted, counts, permissions, protected = original(self, objs, request)
        references = [str(reference) for obj in found for reference in find_references(obj)]
        return deleted, counts, permissions, [*protected, *references]

    get_deleted_objects.names_flows = True  # type: ignore[attr-defined]
    return get_deleted_objects
